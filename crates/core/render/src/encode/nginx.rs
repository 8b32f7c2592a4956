//! One argument of an nginx directive.

use tera::{TeraResult, Value};

use super::{quoted, refuse, scalar};

/// A scalar as one token: bare where nginx needs no quotes, so that a unit can follow a number, double-quoted otherwise.
///
/// `$` is refused: most directives interpolate variables, and nginx has no escape for it.
pub(crate) fn nginx(value: &Value) -> TeraResult<String> {
    let text = scalar("nginx", value)?;
    if text.contains('$') {
        return Err(refuse("nginx", value, "it holds `$`, which nginx reads as a variable and cannot escape"));
    }
    if let Some(control) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(refuse("nginx", value, &format!("it holds the control character U+{:04X}", u32::from(control))));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._~:/@%+,=*^-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(text);
    }
    Ok(quoted(&text))
}
