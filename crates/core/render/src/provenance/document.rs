//! A template as the tree of what it prints, chooses and repeats.

use std::ops::Range;

use super::expression::{Cursor, Expression, NotUnderstood};
use crate::syntax::{self, TagKind};

/// One part of a template.
#[derive(Debug)]
pub(crate) enum Node {
    /// Text that is printed as it stands, in bytes of the template.
    Text(Range<usize>),
    /// A value that is printed.
    Output(Expression),
    If {
        branches: Vec<(Expression, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    For {
        key: Option<String>,
        value: String,
        of: Expression,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Set {
        name: String,
        value: Expression,
        is_global: bool,
    },
    /// A name for a piece of text.
    Block {
        name: String,
        body: Vec<Node>,
        is_global: bool,
    },
    Include(String),
}

/// Reads a template that Tera has accepted.
pub(crate) fn read(source: &str) -> Result<Vec<Node>, NotUnderstood> {
    let mut reader = Reader { source, tags: tags(source), next: 0 };
    let (nodes, end) = reader.until(&[])?;
    if end.is_none() { Ok(nodes) } else { Err(NotUnderstood) }
}

/// The names that these nodes may give a value to, beyond themselves.
pub(crate) fn assigned<'n>(nodes: &'n [Node], found: &mut Vec<&'n str>) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Include(_) | Node::Output(_) => {}
            Node::Set { name, .. } | Node::Block { name, .. } => found.push(name),
            Node::If { branches, otherwise } => {
                for (_, body) in branches {
                    assigned(body, found);
                }
                assigned(otherwise, found);
            }
            Node::For { body, otherwise, .. } => {
                assigned(body, found);
                assigned(otherwise, found);
            }
        }
    }
}

/// Every expression of these nodes, those inside of others included.
pub(crate) fn visit<'n>(nodes: &'n [Node], each: &mut dyn FnMut(&'n Expression)) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Include(_) => {}
            Node::Output(expression) | Node::Set { value: expression, .. } => expression.visit(each),
            Node::If { branches, otherwise } => {
                for (condition, body) in branches {
                    condition.visit(each);
                    visit(body, each);
                }
                visit(otherwise, each);
            }
            Node::For { of, body, otherwise, .. } => {
                of.visit(each);
                visit(body, each);
                visit(otherwise, each);
            }
            Node::Block { body, .. } => visit(body, each),
        }
    }
}

enum Part {
    Text(Range<usize>),
    Output(Range<usize>),
    Statement(Range<usize>),
}

/// The template in a row, white space trimmed as its dashes ask for.
fn tags(source: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut position, mut trims_start) = (0, false);
    let text = |range: Range<usize>, trims_start: bool, trims_end: bool, parts: &mut Vec<Part>| {
        let mut range = range;
        if trims_start {
            range.start = range.end - source[range.clone()].trim_start().len();
        }
        if trims_end {
            range.end = range.start + source[range.clone()].trim_end().len();
        }
        if !range.is_empty() {
            parts.push(Part::Text(range));
        }
    };
    while let Some(tag) = syntax::next_tag(source, position) {
        text(position..tag.start, trims_start, tag.trims_before, &mut parts);
        (position, trims_start) = (tag.end, tag.trims_after);
        match tag.kind {
            TagKind::Comment => {}
            TagKind::Output => parts.push(Part::Output(tag.inner)),
            TagKind::Statement if source[tag.inner.clone()].trim() == "raw" => {
                let end = syntax::end_of_raw(source, position);
                let open = source[..end].rfind("{%").unwrap_or(end);
                text(position..open, trims_start, source[open + 2..].starts_with('-'), &mut parts);
                (position, trims_start) = (end, source[..end].ends_with("-%}"));
            }
            TagKind::Statement => parts.push(Part::Statement(tag.inner)),
        }
    }
    text(position..source.len(), trims_start, false, &mut parts);
    parts
}

/// The word that ended a row of nodes, and what stands behind it.
type End<'t> = (&'static str, Cursor<'t>);

struct Reader<'t> {
    source: &'t str,
    tags: Vec<Part>,
    next: usize,
}

impl<'t> Reader<'t> {
    /// The nodes up to a statement that starts with one of the words, and that statement behind its word.
    fn until(&mut self, ends: &[&'static str]) -> Result<(Vec<Node>, Option<End<'t>>), NotUnderstood> {
        let mut nodes = Vec::new();
        while let Some(part) = self.tags.get(self.next) {
            self.next += 1;
            match part {
                Part::Text(range) => nodes.push(Node::Text(range.clone())),
                Part::Output(range) => {
                    let mut cursor = Cursor::new(self.source, range.clone())?;
                    nodes.push(Node::Output(cursor.expression()?));
                    Self::end(&cursor)?;
                }
                Part::Statement(range) => {
                    let mut cursor = Cursor::new(self.source, range.clone())?;
                    if let Some(end) = ends.iter().find(|end| cursor.takes_word(end)) {
                        return Ok((nodes, Some((end, cursor))));
                    }
                    nodes.push(self.statement(cursor)?);
                }
            }
        }
        Ok((nodes, None))
    }

    fn end(cursor: &Cursor<'_>) -> Result<(), NotUnderstood> {
        if cursor.is_at_end() { Ok(()) } else { Err(NotUnderstood) }
    }

    fn statement(&mut self, mut cursor: Cursor<'t>) -> Result<Node, NotUnderstood> {
        if cursor.is_word("for") {
            let (key, value, of) = cursor.loop_head(0)?;
            Self::end(&cursor)?;
            let (body, end) = self.until(&["else", "endfor"])?;
            let otherwise = match end {
                Some(("else", _)) => self.until(&["endfor"])?.0,
                _ => Vec::new(),
            };
            return Ok(Node::For { key, value, of, body, otherwise });
        }
        match cursor.word()?.as_str() {
            "if" => self.conditional(cursor),
            "set" => self.set(cursor, false),
            "set_global" => self.set(cursor, true),
            "include" => {
                let name = cursor.text()?;
                Self::end(&cursor)?;
                Ok(Node::Include(name))
            }
            // `break` and `continue` make all that follows depend on them; `extends`, `filter` and components are rare. Where
            // they are used, what is told is told of the file as a whole.
            _ => Err(NotUnderstood),
        }
    }

    fn conditional(&mut self, mut cursor: Cursor<'t>) -> Result<Node, NotUnderstood> {
        let mut branches = Vec::new();
        loop {
            let condition = cursor.expression()?;
            Self::end(&cursor)?;
            let (body, end) = self.until(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            let otherwise = match end {
                Some(("elif", next)) => {
                    cursor = next;
                    continue;
                }
                Some(("else", _)) => self.until(&["endif"])?.0,
                _ => Vec::new(),
            };
            return Ok(Node::If { branches, otherwise });
        }
    }

    fn set(&mut self, mut cursor: Cursor<'t>, is_global: bool) -> Result<Node, NotUnderstood> {
        let name = cursor.word()?;
        if cursor.takes_sign("=") {
            let value = cursor.expression()?;
            Self::end(&cursor)?;
            return Ok(Node::Set { name, value, is_global });
        }
        Self::end(&cursor)?;
        let (body, _) = self.until(&["endset"])?;
        Ok(Node::Block { name, body, is_global })
    }
}
