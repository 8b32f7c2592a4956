//! What `role.json` and `secrets.json` have in common: a schema of ours judges them, with the words that settings get.

use serde::de::DeserializeOwned;

use crate::json_text::JsonText;
use crate::judge;
use crate::problem::{self, Problem};
use crate::schema::Schema;

/// Reads a manifest and judges it by its schema.
pub(crate) fn read(file_name: &str, text: &str, schema: &str) -> Result<JsonText, Vec<Problem>> {
    let json = JsonText::parse(file_name, text)?;
    let schema = Schema::of_manifest("the manifest's own schema", schema)?;
    let violations = schema.violations(&json.value);
    let mut problems: Vec<_> =
        violations.flat_map(|violation| judge::problems(&violation, &schema, &json.value, &json)).collect();
    problem::put_in_order(&mut problems);
    if problems.is_empty() { Ok(json) } else { Err(problems) }
}

/// The manifest as values. Its schema was satisfied, so what fails here is a rule that only the type knows.
pub(crate) fn typed<T: DeserializeOwned>(json: &JsonText) -> Result<T, Vec<Problem>> {
    serde_json::from_value(json.value.clone())
        .map_err(|error| vec![json.problem("", "wrong-type", error.to_string(), "")])
}
