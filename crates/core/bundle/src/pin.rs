//! Which certificate authority a machine trusts before it knows any: the hash of a public key, short enough for a line.

use std::fmt;
use std::str::FromStr;

use pconf_names::Digest;

use crate::base64url;

/// SHA-256 of a certificate authority's `SubjectPublicKeyInfo` (DER). Its text form is 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// The text is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the pin of a certificate authority: it is 43 characters of base64url, the SHA-256 of its public key"
)]
pub struct InvalidPin(String);

impl Pin {
    /// The pin of the authority with this `SubjectPublicKeyInfo`, in DER from its outer tag on.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        Self(*Digest::of(public_key).as_bytes())
    }
}

impl FromStr for Pin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        base64url::decode(text).map(Self).ok_or_else(|| InvalidPin(text.to_owned()))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}
