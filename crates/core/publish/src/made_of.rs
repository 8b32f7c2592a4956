//! What a revision was made of, and why: it is kept with the revision, so that a crash cannot part the two.

use std::collections::BTreeMap;

use pconf_names::Digest;
use serde::{Deserialize, Serialize};

/// The inputs of a revision. No value of a secret is among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeOf {
    /// When, in Unix seconds.
    pub at: u64,
    /// The text of `platform.json`, byte for byte.
    pub platform: String,
    /// The files of the template set, by the path that problems name.
    pub templates: BTreeMap<String, Digest>,
    /// The values of secrets, by what they are called.
    pub secrets: BTreeMap<String, SecretVersion>,
    /// Who wanted it and why, where somebody said so; else the leader noticed that something was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// Which value of a secret it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretVersion {
    /// When the value was made, RFC 3339.
    pub at: String,
    /// By whom.
    pub by: String,
    /// The phase of the rotation that is under way, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Equal for equal values; made with a key, so that nothing can be guessed from it.
    pub mark: String,
}

/// Who wanted a revision and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Who, as the audit log names them.
    pub actor: String,
    /// Why, in their words or in ours.
    pub reason: String,
}
