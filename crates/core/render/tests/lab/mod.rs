//! What the made-up template sets of these tests have in common.

/// Any settings, and machines of any keys.
pub(crate) const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "kind": {},
    "settings": { "type": "object" },
    "machines": { "type": "object", "additionalProperties": { "type": "object" } }
  }
}"#;
