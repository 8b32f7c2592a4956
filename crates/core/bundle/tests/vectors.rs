//! The published examples come out byte for byte; `tests/vectors/check.py` says the same without our code.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors should stop there")]

mod support;

use std::collections::BTreeMap;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use pconf_bundle::signature::{ReplayGuard, ReplayLimits, verify_head};
use pconf_bundle::{
    ContentDigest, Enrolled, Enrolment, EnrolmentKey, JoinString, Pin, UnixSeconds, open_enrolled, seal_enrolled,
};
use serde_json::Value;
use sha2::Sha256;
use support::{
    at, authorities, body, core_a, direction, expected_headers, headers, hexadecimal, keys, sign, signature_headers,
    vectors,
};

#[test]
fn every_exchange_is_signed_as_published_and_believed() {
    for exchange in vectors()["exchanges"].as_array().unwrap() {
        let (name, request) = (exchange["name"].as_str().unwrap(), &exchange["request"]);
        let (parts, sent) = sign(request, direction(exchange), keys("core-a.1"));
        assert_eq!(signature_headers(&parts.headers), expected_headers(request), "{name}");

        let created = request["created"].as_u64().unwrap();
        let mut replays = ReplayGuard::new(ReplayLimits::default(), at(created - 100), BTreeMap::new());
        let head = verify_head(&parts, direction(exchange), &authorities(), core_a).unwrap();
        let verified = head.admit(&mut replays, at(created)).unwrap().with_body(body(request)).unwrap();

        for answer in exchange["answers"].as_array().unwrap() {
            let name = answer["name"].as_str().unwrap();
            let status = StatusCode::from_u16(u16::try_from(answer["status"].as_u64().unwrap()).unwrap()).unwrap();
            let (mut headers, body) = (headers(answer), body(answer));
            let created = UnixSeconds(answer["created"].as_u64().unwrap());
            verified.question.sign_response(status, &mut headers, ContentDigest::of(&body), created).unwrap();
            assert_eq!(signature_headers(&headers), expected_headers(answer), "{name}");

            let believed = sent.verify_head(status, &headers).unwrap();
            assert_eq!((believed.created, believed.with_body(body.clone())), (created, Ok(body)), "{name}");
        }
    }
}

fn standards() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/standards.json")).unwrap()
}

#[test]
fn the_hash_functions_below_are_those_of_their_standards() {
    let standards = standards();
    for case in standards["rfc4231"]["cases"].as_array().unwrap() {
        let expected = hexadecimal(&case["hmac-sha256"]);
        let mac = Hmac::<Sha256>::new_from_slice(&hexadecimal(&case["key"])).unwrap();
        let mac = mac.chain_update(hexadecimal(&case["data"])).finalize().into_bytes();
        assert_eq!(mac[..expected.len()], expected, "RFC 4231 case {}", case["case"]);
    }
    for case in standards["rfc5869"]["cases"].as_array().unwrap() {
        let mut output = hexadecimal(&case["okm"]);
        output.fill(0);
        let root = Hkdf::<Sha256>::new(Some(&hexadecimal(&case["salt"])), &hexadecimal(&case["ikm"]));
        root.expand(&hexadecimal(&case["info"]), &mut output).unwrap();
        assert_eq!(output, hexadecimal(&case["okm"]), "RFC 5869 {}", case["case"]);
    }
}

#[test]
fn an_enrolment_is_asked_for_and_answered_as_published() {
    let vector: Value = serde_json::from_str(include_str!("../../../../tests/vectors/enrolment.json")).unwrap();
    let text = |name: &str| vector[name].as_str().unwrap();
    let bytes = |name: &str| <[u8; 32]>::try_from(hexadecimal(&vector[name])).unwrap();

    let join: JoinString = text("join-string").parse().unwrap();
    let pin = Some(Pin::of(text("public-key").as_bytes()));
    assert_eq!((join.leader.to_string(), join.pin, join.role.as_str()), (text("url").to_owned(), pin, text("role")));
    assert_eq!((join.key_id().to_string(), join.expires), (text("key-id").to_owned(), UnixSeconds(1_800_003_600)));
    assert_eq!(join.token, EnrolmentKey::from(bytes("token")));
    assert_eq!(join.to_string(), text("join-string"));

    let token = join.keys();
    let enrolment = Enrolment::new(hexadecimal(&vector["enrolment-id"]).try_into().unwrap(), &bytes("machine-secret"));
    assert_eq!(serde_json::to_string(&enrolment).unwrap(), text("request"));
    let enrolled: Enrolled = serde_json::from_str(text("plaintext")).unwrap();
    let nonce = hexadecimal(&vector["nonce"]).try_into().unwrap();
    let sealed = seal_enrolled(&token, &enrolment, &bytes("leader-secret"), &enrolled, nonce).unwrap();
    assert_eq!(sealed, hexadecimal(&vector["sealed"]));
    assert_eq!(open_enrolled(&token, &enrolment, &bytes("machine-secret"), &sealed).unwrap(), enrolled);
}

#[test]
fn bodies_have_the_digests_of_the_standard() {
    let standards = standards();
    for case in standards["rfc9530"]["bodies"].as_array().unwrap() {
        let digest = ContentDigest::of(case["body"].as_str().unwrap().as_bytes());
        assert_eq!(digest.to_text(), case["content-digest"].as_str().unwrap());
    }
}
