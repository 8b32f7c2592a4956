//! A container as the engine describes it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A container as the engine describes it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id, 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// The id of the image that it was made from.
    pub image: String,
    /// What it is doing.
    pub state: State,
    /// When it was last started, as the engine writes it (RFC 3339).
    pub started: String,
    /// How often the engine has started it again by itself since somebody last started it.
    pub restarts: i64,
    /// Why the engine could not start it last time, in the engine's words; empty when it could.
    pub start_error: String,
    /// What its HEALTHCHECK says; `None` when it has none.
    pub health: Option<HealthState>,
    /// When the last of its health checks that passed began, as the engine writes it.
    pub passed: Option<String>,
    /// What it mounts: binds and named volumes.
    pub mounts: Vec<Mount>,
    /// How long it may take to stop before it is killed.
    pub stop_grace: Duration,
    /// Its labels that begin with `com.docker.compose.` or `config-follower.`.
    pub labels: BTreeMap<String, String>,
    /// Where it answers: its addresses in its networks, or 127.0.0.1 in the network of the host.
    pub addresses: Vec<IpAddr>,
}

impl Container {
    /// The compose project and service that it was made for.
    #[must_use]
    pub fn compose(&self) -> Option<(&str, &str)> {
        compose(&self.labels)
    }
}

/// What is seen of a container without a question about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glimpse {
    /// The engine's id: another one when it was made anew.
    pub id: String,
    /// What it is doing.
    pub state: State,
}

/// What the list of all containers tells of each, to choose those that are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name, without the leading slash.
    pub name: String,
    /// What it mounts.
    pub mounts: Vec<Mount>,
    /// Its labels that begin with `com.docker.compose.` or `config-follower.`.
    pub labels: BTreeMap<String, String>,
}

impl Summary {
    /// The compose project and service that it was made for.
    #[must_use]
    pub fn compose(&self) -> Option<(&str, &str)> {
        compose(&self.labels)
    }
}

/// A part of the host that a container mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the engine's host; for a volume of the driver `local` that is another name of a folder
    /// (`o=bind`), that folder.
    pub source: PathBuf,
    /// Where the container sees it.
    pub destination: PathBuf,
    /// Whether the container may write there.
    pub writable: bool,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It has died and the engine is about to start it again.
    Restarting,
    /// Its processes are frozen.
    Paused,
    /// It ended.
    Exited {
        /// With this code.
        code: i64,
        /// Whether that was no orderly end: not startable, killed by the kernel for want of memory, or ended with a code
        /// of its own. An operator's `docker stop` leaves 0, 143 (SIGTERM, which the program left to the kernel), 137
        /// (SIGKILL, after its grace) or, with another stop signal, 130 (SIGINT). One that the engine starts again
        /// whatever happens lies still only when its operator stopped it, or when it cannot be started.
        died: bool,
    },
    /// It was made and never started.
    Created,
}

/// What a container's HEALTHCHECK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// No check has passed since its start, and not too many have failed.
    Starting,
    /// The last check passed, or too few have failed since one did.
    Healthy,
    /// Too many checks in a row have failed.
    Unhealthy,
}

fn compose(labels: &BTreeMap<String, String>) -> Option<(&str, &str)> {
    Some((labels.get("com.docker.compose.project")?, labels.get("com.docker.compose.service")?))
}
