//! Where the lines of one file come from.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use pconf_names::{MachineName, RelativePath};

use super::same;
use super::trace::{Dependencies, Kind, Trace};
use super::walk::{Lost, Page};
use crate::render::RenderedMachine;
use crate::set::{Source, TemplateSet};
use crate::syntax;

/// Where one file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrigin {
    /// Where it lands, below the machine's root.
    pub path: RelativePath,
    /// What its name is made of, and why it is there at all.
    pub name: Dependencies,
    /// What its text is made of.
    pub lines: Lines,
}

/// What the text of a file is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lines {
    /// It stands in the template set as it lands: it depends on nothing.
    Verbatim,
    /// Piece by piece, in the order of the text.
    Known(Vec<Piece>),
    /// It is known of the file as a whole only: this is all that it may depend on.
    Unknown(Dependencies),
}

/// A part of one or several lines, or the reason why there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The first of its lines, counted from 1.
    pub first: usize,
    /// The last of its lines.
    pub last: usize,
    /// What printed it.
    pub place: Place,
    /// The expression that printed it; `None` for text of the template.
    pub expression: Option<String>,
    /// What it depends on.
    pub dependencies: Dependencies,
}

/// A place in a file of the template set, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as problems show it, e.g. `templates/pryv/core/pryv.yml.tera`.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl Place {
    pub(super) fn new(set: &TemplateSet, template: &str, offset: usize) -> Self {
        let file = format!("{}/{template}", set.shown);
        let (line, column) = pconf_platform::position(set.sources.text(&file).unwrap_or_default(), offset);
        Self { file, line, column }
    }
}

pub(super) fn origin(
    set: &TemplateSet,
    machine: &MachineName,
    rendered: &RenderedMachine,
    (target, source): (&str, &Source),
    names: &BTreeMap<String, Rc<Trace>>,
    walk: &dyn Fn(&str) -> Result<Page, Lost>,
) -> Option<FileOrigin> {
    // Which files a machine has follows from its role.
    let mut name =
        Dependencies::on(super::child(&super::child("/machines", machine.as_str()), "role"), Kind::Condition);
    let path: RelativePath = if target.contains("{{") {
        let page = walk(target).ok()?;
        page.pieces.iter().for_each(|piece| name.join(&piece.dependencies(), Kind::Value));
        page.text.parse().ok()?
    } else {
        target.parse().ok()?
    };
    let file = rendered.files.iter().find(|file| file.path == path)?;
    let lines = match source {
        Source::Verbatim(_) => Lines::Verbatim,
        Source::Template(template) => {
            let text = std::str::from_utf8(&file.bytes).map_err(|_| Lost);
            match text.and_then(|text| same(walk(template)?, text)) {
                Ok(page) => Lines::Known(pieces(set, &page)),
                Err(Lost) => Lines::Unknown(named(set, template, names)),
            }
        }
    };
    Some(FileOrigin { path, name, lines })
}

fn pieces(set: &TemplateSet, page: &Page) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut line = 1;
    for printed in &page.pieces {
        let text = &page.text[printed.range.clone()];
        let template: &str = &printed.template;
        let dependencies = printed.dependencies();
        let place = |offset: usize| Place::new(set, template, offset);
        if printed.trace.is_some() {
            let last = line + text.trim_end_matches('\n').matches('\n').count();
            let source = set.sources.text(&place(0).file).and_then(|source| source.get(printed.span.clone()));
            let (place, expression) = (place(printed.span.start), source.map(|source| source.trim().to_owned()));
            pieces.push(Piece { first: line, last, place, expression, dependencies });
        } else if text.is_empty() {
            let place = place(printed.span.start);
            pieces.push(Piece { first: line, last: line, place, expression: None, dependencies });
        } else {
            let mut offset = printed.span.start;
            for (index, one) in text.split_inclusive('\n').enumerate() {
                if !one.trim().is_empty() || !dependencies.is_empty() {
                    let place = place(offset + one.len() - one.trim_start_matches([' ', '\t']).len());
                    let dependencies = dependencies.clone();
                    pieces.push(Piece {
                        first: line + index,
                        last: line + index,
                        place,
                        expression: None,
                        dependencies,
                    });
                }
                offset += one.len();
            }
        }
        line += text.matches('\n').count();
    }
    pieces
}

/// All that is below the names that a template, or one that it may bring in, asks for: what it may depend on, as far as
/// its text tells.
fn named(set: &TemplateSet, template: &str, names: &BTreeMap<String, Rc<Trace>>) -> Dependencies {
    let mut all = Dependencies::default();
    let mut seen = BTreeSet::new();
    let mut open = vec![template];
    while let Some(name) = open.pop() {
        let Some(text) = set.sources.text(&format!("{}/{name}", set.shown)) else { continue };
        if !seen.insert(name) {
            continue;
        }
        let mut position = 0;
        while let Some(tag) = syntax::next_tag(text, position) {
            position = tag.end;
            let inner = &text[tag.inner];
            // The engine's own name for all that there is.
            let roots = if inner.contains("__tera_context") { &syntax::ROOTS[..] } else { &syntax::roots_in(inner) };
            for trace in roots.iter().filter_map(|root| names.get(*root)) {
                all.join(trace.flat(), Kind::Condition);
            }
        }
        // Includes and parents are named; a component may be defined anywhere.
        let is_brought_in = |other: &&String| {
            let defines =
                || set.sources.text(&format!("{}/{other}", set.shown)).is_some_and(|text| text.contains("component"));
            text.contains(other.as_str()) || defines()
        };
        open.extend(set.readings.keys().filter(is_brought_in).map(String::as_str));
    }
    all
}
