//! `config-follower.json`: as written, then as usable.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pconf_bundle::{InvalidOrigin, Origin};
use pconf_daemon::MetricsConfig;
use pconf_names::{MachineName, RoleName};
use pconf_plan::Limits;
use serde::Deserialize;

use crate::identity::{self, IDENTITY, IdentityError};
use crate::ring::Ring;

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ConfigFile {
    pub(crate) leader: String,
    pub(crate) machine: MachineName,
    pub(crate) role: RoleName,
    pub(crate) root: PathBuf,
    /// `null` where nobody is to reach this machine.
    #[serde(default = "everywhere")]
    pub(crate) listen: Option<SocketAddr>,
    #[serde(default)]
    urls: Vec<String>,
    /// `null` where there are only files.
    #[serde(default = "usual_socket")]
    pub(crate) docker: Option<PathBuf>,
    state: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(default = "a_minute")]
    poll: u64,
    wait: Option<bool>,
    metrics: Option<MetricsConfig>,
    #[serde(default)]
    drift: DriftPolicy,
    #[serde(default)]
    limits: Limits,
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
    /// The keys shared with the leader when the configuration was read; they name this machine.
    pub ring: Ring,
    /// The folder below which files are written.
    pub root: PathBuf,
    /// Where to listen for the leader's word; `None`: nowhere.
    pub listen: Option<SocketAddr>,
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
    /// Whether to wait at the leader for what is new, which is for machines that its word does not reach.
    pub waits: bool,
    /// Where monitors read how the machine is (`GET /metrics`); `None`: nowhere.
    pub metrics: Option<MetricsConfig>,
    /// What is done about files that are no longer as they were left.
    pub drift: DriftPolicy,
    /// What the leader may do here.
    pub limits: Limits,
}

/// The configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// There is none.
    #[error(
        "there is no configuration `{}`: `config-follower join` writes it; `config-leader machine add` prints how", .0.display()
    )]
    Missing(PathBuf),
    /// The disk's fault.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says whom this machine obeys, and others may change it.
    #[error("`{}` can be changed by others (mode {mode:04o}): run `chmod go-w {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not what it should be.
    #[error("`{}` is not usable", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The line, column and what is wrong there.
        source: serde_json::Error,
    },
    /// The identity beside it is not.
    #[error(transparent)]
    Identity(#[from] IdentityError),
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
    /// Reads and checks the file at `path`, and the identity in the state folder.
    pub fn read(path: &Path) -> Result<Self, InvalidConfig> {
        let file = ConfigFile::read(path)?;
        let state = file.state(path);
        let ring = identity::read(&state.join(IDENTITY), &file.machine)?;
        let origin = |field, text: &str| {
            text.parse().map_err(|source| InvalidConfig::Origin { field, path: path.to_owned(), source })
        };
        if !file.root.is_absolute() {
            return Err(InvalidConfig::RelativeRoot(path.to_owned()));
        }
        if !(1..=86_400).contains(&file.poll) {
            return Err(InvalidConfig::Poll(path.to_owned()));
        }
        Ok(Self {
            leader: origin("leader", &file.leader)?,
            role: file.role,
            ring,
            root: file.root,
            listen: file.listen,
            urls: file.urls.iter().map(|url| origin("urls", url)).collect::<Result<_, _>>()?,
            docker: file.docker,
            state,
            authorities: file.ca,
            poll: Duration::from_secs(file.poll),
            waits: file.wait.unwrap_or(file.listen.is_none()),
            metrics: file.metrics,
            drift: file.drift,
            limits: file.limits,
        })
    }
}

impl ConfigFile {
    /// The file at `path`. It holds no secret, so others may read it; whoever could change it would be this machine's leader.
    pub(crate) fn read(path: &Path) -> Result<Self, InvalidConfig> {
        let (text, mode) = text_and_mode(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => InvalidConfig::Missing(path.to_owned()),
            _ => InvalidConfig::Read { path: path.to_owned(), source },
        })?;
        if mode & 0o022 != 0 {
            return Err(InvalidConfig::Exposed { path: path.to_owned(), mode });
        }
        serde_json::from_str(&text).map_err(|source| InvalidConfig::Unusable { path: path.to_owned(), source })
    }

    /// Where the follower of the configuration at `path` keeps what it has to remember.
    pub(crate) fn state(&self, path: &Path) -> PathBuf {
        self.state.clone().unwrap_or_else(|| state_beside(path))
    }
}

/// Of one open file, so that what is judged is what is read.
fn text_and_mode(path: &Path) -> std::io::Result<(String, u32)> {
    let mut file = std::fs::File::open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((text, file.metadata()?.permissions().mode() & 0o777))
}

/// Where a follower keeps what it has to remember, unless its configuration says otherwise.
pub(crate) fn state_beside(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).join("state")
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn everywhere() -> Option<SocketAddr> {
    Some(SocketAddr::from(([0, 0, 0, 0], 6000)))
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn usual_socket() -> Option<PathBuf> {
    Some(PathBuf::from("/var/run/docker.sock"))
}

fn a_minute() -> u64 {
    60
}
