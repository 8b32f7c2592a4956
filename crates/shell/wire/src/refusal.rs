//! Answers to those whose signature is not good: unsigned, and the same for every cause.

use axum::body::Body;
use http::header::{ALLOW, CONNECTION};
use http::{HeaderName, HeaderValue, Response};
use pconf_bundle::Code;
use pconf_bundle::signature::Refusal;
use tracing::info;

use crate::payload::problem;
use crate::random::request_id;

const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a signature has to look like (RFC 9421 section 5.1).
const WANTED: HeaderValue = HeaderValue::from_static(
    r#"req=("@method" "@authority" "@path" "@query" "content-digest");created;expires;alg="hmac-sha256";tag="pconf-v1""#,
);

/// Answers one of too many requests without a valid signature. The log was told once.
pub(crate) fn limit() -> Response<Body> {
    unsigned(Code::RateLimited)
}

fn unsigned(code: Code) -> Response<Body> {
    problem(&code.into()).map(|payload| Body::from(payload.into_parts().0))
}

/// Answers a request that nobody is known to have signed. Why is said in the log only.
pub(crate) fn refuse(refusal: &Refusal) -> Response<Body> {
    let id = request_id();
    let (code, cause) = match refusal {
        Refusal::Unauthenticated(cause) => (Code::Unauthenticated, cause.to_string()),
        Refusal::Malformed(fault) => (Code::BadRequest, (*fault).to_owned()),
        Refusal::HeadTooLarge => (Code::HeadTooLarge, "the head is too large".to_owned()),
        Refusal::MethodNotAllowed => (Code::MethodNotAllowed, "the method has no place here".to_owned()),
    };
    info!(request = %id, status = code.status().as_u16(), cause, "request refused");
    let mut answer = unsigned(code);
    let headers = answer.headers_mut();
    match refusal {
        Refusal::Unauthenticated(_) => headers.insert(ACCEPT_SIGNATURE, WANTED),
        Refusal::MethodNotAllowed => headers.insert(ALLOW, HeaderValue::from_static("GET, POST")),
        Refusal::Malformed(_) | Refusal::HeadTooLarge => headers.insert(CONNECTION, HeaderValue::from_static("close")),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    answer
}
