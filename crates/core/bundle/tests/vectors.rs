//! The published examples come out byte for byte; `tests/vectors/check.py` says the same without our code.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors should stop there")]

mod support;

use std::collections::BTreeMap;

use http::StatusCode;
use pconf_bundle::signature::{ReplayGuard, ReplayLimits, verify_head};
use pconf_bundle::{ContentDigest, UnixSeconds};
use support::{
    at, authorities, body, core_a, direction, expected_headers, headers, keys, sign, signature_headers, vectors,
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

#[test]
fn bodies_have_the_digests_of_the_standard() {
    let standards: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/standards.json")).unwrap();
    for case in standards["rfc9530"]["bodies"].as_array().unwrap() {
        let digest = ContentDigest::of(case["body"].as_str().unwrap().as_bytes());
        assert_eq!(digest.to_header(), case["content-digest"].as_str().unwrap());
    }
}
