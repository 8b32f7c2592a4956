//! One thing that is wrong, with its place and the way out.

use std::collections::BTreeMap;
use std::ops::Range;

/// One thing that is wrong with a text that a person edits.
///
/// It may quote that text: nothing that holds a secret is ever the subject of a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong, for programs: kebab-case, never reworded.
    pub code: &'static str,
    /// The file as it is shown, e.g. `platform.json`; the key in [`Sources`].
    pub file: String,
    /// The offending text, in bytes of the file; `None` when the whole file is meant.
    pub span: Option<Range<usize>>,
    /// What it is about, e.g. `machines.co1.ip`; empty when the file itself is.
    pub subject: String,
    /// What is wrong, e.g. `"10.0.0.300" is not an IPv4 address`.
    pub message: String,
    /// The way out; empty when the message says it.
    pub help: String,
    /// Other places that belong to the same problem.
    pub related: Vec<Related>,
}

/// In the order of the text, each once.
pub(crate) fn put_in_order(problems: &mut Vec<Problem>) {
    let place = |problem: &Problem| problem.span.as_ref().map(|span| (span.start, span.end));
    problems.sort_by(|a, b| (place(a), &a.subject, &a.message).cmp(&(place(b), &b.subject, &b.message)));
    problems.dedup();
}

/// Another place that belongs to a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The file as it is shown.
    pub file: String,
    /// The text, in bytes of the file.
    pub span: Range<usize>,
    /// What it has to do with the problem, e.g. `first written here`.
    pub message: String,
}

/// The texts that problems point into, by the name that the problems use.
///
/// Give it what people edit (platform.json, the template set), never a secret and never a rendered file.
#[derive(Debug, Clone, Default)]
pub struct Sources(BTreeMap<String, String>);

impl Sources {
    /// No text at all: problems are then shown without their lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the text of a file known.
    pub fn insert(&mut self, file: impl Into<String>, text: impl Into<String>) {
        self.0.insert(file.into(), text.into());
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, file: &str) -> Option<&str> {
        self.0.get(file).map(String::as_str)
    }
}
