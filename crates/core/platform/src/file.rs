//! `platform.json` as written.

use std::ops::Range;

use crate::problem::Problem;

/// `platform.json` as written: JSON with comments and trailing commas, and where each value stands.
#[derive(Debug, Clone)]
pub struct PlatformFile {}

impl PlatformFile {
    /// Reads the text; `file_name` is how problems call it. Only the syntax is judged.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let _ = (file_name, text);
        todo!()
    }

    /// The `kind`, which names the template set.
    pub fn kind(&self) -> Result<&str, Problem> {
        todo!()
    }

    /// Where the value at a JSON pointer (RFC 6901) stands, in bytes; `None` if it is not written.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> Option<Range<usize>> {
        let _ = pointer;
        todo!()
    }

    /// A problem with the value at a JSON pointer, or with the closest value around it that is written.
    #[must_use]
    pub fn problem_at(&self, pointer: &str, code: &'static str, message: String, help: String) -> Problem {
        let _ = (pointer, code, message, help);
        todo!()
    }
}
