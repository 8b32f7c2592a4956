//! Where each value of a JSON text stands, and what it is made of when the text was printed in pieces.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::trace::{Dependencies, Inner, Kind, Trace, child};
use super::walk::{Page, Printed};

/// Where a value that was computed comes from.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    pub(crate) dependencies: Dependencies,
    pub(crate) printed_by: Option<PrintedBy>,
}

/// What printed a value.
#[derive(Debug)]
pub(crate) struct PrintedBy {
    pub(crate) template: Rc<str>,
    /// In bytes of the template.
    pub(crate) span: Range<usize>,
    pub(crate) is_expression: bool,
}

/// The origin of every value of the JSON document that the page is, by pointer below `root`.
pub(crate) fn origins(page: &Page, root: &str) -> BTreeMap<Arc<str>, Origin> {
    let mut scanner = Scanner { text: &page.text, at: 0 };
    let document = scanner.value(root.to_owned());
    let mut origins = BTreeMap::new();
    document.enter_all(&mut origins);
    for piece in &page.pieces {
        document.give(piece, &mut origins);
    }
    origins
}

/// A value, in bytes of the text.
struct Place {
    pointer: String,
    range: Range<usize>,
    children: Vec<Place>,
}

impl Place {
    fn enter_all(&self, origins: &mut BTreeMap<Arc<str>, Origin>) {
        origins.insert(Arc::from(self.pointer.as_str()), Origin::default());
        self.children.iter().for_each(|child| child.enter_all(origins));
    }

    /// Lets the value, and the values in it, depend on a piece that printed some of it.
    fn give(&self, piece: &Printed, origins: &mut BTreeMap<Arc<str>, Origin>) {
        if let (Some(trace), true) = (&piece.trace, piece.range == self.range) {
            return self.give_all(trace, piece, origins);
        }
        let is_point = piece.range.is_empty();
        let end = piece.range.end.min(self.range.end);
        let mut position = piece.range.start.max(self.range.start);
        let mut is_own = self.children.is_empty();
        let first = self.children.partition_point(|child| child.range.end <= piece.range.start);
        for child in self.children[first..].iter().take_while(|child| child.range.start < piece.range.end) {
            is_own |= position < child.range.start;
            position = child.range.end;
            child.give(piece, origins);
        }
        if is_own || position < end || (is_point && position == piece.range.start) {
            self.note(&piece.dependencies(), piece, origins);
        }
    }

    /// The value is what one expression printed.
    fn give_all(&self, trace: &Rc<Trace>, piece: &Printed, origins: &mut BTreeMap<Arc<str>, Origin>) {
        let mut dependencies = (*piece.conditions).clone();
        let has_shape = !matches!(trace.inner(), Inner::Plain);
        let own = if has_shape && !self.children.is_empty() { trace.shallow() } else { (**trace.flat()).clone() };
        dependencies.join(&own, Kind::Value);
        self.note(&dependencies, piece, origins);
        for (index, child) in self.children.iter().enumerate() {
            let key = match trace.inner() {
                Inner::List(_) => index.to_string(),
                Inner::Plain | Inner::Map(_) => last(&child.pointer),
            };
            child.give_all(&trace.below(&key), piece, origins);
        }
    }

    fn note(&self, dependencies: &Dependencies, piece: &Printed, origins: &mut BTreeMap<Arc<str>, Origin>) {
        let Some(origin) = origins.get_mut(self.pointer.as_str()) else { return };
        origin.dependencies.join(dependencies, Kind::Value);
        // An expression tells more than the text around it, and the first one most.
        let is_expression = piece.trace.is_some();
        if origin.printed_by.as_ref().is_none_or(|known| is_expression && !known.is_expression) {
            let inside = self.range.start.saturating_sub(piece.range.start);
            let start = if is_expression { piece.span.start } else { (piece.span.start + inside).min(piece.span.end) };
            let span = start..piece.span.end;
            origin.printed_by = Some(PrintedBy { template: Rc::clone(&piece.template), span, is_expression });
        }
    }
}

fn last(pointer: &str) -> String {
    pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

/// Finds the values of a text that is known to be JSON.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl Scanner<'_> {
    fn byte(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or_default()
    }

    fn value(&mut self, pointer: String) -> Place {
        let open = self.byte();
        let start = self.at;
        let mut children = Vec::new();
        match open {
            b'{' | b'[' => {
                self.at += 1;
                let mut index = 0_usize;
                while !matches!(self.byte(), b'}' | b']' | 0) {
                    let key = if open == b'{' { self.key() } else { index.to_string() };
                    children.push(self.value(child(&pointer, &key)));
                    if self.byte() == b',' {
                        self.at += 1;
                    }
                    index += 1;
                }
                self.at = (self.at + 1).min(self.text.len());
            }
            b'"' => self.string(),
            _ => {
                let rest = &self.text[start..];
                let is_end = |c: char| matches!(c, ',' | '}' | ']') || c.is_ascii_whitespace();
                self.at += rest.find(is_end).unwrap_or(rest.len()).max(usize::from(!rest.is_empty()));
            }
        }
        Place { pointer, range: start..self.at, children }
    }

    fn key(&mut self) -> String {
        let start = self.at;
        self.string();
        let key = serde_json::from_str(&self.text[start..self.at]).unwrap_or_default();
        if self.byte() == b':' {
            self.at += 1;
        }
        key
    }

    fn string(&mut self) {
        let mut bytes = self.text.as_bytes()[self.at..].iter().enumerate().skip(1);
        while let Some((index, byte)) = bytes.next() {
            match byte {
                b'\\' => drop(bytes.next()),
                b'"' => {
                    self.at += index + 1;
                    return;
                }
                _ => {}
            }
        }
        self.at = self.text.len();
    }
}
