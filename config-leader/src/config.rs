//! `config-leader.json`: how this leader runs. Every field is optional, and so is the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use pconf_bundle::Origin;
use pconf_daemon::MetricsConfig;
use pconf_vault::KekSource;
use serde::{Deserialize, Deserializer, Serialize};

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
    /// A second listener for followers, with TLS by the leader's own authority; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// A listener for orders by those who have a token; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminConfig>,
    /// Where monitors read how the fleet is (`GET /metrics`); default: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsConfig>,
    /// After how many days a machine gets another key; 0: never.
    #[serde(rename = "rotateKeys")]
    pub rotate_keys: u64,
    /// How much of the history is kept.
    pub history: HistoryConfig,
}

/// How much of the history is kept. The newest revision, the one before it and those that machines run stay in any case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// At least so many revisions; default 1000.
    pub revisions: usize,
    /// For so many days; 0, the default: without an end.
    pub days: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { revisions: 1000, days: 0 }
    }
}

/// How followers reach this leader through TLS.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Where to listen, e.g. `0.0.0.0:7443`.
    pub listen: SocketAddr,
    /// The names and addresses that its certificate is for, e.g. `lead.example`; the first one is told to new machines.
    #[serde(deserialize_with = "some")]
    pub names: Vec<String>,
}

/// How orders are given over the network.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Where to listen, e.g. `127.0.0.1:7001`; elsewhere than on the loopback only with [`LeaderConfig::tls`].
    pub listen: SocketAddr,
}

impl TlsConfig {
    /// The origins by which followers reach this leader through TLS for `names`, the first one first.
    pub(crate) fn origins(&self, names: &[String]) -> anyhow::Result<Vec<Origin>> {
        let port = self.listen.port();
        let origin = |name: &String| {
            let host = if name.contains(':') { format!("[{name}]") } else { name.clone() };
            format!("https://{host}:{port}").parse().context("a name in `tls` cannot be used")
        };
        // Nobody asks for a wildcard.
        names.iter().filter(|name| !name.starts_with('*')).map(origin).collect()
    }
}

fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::deserialize(deserializer)?;
    if names.is_empty() { Err(serde::de::Error::custom("`names` names nothing")) } else { Ok(names) }
}

impl Default for LeaderConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7000)),
            templates: PathBuf::from("templates"),
            urls: Vec::new(),
            ca: None,
            kek: KekSource::default(),
            tls: None,
            admin: None,
            metrics: None,
            rotate_keys: 90,
            history: HistoryConfig::default(),
        }
    }
}
