//! The parameters of a signature: when, with which key, and once only.
//!
//! Their order and types are fixed, and the text has to be what we would have written ourselves: of all spellings of one
//! value exactly one is accepted, so no second signature can be made out of a first.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sfv::{BareItem, Dictionary, FieldType as _, ListEntry, Parser};

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
        let items = items(input, "req", covered)?;
        let [created, expires, nonce, _, key_id, _] =
            named(&items, ["created", "expires", "nonce", "alg", "keyid", "tag"])?;
        let parsed = Self {
            created: seconds(&created)?,
            expires: seconds(&expires)?,
            nonce: string(&nonce)?.parse().map_err(|_| Cause::Parameters)?,
            key_id: string(&key_id)?.parse().map_err(|_| Cause::Parameters)?,
        };
        as_we_write_it(input, "req", covered, &parsed)?;
        Ok(parsed)
    }
}

impl ResponseParameters {
    /// Reads a `Signature-Input` that has to cover exactly `covered`.
    pub(super) fn parse(input: &str, covered: &str) -> Result<Self, Cause> {
        let items = items(input, "res", covered)?;
        let [created, _, key_id, _] = named(&items, ["created", "alg", "keyid", "tag"])?;
        let parsed =
            Self { created: seconds(&created)?, key_id: string(&key_id)?.parse().map_err(|_| Cause::Parameters)? };
        as_we_write_it(input, "res", covered, &parsed)?;
        Ok(parsed)
    }
}

fn items(input: &str, label: &'static str, covered: &str) -> Result<sfv::Parameters, Cause> {
    const NAME: &str = "signature-input";
    if input.len() > LONGEST_INPUT {
        return Err(Cause::TooLong(NAME));
    }
    let fields: Dictionary = Parser::new(input).parse().map_err(|_| Cause::NotCanonical(NAME))?;
    if fields.serialize().as_deref() != Some(input) {
        return Err(Cause::NotCanonical(NAME));
    }
    match fields.into_iter().collect::<Vec<_>>().as_mut_slice() {
        [(key, ListEntry::InnerList(list))] if key.as_str() == label => {
            // The text is canonical, so what it covers can be compared as text.
            let rest = input.strip_prefix(label).and_then(|rest| rest.strip_prefix('='));
            match rest.and_then(|rest| rest.strip_prefix(covered)) {
                Some(_) => Ok(std::mem::take(&mut list.params)),
                None => Err(Cause::Components(covered.to_owned())),
            }
        }
        _ => Err(Cause::Label(label)),
    }
}

fn named<const N: usize>(items: &sfv::Parameters, names: [&str; N]) -> Result<[BareItem; N], Cause> {
    if !items.keys().map(|key| key.as_str()).eq(names) {
        return Err(Cause::Parameters);
    }
    let values: Vec<BareItem> = items.values().cloned().collect();
    values.try_into().map_err(|_| Cause::Parameters)
}

fn seconds(item: &BareItem) -> Result<UnixSeconds, Cause> {
    let seconds = item.as_integer().and_then(|integer| u64::try_from(i64::from(integer)).ok());
    seconds.map(UnixSeconds).ok_or(Cause::Parameters)
}

fn string(item: &BareItem) -> Result<String, Cause> {
    item.as_string().map(|text| text.as_str().to_owned()).ok_or(Cause::Parameters)
}

/// Settles `alg`, `tag` and every question of spelling at once.
fn as_we_write_it(input: &str, label: &str, covered: &str, parsed: &impl fmt::Display) -> Result<(), Cause> {
    if input == format!("{label}={covered}{parsed}") { Ok(()) } else { Err(Cause::Parameters) }
}
