//! The name of one machine's bundle in HTTP: `ETag` and `If-None-Match` (RFC 9110 section 8.8.3).

use std::fmt;
use std::str::FromStr;

use http::HeaderValue;
use pconf_names::{Digest, RevisionId};

/// `"<epoch>.<number>-<first 16 hexadecimal digits of the plaintext's SHA-256>"`, always strong; with `-<serial>` behind
/// it when the bundle has a control part, which the digest leaves out.
///
/// It names the plaintext: the sealed bytes differ with every nonce, and a `304` has to work all the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntityTag {
    /// The revision of the bundle.
    pub revision: RevisionId,
    digest_prefix: String,
    serial: Option<u64>,
}

/// The text is no entity tag of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the entity tag of a bundle: it is written `\"<epoch>.<number>-<16 hexadecimal digits>\"`, perhaps with a \
     serial number `-<serial>` at the end"
)]
pub struct InvalidEntityTag(String);

impl EntityTag {
    /// The tag of a plaintext with that digest at that revision, and the serial of its control part.
    #[must_use]
    pub fn new(revision: RevisionId, plaintext: &Digest, serial: Option<u64>) -> Self {
        let mut digest_prefix = plaintext.to_string();
        digest_prefix.truncate(16);
        Self { revision, digest_prefix, serial }
    }

    /// The field value.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        crate::header_value(self.to_string())
    }
}

impl FromStr for EntityTag {
    type Err = InvalidEntityTag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        text.strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|tag| tag.split_once('-'))
            .map(|(revision, rest)| match rest.split_once('-') {
                Some((digits, serial)) => (revision, digits, Some(serial)),
                None => (revision, rest, None),
            })
            .filter(|(_, digits, _)| digits.len() == 16 && hexadecimal(digits))
            .and_then(|(revision, digits, serial)| {
                let (revision, serial) = (revision.parse().ok()?, serial.map(str::parse).transpose().ok()?);
                Some(Self { revision, digest_prefix: digits.to_owned(), serial })
            })
            // A tag has one spelling: no sign, no leading zero.
            .filter(|tag| tag.to_string() == text)
            .ok_or_else(|| InvalidEntityTag(text.to_owned()))
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}-{}", self.revision, self.digest_prefix)?;
        self.serial.map_or(Ok(()), |serial| write!(f, "-{serial}"))?;
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_strong_name() {
        for (serial, text) in [
            (None, "\"1.42-e3b0c44298fc1c14\""),
            (Some(0), "\"1.42-e3b0c44298fc1c14-0\""),
            (Some(17), "\"1.42-e3b0c44298fc1c14-17\""),
        ] {
            let tag = EntityTag::new(RevisionId { epoch: 1, number: 42 }, &Digest::of(b""), serial);
            assert_eq!(tag.to_string(), text);
            assert_eq!(text.parse(), Ok(tag));
        }
        for bad in [
            "*",
            "W/\"1.42-e3b0c44298fc1c14\"",
            "\"1.42\"",
            "\"1.42-E3B0C44298FC1C14\"",
            "\"1.42-e3b0c44298fc1c14-\"",
            "\"1.42-e3b0c44298fc1c14-01\"",
            "\"1.42-e3b0c44298fc1c14-+1\"",
            "\"1.42-e3b0c44298fc1c14-1-1\"",
            "\"a\", \"b\"",
            "",
        ] {
            assert_eq!(bad.parse::<EntityTag>(), Err(InvalidEntityTag(bad.to_owned())));
        }
    }
}
