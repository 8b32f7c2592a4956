//! A YAML value in a compose file, where `$` starts an interpolation and `$$` is the character.

use tera::{TeraResult, Value};

use super::json::yaml;

/// The value as YAML flow style with every `$` doubled, in keys too.
pub(crate) fn compose(value: &Value) -> TeraResult<String> {
    // JSON's own syntax holds no `$`, so each one belongs to the text of a value or of a key.
    Ok(yaml(value)?.replace('$', "$$"))
}
