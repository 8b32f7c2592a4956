//! Problems for people and for programs.

use serde_json::Value;

use crate::problem::{Problem, Sources};

/// The problems as text for a terminal, each with file, line, column and the text underlined.
#[must_use]
pub fn render_text(problems: &[Problem], sources: &Sources, color: bool) -> String {
    let _ = (problems, sources, color);
    todo!()
}

/// The problems as a JSON array of `{code, file, line, column, endLine, endColumn, subject, message, help, related}`.
///
/// Lines and columns start at 1; columns count characters.
#[must_use]
pub fn to_json(problems: &[Problem], sources: &Sources) -> Value {
    let _ = (problems, sources);
    todo!()
}
