//! One argument of a redis.conf directive.

use tera::{TeraResult, Value};

use super::{quoted, scalar};

/// A scalar as one argument: bare where that is enough, else in double quotes with the escapes that redis' own
/// `sdssplitargs` reads (`\"`, `\\`, `\n`, `\r`, `\t`, `\xhh`).
pub(crate) fn redis(value: &Value) -> TeraResult<String> {
    let text = scalar("redis", value)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:/@%+,=-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(text);
    }
    // Other control characters have no escape in common with nginx.
    let hex = |c: char| if c.is_ascii_control() { format!("\\x{:02x}", u32::from(c)) } else { c.to_string() };
    Ok(quoted(&text).chars().map(hex).collect())
}
