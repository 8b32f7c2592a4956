//! The self-documented `platform.json` that `init` writes.

use crate::problem::Problem;
use crate::schema::Schema;

/// The example of a set with every setting's description, type and default as a comment, and every setting that the
/// example leaves out as a comment with its default. It means the same as the example.
pub fn document(schema: &Schema, file_name: &str, example: &str) -> Result<String, Vec<Problem>> {
    let _ = (schema, file_name, example);
    todo!()
}
