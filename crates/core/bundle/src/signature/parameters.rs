//! The parameters of a signature: when, with which key, and once only.
//!
//! Their order and types are fixed, and the text has to be what we would have written ourselves: of all spellings of one
//! value exactly one is accepted, so no second signature can be made out of a first. A parser of structured fields (RFC
//! 8941) is therefore not needed: it would read much, before anybody is known, that is refused afterwards.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cause::Cause;
use crate::keys::KeyId;
use crate::time::UnixSeconds;

/// The longest `Signature-Input` that is looked at, in bytes.
const LONGEST_INPUT: usize = 2048;

/// What makes a request unlike every other: 22 to 64 characters of base64url, compared as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Nonce(String);

/// The text is no nonce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a nonce is 22 to 64 characters of base64url")]
pub struct InvalidNonce;

impl Nonce {
    /// The nonce that these 16 random bytes make.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nonce {
    type Err = InvalidNonce;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (22..=64).contains(&text.len()) && text.bytes().all(alphabet) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidNonce)
        }
    }
}

/// The parameters of a request's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestParameters {
    pub(super) created: UnixSeconds,
    pub(super) expires: UnixSeconds,
    pub(super) nonce: Nonce,
    pub(super) key_id: KeyId,
}

/// The parameters of an answer's signature; the question's nonce serves the answer too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseParameters {
    pub(super) created: UnixSeconds,
    pub(super) key_id: KeyId,
}

impl fmt::Display for RequestParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, expires, nonce: Nonce(nonce), key_id } = self;
        write!(
            f,
            r#";created={created};expires={expires};nonce="{nonce}";alg="hmac-sha256";keyid="{key_id}";tag="pconf-v1""#
        )
    }
}

impl fmt::Display for ResponseParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#";created={};alg="hmac-sha256";keyid="{}";tag="pconf-v1""#, self.created, self.key_id)
    }
}

impl RequestParameters {
    /// Reads a `Signature-Input` that has to cover exactly `covered`.
    pub(super) fn parse(input: &str, covered: &str) -> Result<Self, Cause> {
        Self::read(parameters(input, "req", covered)?).ok_or(Cause::Parameters)
    }

    fn read(parameters: &str) -> Option<Self> {
        let (created, rest) = parameters.strip_prefix(";created=")?.split_once(";expires=")?;
        let (expires, rest) = rest.split_once(";nonce=\"")?;
        let (nonce, rest) = rest.split_once("\";alg=\"hmac-sha256\";keyid=\"")?;
        let key_id = rest.strip_suffix("\";tag=\"pconf-v1\"")?.parse().ok()?;
        Some(Self { created: seconds(created)?, expires: seconds(expires)?, nonce: nonce.parse().ok()?, key_id })
    }
}

impl ResponseParameters {
    /// Reads a `Signature-Input` that has to cover exactly `covered`.
    pub(super) fn parse(input: &str, covered: &str) -> Result<Self, Cause> {
        Self::read(parameters(input, "res", covered)?).ok_or(Cause::Parameters)
    }

    fn read(parameters: &str) -> Option<Self> {
        let (created, rest) = parameters.strip_prefix(";created=")?.split_once(";alg=\"hmac-sha256\";keyid=\"")?;
        let key_id = rest.strip_suffix("\";tag=\"pconf-v1\"")?.parse().ok()?;
        Some(Self { created: seconds(created)?, key_id })
    }
}

/// What follows the covered list in an input of one member, of that label.
fn parameters<'a>(input: &'a str, label: &'static str, covered: &str) -> Result<&'a str, Cause> {
    if input.len() > LONGEST_INPUT {
        return Err(Cause::TooLong("signature-input"));
    }
    let member = input.strip_prefix(label).and_then(|rest| rest.strip_prefix('=')).ok_or(Cause::Label(label))?;
    member.strip_prefix(covered).ok_or_else(|| Cause::Components(covered.to_owned()))
}

/// An integer (RFC 8941 section 3.3.1) that is a time, in its one spelling.
fn seconds(text: &str) -> Option<UnixSeconds> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let is_whole = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_canonical && is_whole { text.parse().ok().map(UnixSeconds) } else { None }
}
