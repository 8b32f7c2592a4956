//! Placeholder until the real one is there.
use pconf_names::{Digest, RelativePath};
use std::collections::BTreeMap;
/// Services.
#[derive(Debug, Clone)]
pub struct ComposeServices(pub BTreeMap<String, ComposeService>);
/// One.
#[derive(Debug, Clone)]
pub struct ComposeService {
    /// D.
    pub definition: Digest,
    /// E.
    pub env_files: Vec<RelativePath>,
    /// D.
    pub depends_on: Vec<String>,
    /// N.
    pub container_name: Option<String>,
}
/// Reads.
pub fn compose_services(_file: &RelativePath, _text: &[u8]) -> Option<ComposeServices> {
    None
}
