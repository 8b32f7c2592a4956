//! `pconf-v1`: a strict profile of HTTP Message Signatures (RFC 9421) with HMAC-SHA256, for requests and answers in both
//! directions.
//!
//! The types carry the order of the checks. On the receiving side [`AuthenticHead`] (the MAC is good) becomes
//! [`VerifiedHead`] (its time and nonce are good), then [`VerifiedRequest`] (the body is the signed one); each of them
//! leads to the [`Question`] that an answer is signed to. On the asking side [`SentRequest`] becomes
//! [`VerifiedAnswerHead`], then an answer's body. Nothing is parsed that was not verified before.

mod authenticator;
mod base;
mod cause;
mod components;
mod parameters;
mod replay;
mod request;
mod response;

pub use cause::Cause;
pub use parameters::{InvalidNonce, Nonce};
pub use replay::{ReplayGuard, ReplayLimits};
pub use request::{
    Asked, AuthenticHead, Question, Refusal, Rejected, Rejection, SentRequest, VerifiedHead, VerifiedRequest,
    sign_request, verify_head,
};
pub use response::VerifiedAnswerHead;

/// Who asks whom; an answer goes the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A follower asks the leader.
    ToLeader,
    /// The leader asks a follower.
    ToFollower,
}

impl Direction {
    fn of_the_answer(self) -> Self {
        match self {
            Self::ToLeader => Self::ToFollower,
            Self::ToFollower => Self::ToLeader,
        }
    }
}
