//! What went wrong, for a program to match on: problem details (RFC 9457) with a stable code.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::time::UnixSeconds;

/// Why a request was not answered as asked. The names are stable; each has one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No valid signature. The only answer that strangers get, whatever is wrong; never signed.
    Unauthenticated,
    /// The signature is good but its time is not; `server_time` is the receiver's.
    ClockSkew,
    /// The nonce was seen before.
    Replayed,
    /// The body is not the one that was signed.
    DigestMismatch,
    /// The key is no longer accepted: the machine has to be enrolled again.
    KeyRevoked,
    /// The machine may enrol as soon as somebody on the leader has said so.
    ApprovalPending,
    /// Somebody else has used the join string already.
    EnrolmentSpent,
    /// The machine has another role.
    RoleForbidden,
    /// The request makes no sense.
    BadRequest,
    /// Nothing is there.
    NotFound,
    /// The path does not take that method.
    MethodNotAllowed,
    /// `Accept` names no type that is served.
    NotAcceptable,
    /// The body is longer than the receiver takes.
    BodyTooLarge,
    /// The head is longer than the receiver takes.
    HeadTooLarge,
    /// Too much without a valid signature came from that address; never signed, because a valid one is never limited.
    RateLimited,
    /// The receiver cannot take more for now.
    Overloaded,
    /// The receiver has nothing to serve yet.
    Starting,
    /// The receiver is at fault; its log says why.
    Internal,
}

/// The body of an answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    r#type: String,
    title: String,
    status: u16,
    /// What it is.
    pub code: Code,
    /// What it is about, for a person; holds no secret.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// The receiver's time, with [`Code::ClockSkew`] only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    server_time: Option<u64>,
}

impl Code {
    /// The status that goes with it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::ClockSkew | Self::Replayed | Self::EnrolmentSpent => StatusCode::UNAUTHORIZED,
            Self::DigestMismatch | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::KeyRevoked | Self::ApprovalPending | Self::RoleForbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::Starting => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// After how many seconds asking again may be answered otherwise, where that is known.
    #[must_use]
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::RateLimited | Self::Starting => Some(1),
            Self::ApprovalPending | Self::Overloaded => Some(5),
            Self::Unauthenticated
            | Self::ClockSkew
            | Self::Replayed
            | Self::DigestMismatch
            | Self::KeyRevoked
            | Self::EnrolmentSpent
            | Self::RoleForbidden
            | Self::BadRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::BodyTooLarge
            | Self::HeadTooLarge
            | Self::Internal => None,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Unauthenticated => "Unauthenticated",
            Self::ClockSkew => "Clock skew",
            Self::Replayed => "Replayed",
            Self::DigestMismatch => "Digest mismatch",
            Self::KeyRevoked => "Key revoked",
            Self::ApprovalPending => "Approval pending",
            Self::EnrolmentSpent => "Enrolment spent",
            Self::RoleForbidden => "Role forbidden",
            Self::BadRequest => "Bad request",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAcceptable => "Not acceptable",
            Self::BodyTooLarge => "Body too large",
            Self::HeadTooLarge => "Head too large",
            Self::RateLimited => "Rate limited",
            Self::Overloaded => "Overloaded",
            Self::Starting => "Starting",
            Self::Internal => "Internal error",
        }
    }
}

impl Problem {
    /// The problem without further words.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            r#type: "about:blank".to_owned(),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            code,
            detail: None,
            server_time: None,
        }
    }

    /// The signature's time is not the receiver's, which is `now`.
    #[must_use]
    pub fn clock_skew(now: UnixSeconds) -> Self {
        Self { server_time: Some(now.0), ..Self::new(Code::ClockSkew) }
    }

    /// Says what it is about.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The bytes of the body.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        // Strings and numbers under fixed names always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a body; `None` when it is no problem that is known here.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_get_these_bytes() {
        assert_eq!(
            String::from_utf8_lossy(&Problem::new(Code::Unauthenticated).to_body()),
            r#"{"type":"about:blank","title":"Unauthenticated","status":401,"code":"unauthenticated"}"#
        );
    }

    #[test]
    fn a_problem_survives_its_body() {
        for problem in [
            Problem::clock_skew(UnixSeconds(1_800_000_100)),
            Problem::new(Code::RoleForbidden).with_detail("`co1` has the role `core`"),
        ] {
            assert_eq!(Problem::parse(&problem.to_body()), Some(problem));
        }
    }
}
