//! Bodies of answers, with the digest that their signature needs.

use std::pin::Pin;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use pconf_bundle::{ContentDigest, Problem, routes};

/// A whole body and its digest. Make it once where the same bytes are served often: cloning it hashes nothing.
#[derive(Debug, Clone)]
pub struct Payload {
    bytes: Bytes,
    digest: ContentDigest,
}

/// An answer before it is signed.
pub type Reply = Response<Payload>;

/// What a handler makes of a request.
pub enum Answering {
    /// This is the answer.
    Now(Reply),
    /// It will be an answer. Until then, the connection takes as little as can be (see [`Later`](pconf_daemon::Later)).
    Later(Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>),
}

impl From<Reply> for Answering {
    fn from(reply: Reply) -> Self {
        Self::Now(reply)
    }
}

impl Payload {
    /// Hashes `bytes`.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: ContentDigest::of(&bytes), bytes }
    }

    /// No bytes, as a `204` and a `304` have.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Bytes::new())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn into_parts(self) -> (Bytes, ContentDigest) {
        (self.bytes, self.digest)
    }
}

/// An answer without headers of its own.
#[must_use]
pub fn reply(status: StatusCode, payload: Payload) -> Reply {
    let mut reply = Response::new(payload);
    *reply.status_mut() = status;
    reply
}

/// A problem as an answer: the one place that makes `application/problem+json`.
pub(crate) fn problem(problem: &Problem) -> Reply {
    let mut answer = reply(problem.status(), Payload::new(problem.to_body()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(routes::PROBLEM));
    if problem.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Signature realm="conf""#));
    }
    if let Some(seconds) = problem.code.retry_after() {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}
