//! The parameters of a signature: when, with which key, and once only.
//!
//! Their order and types are fixed, and the text has to be what we would have written ourselves: of all spellings of one
//! value exactly one is accepted, so no second signature can be made out of a first. A parser of structured fields (RFC
//! 8941) is therefore not needed: it would read much, before anybody is known, that is refused afterwards.

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

impl RequestParameters {
    /// The parameters as they are signed.
    pub(super) fn to_text(&self) -> String {
        let Self { created, expires, nonce: Nonce(nonce), key_id } = self;
        let (created, expires) = (created.0.to_string(), expires.0.to_string());
        [";created=", &created, ";expires=", &expires, ";nonce=\"", nonce, "\"", &signed_with(key_id)].concat()
    }

    /// Reads a `Signature-Input` that has to cover exactly `covered`: the parameters, and their text as it was signed.
    pub(super) fn parse<'a>(input: &'a str, covered: &str) -> Result<(Self, &'a str), Cause> {
        let text = parameters(input, "req", covered)?;
        Self::read(text).map(|read| (read, text)).ok_or(Cause::Parameters)
    }

    fn read(parameters: &str) -> Option<Self> {
        let (created, rest) = parameters.strip_prefix(";created=")?.split_once(';')?;
        let (expires, rest) = rest.strip_prefix("expires=")?.split_once(';')?;
        let (nonce, rest) = rest.strip_prefix("nonce=\"")?.split_once('"')?;
        let key_id = key_id(rest)?;
        Some(Self { created: seconds(created)?, expires: seconds(expires)?, nonce: nonce.parse().ok()?, key_id })
    }
}

impl ResponseParameters {
    /// The parameters as they are signed.
    pub(super) fn to_text(&self) -> String {
        [";created=", &self.created.0.to_string(), &signed_with(&self.key_id)].concat()
    }

    /// Reads a `Signature-Input` that has to cover exactly `covered`: the parameters, and their text as it was signed.
    pub(super) fn parse<'a>(input: &'a str, covered: &str) -> Result<(Self, &'a str), Cause> {
        let text = parameters(input, "res", covered)?;
        Self::read(text).map(|read| (read, text)).ok_or(Cause::Parameters)
    }

    fn read(parameters: &str) -> Option<Self> {
        let rest = parameters.strip_prefix(";created=")?;
        let (created, rest) = rest.split_at(rest.find(';')?);
        Some(Self { created: seconds(created)?, key_id: key_id(rest)? })
    }
}

/// How and with which key it was signed: the rest of the parameters.
fn signed_with(key_id: &KeyId) -> String {
    let KeyId { machine, version } = key_id;
    [";alg=\"hmac-sha256\";keyid=\"", machine.as_str(), ".", &version.to_string(), "\";tag=\"pconf-v1\""].concat()
}

/// The key of parameters whose rest is `text`: what says how and with which key it was signed.
fn key_id(text: &str) -> Option<KeyId> {
    text.strip_prefix(";alg=\"hmac-sha256\";keyid=\"")?.strip_suffix("\";tag=\"pconf-v1\"")?.parse().ok()
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
