//! The files of one machine: what a follower is told, and all that it is told.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pconf_names::{
    Class, ComposeFile, Digest, MachineName, Mode, OnChange, Owner, RelativePath, RevisionId, RoleName, ServiceRule,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::control::Control;
use crate::masks::Masks;

/// Everything that one machine gets at one revision. Files and directories are sorted by path and unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The published state that this is a part of.
    pub revision: RevisionId,
    /// The machine that it is for.
    pub machine: MachineName,
    /// That machine's role.
    pub role: RoleName,
    /// Directories to make; what is in them is never touched.
    pub directories: Vec<Directory>,
    /// Files to write.
    pub files: Vec<File>,
    /// What is said about the services of the machine; every rule that matches applies, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceRule>,
    /// Compose files among the files whose services are made and removed with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compose: Vec<ComposeFile>,
    /// The secrets in the files, so that they can be left out of what is shown.
    #[serde(default, skip_serializing_if = "Masks::is_empty")]
    pub masks: Masks,
    /// Whether the admin has accepted that this revision changes suspiciously much.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// For how many seconds every service has to stay well before the machine counts as being at this revision; no part of
    /// what the revision says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_for: Option<u64>,
    /// What concerns the connection with the leader alone; no part of the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
}

impl Bundle {
    /// The bundle of a machine that gets nothing.
    #[must_use]
    pub fn empty(revision: RevisionId, machine: MachineName, role: RoleName) -> Self {
        Self {
            revision,
            machine,
            role,
            directories: Vec::new(),
            files: Vec::new(),
            services: Vec::new(),
            compose: Vec::new(),
            masks: Masks::default(),
            accepted: false,
            healthy_for: None,
            control: None,
        }
    }
}

/// A directory (of a container's data or log) that has to exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where, below the machine's root.
    pub path: RelativePath,
    /// Set when the directory is made; an existing one keeps its owner.
    pub owner: Owner,
    /// Set when the directory is made; an existing one keeps its mode.
    pub mode: Mode,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where, below the machine's root.
    pub path: RelativePath,
    /// How it is treated.
    pub class: Class,
    /// Numeric owner.
    pub owner: Owner,
    /// Permission bits.
    pub mode: Mode,
    /// How services take a change of it; each in its own way where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
    /// The exact bytes.
    #[serde(flatten)]
    pub content: Content,
}

/// Exact bytes; JSON carries them as `"text"` where they are UTF-8 and as `"base64"` (RFC 4648 section 4) elsewhere. A clone
/// shares them.
///
/// Any file may hold a secret, so `Debug` shows size and digest only.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Encoded")]
pub struct Content(Arc<[u8]>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoded<'c> {
    Text(Cow<'c, str>),
    Base64(Cow<'c, str>),
}

impl Content {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Arc<[u8]>> for Content {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encoded = match std::str::from_utf8(&self.0) {
            Ok(text) => Encoded::Text(text.into()),
            Err(_) => Encoded::Base64(STANDARD.encode(&self.0).into()),
        };
        encoded.serialize(serializer)
    }
}

impl TryFrom<Encoded<'_>> for Content {
    type Error = base64::DecodeError;

    fn try_from(encoded: Encoded<'_>) -> Result<Self, Self::Error> {
        match encoded {
            Encoded::Text(text) => Ok(Self(text.as_bytes().into())),
            Encoded::Base64(text) => Ok(STANDARD.decode(text.as_bytes())?.into()),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, sha256 {}", self.0.len(), self.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_travels_intact() -> Result<(), serde_json::Error> {
        for bytes in [Vec::new(), b"caf\xc3\xa9 {{ x }}\n".to_vec(), (0..=255).collect::<Vec<u8>>()] {
            let content = Content::from(bytes);
            let json = serde_json::to_string(&content)?;
            assert_eq!(serde_json::from_str::<Content>(&json)?, content);
        }
        Ok(())
    }

    #[test]
    fn content_is_never_shown() {
        let shown = format!("{:?}", Content::from(b"hunter2".to_vec()));
        assert_eq!(shown, "7 bytes, sha256 f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7");
    }
}
