//! `config-follower.json`: as written, then as usable.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pconf_bundle::{EnrolmentKey, InvalidOrigin, KeyId, Keys, Origin};
use pconf_daemon::{ConfigError, read_private_json};
use pconf_names::{MachineName, RoleName};
use serde::Deserialize;

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigFile {
    leader: String,
    machine: MachineName,
    role: RoleName,
    key: EnrolmentKey,
    #[serde(default = "first_key_version")]
    key_version: u32,
    root: PathBuf,
    #[serde(default = "everywhere")]
    listen: SocketAddr,
    #[serde(default)]
    urls: Vec<String>,
    /// `null` where there are only files.
    #[serde(default = "usual_socket")]
    docker: Option<PathBuf>,
    state: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(default = "a_minute")]
    poll: u64,
    #[serde(default)]
    drift: DriftPolicy,
}

/// What is done about files that are no longer as they were left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftPolicy {
    /// It is told.
    #[default]
    Report,
    /// The files are put right, and their readers take them.
    Repair,
    /// Nobody looks.
    Ignore,
}

/// How this follower runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the leader is.
    pub leader: Origin,
    /// This machine's role.
    pub role: RoleName,
    /// The keys shared with the leader; they name this machine.
    pub keys: Arc<Keys>,
    /// The folder below which files are written.
    pub root: PathBuf,
    /// Where to listen for the leader's word.
    pub listen: SocketAddr,
    /// By which origins the leader reaches this follower, besides the address that it listens on.
    pub urls: Vec<Origin>,
    /// The Docker engine's socket; `None`: write files only.
    pub docker: Option<PathBuf>,
    /// Where the follower keeps what it has to remember.
    pub state: PathBuf,
    /// Authorities to trust for `https`, instead of the machine's own.
    pub authorities: Option<PathBuf>,
    /// How often to look without being told to; ± 20 %.
    pub poll: Duration,
    /// What is done about files that are no longer as they were left.
    pub drift: DriftPolicy,
}

/// The configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The file is not.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// An address in it is none.
    #[error("`{field}` in `{}` is not usable", path.display())]
    Origin {
        /// Which.
        field: &'static str,
        /// In which file.
        path: PathBuf,
        /// Why.
        source: InvalidOrigin,
    },
    /// The root is relative, so its meaning would depend on where the program was started.
    #[error("`root` in `{}` has to be an absolute path, e.g. `/var/pryv/pryv`", .0.display())]
    RelativeRoot(PathBuf),
    /// It would never look.
    #[error("`poll` in `{}` has to be between 1 and 86400 seconds", .0.display())]
    Poll(PathBuf),
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, InvalidConfig> {
        let file: ConfigFile = read_private_json(path)?;
        let origin = |field, text: &str| {
            text.parse().map_err(|source| InvalidConfig::Origin { field, path: path.to_owned(), source })
        };
        if !file.root.is_absolute() {
            return Err(InvalidConfig::RelativeRoot(path.to_owned()));
        }
        if !(1..=86_400).contains(&file.poll) {
            return Err(InvalidConfig::Poll(path.to_owned()));
        }
        let beside = path.parent().unwrap_or(Path::new(".")).join("state");
        Ok(Self {
            leader: origin("leader", &file.leader)?,
            role: file.role,
            keys: Arc::new(Keys::derive(KeyId { machine: file.machine, version: file.key_version }, &file.key)),
            root: file.root,
            listen: file.listen,
            urls: file.urls.iter().map(|url| origin("urls", url)).collect::<Result<_, _>>()?,
            docker: file.docker,
            state: file.state.unwrap_or(beside),
            authorities: file.ca,
            poll: Duration::from_secs(file.poll),
            drift: file.drift,
        })
    }
}

fn first_key_version() -> u32 {
    1
}

fn everywhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 6000))
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn usual_socket() -> Option<PathBuf> {
    Some(PathBuf::from("/var/run/docker.sock"))
}

fn a_minute() -> u64 {
    60
}
