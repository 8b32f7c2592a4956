//! What the leader tells a follower about their connection, beside the files: it travels in a bundle and is no part of
//! what makes a revision, so that a new key reaches a fleet for which nothing else is new.

use serde::{Deserialize, Serialize};

use crate::keys::EnrolmentKey;

/// What changes between a leader and one follower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Control {
    /// Grows with every change of what is below; part of the entity tag.
    pub serial: u64,
    /// The key to use from the next request on, once it is kept durably.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<NextKey>,
    /// The certificate authorities (PEM) to trust for `https` from now on, instead of those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

/// The successor of the key that it was sealed under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextKey {
    /// Its version, larger than that of every key before.
    pub version: u32,
    /// The key itself.
    #[serde(serialize_with = "EnrolmentKey::serialize_text")]
    pub key: EnrolmentKey,
}
