//! `platform.json` as written.

use std::ops::Range;

use serde_json::Value;

use crate::json_text::JsonText;
use crate::problem::Problem;

/// `platform.json` as written: JSON with comments and trailing commas, and where each value stands.
#[derive(Debug, Clone)]
pub struct PlatformFile {
    pub(crate) json: JsonText,
}

impl PlatformFile {
    /// Reads the text; `file_name` is how problems call it. Only the syntax is judged, and that it is an object.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let json = JsonText::parse(file_name, text)?;
        if json.value.is_object() {
            Ok(Self { json })
        } else {
            let help = "write { \"kind\": \"…\", \"settings\": { … }, \"machines\": { … } }";
            Err(vec![json.problem("", "wrong-type", "the file has to be an object", help)])
        }
    }

    /// The `kind`, which names the template set.
    #[allow(clippy::result_large_err, reason = "asked once per check")]
    pub fn kind(&self) -> Result<&str, Problem> {
        let help = "name the template set, e.g. \"kind\": \"pryv\"";
        match self.json.value.get("kind") {
            Some(Value::String(kind)) => Ok(kind),
            Some(_) => Err(self.json.problem("/kind", "wrong-type", "the kind has to be a text", help)),
            None => Err(self.json.problem("/kind", "missing-key", "`kind` is missing", help)),
        }
    }

    /// The value at a JSON pointer (RFC 6901), as written; `None` if it is not written.
    #[must_use]
    pub fn value_at(&self, pointer: &str) -> Option<&Value> {
        self.json.value.pointer(pointer)
    }

    /// What to underline to mean the value at a JSON pointer (RFC 6901), in bytes: the value, or the key of an object or
    /// list; `None` if it is not written.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> Option<Range<usize>> {
        self.json.place(pointer).and_then(|_| self.json.span_of(pointer))
    }

    /// A problem with the value at a JSON pointer, or with the closest value around it that is written.
    #[must_use]
    pub fn problem_at(
        &self,
        pointer: &str,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        self.json.problem(pointer, code, message, help)
    }
}
