//! Messages as the vectors hold them, and as they would arrive.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part of this module")]

use std::sync::{Arc, LazyLock};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use pconf_bundle::signature::{Asked, Direction, Nonce, SentRequest, sign_request};
use pconf_bundle::{Authorities, ContentDigest, EnrolmentKey, KeyId, Keys, Moment, Origin, UnixSeconds};
use serde_json::Value;

pub fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../../tests/vectors/messages.json")).unwrap()
}

pub fn enrolment_key() -> EnrolmentKey {
    EnrolmentKey::from(std::array::from_fn(|index| u8::try_from(index).unwrap()))
}

pub fn keys(id: &str) -> Arc<Keys> {
    Arc::new(Keys::derive(id.parse().unwrap(), &enrolment_key()))
}

/// Knows `core-a.1` only.
pub fn core_a(id: &KeyId) -> Option<Arc<Keys>> {
    static KEYS: LazyLock<Arc<Keys>> = LazyLock::new(|| keys("core-a.1"));
    (id == KEYS.id()).then(|| Arc::clone(&KEYS))
}

pub fn authorities() -> Authorities {
    static AUTHORITIES: LazyLock<Authorities> = LazyLock::new(|| {
        let origins = ["http://leader.internal:7443", "http://leader.internal", "http://core-a.internal:7444"];
        origins.map(|origin| origin.parse::<Origin>().unwrap()).iter().collect()
    });
    AUTHORITIES.clone()
}

pub fn direction(exchange: &Value) -> Direction {
    if exchange["direction"] == "to-leader" { Direction::ToLeader } else { Direction::ToFollower }
}

pub fn headers(message: &Value) -> HeaderMap {
    let pairs = message["headers"].as_array().unwrap().iter();
    pairs
        .map(|pair| {
            (pair[0].as_str().unwrap().parse::<HeaderName>().unwrap(), pair[1].as_str().unwrap().parse().unwrap())
        })
        .collect()
}

pub fn body(message: &Value) -> Vec<u8> {
    message["body"].as_str().map_or_else(|| hexadecimal(&message["body-hex"]), |text| text.as_bytes().to_vec())
}

pub fn hexadecimal(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn at(seconds: u64) -> Moment {
    Moment { wall: UnixSeconds(seconds), uptime: std::time::Duration::from_secs(seconds) }
}

/// Signs a request of the vectors; returns it as it arrives, and what its sender keeps.
pub fn sign(request: &Value, direction: Direction, keys: Arc<Keys>) -> (Parts, SentRequest) {
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let authority = request["authority"].as_str().unwrap();
    let origin: Origin = format!("http://{authority}").parse().unwrap();
    let query = request["query"].as_str().filter(|query| !query.is_empty());
    let path = request["path"].as_str().unwrap();
    let asked = Asked { method: &method, origin: &origin, path, query, body: ContentDigest::of(&body(request)) };
    let mut headers = headers(request);
    let nonce: Nonce = request["nonce"].as_str().unwrap().parse().unwrap();
    let created = UnixSeconds(request["created"].as_u64().unwrap());
    let sent = sign_request(keys, direction, &asked, &mut headers, created, nonce).unwrap();
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let (mut parts, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
    headers.insert("host", HeaderValue::from_str(authority).unwrap());
    parts.headers = headers;
    (parts, sent)
}

/// The published headers of a message, next to ours.
pub fn signature_headers(headers: &HeaderMap) -> [String; 3] {
    ["content-digest", "signature-input", "signature"].map(|name| headers[name].to_str().unwrap().to_owned())
}

pub fn expected_headers(message: &Value) -> [String; 3] {
    ["content-digest", "signature-input", "signature"]
        .map(|name| message["expected"][name].as_str().unwrap().to_owned())
}

/// The first exchange of the vectors: a follower polls.
pub fn e1() -> (Parts, SentRequest) {
    sign(&vectors()["exchanges"][0]["request"], Direction::ToLeader, keys("core-a.1"))
}
