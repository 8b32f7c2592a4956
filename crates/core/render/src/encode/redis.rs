//! One argument of a redis.conf directive.

use tera::{TeraResult, Value};

use super::scalar;

/// A scalar as one argument: bare where that is enough, else in double quotes with the escapes that redis' own
/// `sdssplitargs` reads (`\"`, `\\`, `\n`, `\r`, `\t`, `\xhh`).
pub(crate) fn redis(value: &Value) -> TeraResult<String> {
    let text = scalar("redis", value)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:/@%+,=-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(text);
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}
