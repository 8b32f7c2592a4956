//! The JSON Schema of a template set's `platform.json`.

use crate::problem::Problem;

/// What a set says about its `platform.json`: JSON Schema 2020-12, compiled once.
#[derive(Debug)]
pub struct Schema {}

impl Schema {
    /// Reads and compiles `platform.schema.json`; a default that the schema itself refuses is a problem too.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let _ = (file_name, text);
        todo!()
    }
}
