//! One path segment or query value of a URL.

use tera::{TeraResult, Value};

use super::scalar;

/// A scalar with everything but RFC 3986's unreserved characters percent-encoded.
pub(crate) fn url(value: &Value) -> TeraResult<String> {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    Ok(scalar("url", value)?.bytes().map(encode).collect())
}
