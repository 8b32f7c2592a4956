//! The name of one machine's bundle in HTTP: `ETag` and `If-None-Match` (RFC 9110 section 8.8.3).

use std::fmt;
use std::str::FromStr;

use http::HeaderValue;
use pconf_names::{Digest, RevisionId};

/// `"<epoch>.<number>-<first 16 hexadecimal digits of the plaintext's SHA-256>"`, always strong.
///
/// It names the plaintext: the sealed bytes differ with every nonce, and a `304` has to work all the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntityTag {
    /// The revision of the bundle.
    pub revision: RevisionId,
    digest_prefix: String,
}

/// The text is no entity tag of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the entity tag of a bundle: it is written `\"<epoch>.<number>-<16 hexadecimal digits>\"`")]
pub struct InvalidEntityTag(String);

impl EntityTag {
    /// The tag of a plaintext with that digest at that revision.
    #[must_use]
    pub fn new(revision: RevisionId, plaintext: &Digest) -> Self {
        let mut digest_prefix = plaintext.to_string();
        digest_prefix.truncate(16);
        Self { revision, digest_prefix }
    }

    /// The field value.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        crate::header_value(&self.to_string())
    }
}

impl FromStr for EntityTag {
    type Err = InvalidEntityTag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        text.strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|tag| tag.split_once('-'))
            .filter(|(_, digits)| digits.len() == 16 && hexadecimal(digits))
            .and_then(|(revision, digits)| {
                Some(Self { revision: revision.parse().ok()?, digest_prefix: digits.to_owned() })
            })
            .ok_or_else(|| InvalidEntityTag(text.to_owned()))
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}-{}\"", self.revision, self.digest_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_strong_name() {
        let tag = EntityTag::new(RevisionId { epoch: 1, number: 42 }, &Digest::of(b""));
        assert_eq!(tag.to_string(), "\"1.42-e3b0c44298fc1c14\"");
        assert_eq!(tag.to_string().parse(), Ok(tag.clone()));
        for bad in ["*", "W/\"1.42-e3b0c44298fc1c14\"", "\"1.42\"", "\"1.42-E3B0C44298FC1C14\"", "\"a\", \"b\"", ""] {
            assert_eq!(bad.parse::<EntityTag>(), Err(InvalidEntityTag(bad.to_owned())));
        }
    }
}
