//! Answers, on the side that asked: believed only when they are signed for exactly this question.

use http::StatusCode;
use http::header::HeaderMap;

use super::authenticator::{ReceivedMac, signature_input};
use super::base::Base;
use super::cause::Cause;
use super::components::content_digest;
use super::parameters::ResponseParameters;
use super::request::{Exchange, SentRequest};
use crate::digest_field::ContentDigest;
use crate::time::UnixSeconds;

/// The head of an answer to our question, signed by the other side.
#[derive(Debug)]
pub struct VerifiedAnswerHead {
    /// When the other side signed it, by its clock.
    pub created: UnixSeconds,
    digest: ContentDigest,
    has_no_body: bool,
}

impl SentRequest {
    /// Verifies the head of an answer.
    ///
    /// # Errors
    ///
    /// It is not signed, or not for this question: whatever it says, nothing may be concluded from it.
    pub fn verify_head(&self, status: StatusCode, headers: &HeaderMap) -> Result<VerifiedAnswerHead, Cause> {
        let Exchange { keys, direction, target, signature } = &self.exchange;
        let input = signature_input(headers)?;
        let received = ReceivedMac::read(headers, "res")?;
        let (digest, digest_text) = content_digest(headers)?;
        let base = Base::of_response(status, digest_text, headers, target, signature)?;
        let (parameters, signed) = ResponseParameters::parse(input, base.covered())?;
        if parameters.key_id != *keys.id() {
            return Err(Cause::OtherKey(parameters.key_id));
        }
        received.verify(base, signed, keys.mac(direction.of_the_answer()), &parameters.key_id)?;
        if status == StatusCode::NOT_MODIFIED && !self.names_a_version {
            return Err(Cause::Unasked);
        }
        let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(VerifiedAnswerHead { created: parameters.created, digest, has_no_body })
    }
}

impl VerifiedAnswerHead {
    /// Checks that `body` is the one that was signed.
    ///
    /// # Errors
    ///
    /// [`Cause::Body`].
    pub fn with_body<B: AsRef<[u8]>>(&self, body: B) -> Result<B, Cause> {
        let bytes = body.as_ref();
        let possible = bytes.is_empty() || !self.has_no_body;
        if possible && self.digest.matches(bytes) { Ok(body) } else { Err(Cause::Body) }
    }
}
