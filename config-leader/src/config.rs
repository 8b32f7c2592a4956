//! `config-leader.json`: how this leader runs. Every field is optional, and so is the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use pconf_vault::KekSource;
use serde::{Deserialize, Serialize};

/// How this leader runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaderConfig {
    /// Where to listen; default `0.0.0.0:7000`.
    pub listen: SocketAddr,
    /// The folder of template sets, relative to the leader's folder; default `templates`.
    pub templates: PathBuf,
    /// Origins by which followers reach this leader, besides its own address and those that the platform derives, e.g.
    /// `http://10.8.0.10:7000`. The first one is told to new machines instead of what the platform derives.
    pub urls: Vec<String>,
    /// A file of authorities (PEM) to trust for followers' `https` URLs, relative to the leader's folder; default: those
    /// of this machine, `/etc/ssl/certs/ca-certificates.crt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Where the key-encryption key comes from; default: the file `kek` in the leader's folder.
    pub kek: KekSource,
}

impl Default for LeaderConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7000)),
            templates: PathBuf::from("templates"),
            urls: Vec::new(),
            ca: None,
            kek: KekSource::default(),
        }
    }
}
