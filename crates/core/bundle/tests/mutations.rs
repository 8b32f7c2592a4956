//! No single changed byte, and no garbage, is ever taken for a signature.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors should stop there")]

mod support;

use std::sync::LazyLock;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pconf_bundle::signature::{Direction, SentRequest, verify_head};
use proptest::prelude::*;
use support::{authorities, core_a, e1, expected_headers, headers, vectors};

/// E1 as it arrives, and E2 as it comes back; made once, because each case starts from them.
static MESSAGES: LazyLock<(Parts, SentRequest, HeaderMap)> = LazyLock::new(|| {
    let (parts, sent) = e1();
    let answer = &vectors()["exchanges"][0]["answers"][0];
    let mut headers = headers(answer);
    for (name, value) in ["content-digest", "signature-input", "signature"].into_iter().zip(expected_headers(answer)) {
        headers.insert(name, value.parse().unwrap());
    }
    (parts, sent, headers)
});

/// What a request consists of, as bytes that can be spoilt one at a time.
fn spoil(parts: &mut Parts, place: usize, at: usize, bit: u8) -> Option<()> {
    let flip = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        bytes
    };
    match place {
        0 => parts.method = http::Method::from_bytes(&flip(parts.method.as_str())).ok()?,
        1 => {
            let path = String::from_utf8(flip(parts.uri.path())).ok()?;
            parts.uri = path.parse().ok()?;
            // A fragment never reaches a server: the URI without it is the one that was signed.
            (parts.uri != "/conf/core").then_some(())?;
        }
        _ => {
            let name = parts.headers.keys().nth((place - 2) % parts.headers.len())?.clone();
            let before = parts.headers[&name].to_str().ok()?.to_owned();
            let after = HeaderValue::from_bytes(&flip(&before)).ok()?;
            // A host has no case.
            if name == "host" && after.to_str().is_ok_and(|after| after.eq_ignore_ascii_case(&before)) {
                return None;
            }
            parts.headers.insert(name, after);
        }
    }
    Some(())
}

/// Any bytes that a header can hold, and the pieces of a signature in any order: what looks nearly right.
fn garbage() -> impl Strategy<Value = HeaderValue> {
    let pieces = [
        "req=",
        "res=",
        "(",
        ")",
        "\"@method\"",
        "\"@authority\"",
        "\"@path\"",
        "\"@query\"",
        "\"content-digest\"",
        "\"accept\"",
        "\"if-none-match\"",
        ";created=1800000000",
        ";expires=1800000060",
        ";nonce=\"AAECAwQFBgcICQoLDA0ODw\"",
        ";alg=\"hmac-sha256\"",
        ";keyid=\"core-a.1\"",
        ";tag=\"pconf-v1\"",
        " ",
        ", ",
        ":",
        "=:",
        "+RAKQaOLmOAhRCKMp8vdpDbpBHLZgCy5QnI32vm6WOY=",
        "99999999999999999999",
        "\\\"",
        ";req",
        ";key=\"req\"",
    ];
    let assembled =
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat());
    let bytes = prop::collection::vec(prop_oneof![Just(b'\t'), 0x20u8..0x7f, 0x80u8..=0xff], 0..300);
    prop_oneof![assembled.prop_map(String::into_bytes), bytes]
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, max_global_rejects: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_with_one_bit_changed_is_refused(place in 0usize..8, at in 0usize..400, bit in 0u8..8) {
        let mut parts = MESSAGES.0.clone();
        prop_assume!(spoil(&mut parts, place, at, bit).is_some());
        prop_assert!(verify_head(&parts, Direction::ToLeader, &authorities(), core_a).is_err());
    }

    #[test]
    fn an_answer_with_one_bit_changed_is_refused(place in 0usize..6, at in 0usize..400, bit in 0u8..8) {
        let (sent, mut headers) = (&MESSAGES.1, MESSAGES.2.clone());
        let name: HeaderName = headers.keys().nth(place % headers.len()).unwrap().clone();
        let mut bytes = headers[&name].as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let value = HeaderValue::from_bytes(&bytes);
        prop_assume!(value.is_ok());
        headers.insert(name, value.unwrap());
        prop_assert!(sent.verify_head(StatusCode::OK, &headers).is_err());
    }
}

proptest! {
    // Three heads each.
    #![proptest_config(ProptestConfig { cases: 7000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_refused_without_a_panic(input in garbage(), signature in garbage(), other in garbage(), place in 0usize..8) {
        let mut parts = MESSAGES.0.clone();
        parts.headers.insert("signature-input", input);
        prop_assert!(verify_head(&parts, Direction::ToLeader, &authorities(), core_a).is_err());
        parts.headers.insert("signature", signature);
        let name = parts.headers.keys().nth(place % parts.headers.len()).unwrap().clone();
        parts.headers.append(name, other);
        prop_assert!(verify_head(&parts, Direction::ToLeader, &authorities(), core_a).is_err());
        let (sent, headers) = (&MESSAGES.1, &parts.headers);
        prop_assert!(sent.verify_head(StatusCode::OK, headers).is_err());
    }
}
