//! The forms in which a secret may leak: whoever searches for its text alone finds one of many.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// What a secret looks like in each form, with the form's name: raw, hexadecimal, percent-encoded, JSON, and base64 wherever
/// in a longer text it may begin.
#[must_use]
pub fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hexadecimal: String = secret.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let mut forms = vec![
        ("raw", secret.to_vec()),
        ("upper hexadecimal", hexadecimal.to_uppercase().into_bytes()),
        ("hexadecimal", hexadecimal.into_bytes()),
        ("percent-encoded", percent_encoded(secret)),
        ("JSON", serde_json::to_string(&String::from_utf8_lossy(secret)).unwrap_or_default().trim_matches('"').into()),
    ];
    for (name, alphabet) in [("base64", STANDARD_NO_PAD), ("base64url", URL_SAFE_NO_PAD)] {
        for before in 0..3 {
            forms.push((name, base64_within(secret, before, &alphabet)));
        }
    }
    forms
}

/// The characters of base64 that depend on nothing but the secret when so many bytes (modulo 3) stand before it.
fn base64_within(secret: &[u8], before: usize, alphabet: &GeneralPurpose) -> Vec<u8> {
    let text = alphabet.encode([&[0].repeat(before), secret].concat());
    let whole = (before + secret.len()) * 8 / 6;
    text.as_bytes()[(before * 8).div_ceil(6)..whole].to_vec()
}

fn percent_encoded(secret: &[u8]) -> Vec<u8> {
    let encode = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    };
    secret.iter().map(encode).collect::<String>().into_bytes()
}

/// In which form a secret is in there, if it is.
#[must_use]
pub fn shows(text: &[u8], secret: &[u8]) -> Option<&'static str> {
    forms(secret).into_iter().find(|(_, form)| memmem::find(text, form).is_some()).map(|(name, _)| name)
}

/// The bytes of a key, of which base64url is the usual text.
pub fn key_bytes(text: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).context("a key is base64url without padding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_whatever_form_it_leaks() {
        let secret = b"s3cret/\xff+~?";
        let leaks: [&[u8]; 9] = [
            b"a s3cret/\xff+~?.",
            b"0x733363726574 7333637265742fff2b7e3f",
            b"7333637265742FFF2B7E3F",
            b"q=s3cret%2F%FF%2B~%3F&",
            // Of the secret alone, and after "a", "ab" and "abc".
            b"czNjcmV0L/8rfj8=",
            b"YXMzY3JldC//K34/",
            b"YWJzM2NyZXQv/yt+Pw==",
            b"YWJjczNjcmV0L/8rfj8=",
            b"YWJjczNjcmV0L_8rfj8",
        ];
        for leak in leaks {
            assert!(shows(leak, secret).is_some(), "{}", String::from_utf8_lossy(leak));
        }
        assert_eq!(shows(b"a secret that is none", secret), None);
        assert_eq!(shows("{\"a\": \"one\\ntwo\"}".as_bytes(), b"one\ntwo"), Some("JSON"));
    }
}
