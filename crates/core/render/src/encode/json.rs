//! JSON (RFC 8259), and JSON as a subset of YAML.

use tera::{TeraResult, Value};

/// Any value as compact JSON; text is quoted, so that YAML, too, reads `no` as text and `0123` as four characters.
pub(crate) fn json(value: &Value) -> TeraResult<String> {
    serde_json::to_string(value).map_err(|error| tera::Error::message(error.to_string()))
}

/// Any value as YAML flow style: JSON, with the characters escaped that YAML takes for line breaks, a byte order mark
/// or unprintable (YAML 1.2.2 section 5.1) and YAML 1.1 parsers refuse.
pub(crate) fn yaml(value: &Value) -> TeraResult<String> {
    let json = json(value)?;
    let is_special =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    if !json.contains(is_special) {
        return Ok(json);
    }
    let escape = |c: char| if is_special(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Ok(json.chars().map(escape).collect())
}
