//! Why a signature was not accepted: for the log of whoever checked it, never for the other side.

use crate::keys::KeyId;

/// Why a signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It is not signed.
    #[error("there is no `{0}` header")]
    Missing(&'static str),
    /// A header that counts is there twice.
    #[error("there are several `{0}` headers")]
    Doubled(&'static str),
    /// A signature header is longer than any of ours.
    #[error("the `{0}` header is too long")]
    TooLong(&'static str),
    /// A header that counts is not plain text.
    #[error("the `{0}` header is not ASCII text")]
    NotAscii(&'static str),
    /// Not of its one form.
    #[error("the `{0}` header is not in canonical form")]
    NotCanonical(&'static str),
    /// Another label, or several.
    #[error("the signature is not labelled `{0}` alone")]
    Label(&'static str),
    /// Other components are covered than the profile asks for.
    #[error("the signature does not cover exactly {0}")]
    Components(String),
    /// Other parameters, types or order than the profile asks for.
    #[error("the signature's parameters are not exactly those of `pconf-v1`")]
    Parameters,
    /// Sent to an address that is none of ours.
    #[error("`{0}` is none of the addresses that this side answers to")]
    Authority(String),
    /// Not exactly one SHA-256.
    #[error("the `content-digest` header is not exactly one `sha-256`")]
    Digest,
    /// A coding on a signed message.
    #[error("the body has a content coding")]
    Coding,
    /// Nobody has that key.
    #[error("nobody is known by the key `{0}`")]
    UnknownKey(KeyId),
    /// Answered with another key than asked.
    #[error("the answer is signed with the key `{0}` instead of the question's")]
    OtherKey(KeyId),
    /// The MAC is not what the key gives.
    #[error("the signature was not made with the key `{0}`, or the message was changed on its way")]
    Mac(KeyId),
    /// A `304` to a question that named no tag.
    #[error("the answer says \"not modified\" but the question named no version")]
    Unasked,
    /// A body where none can be, or another than was signed.
    #[error("the body is not the one that was signed")]
    Body,
}
