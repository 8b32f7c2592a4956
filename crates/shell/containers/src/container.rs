//! A container as the engine describes it.

use std::path::PathBuf;
use std::time::Duration;

/// A container as the engine describes it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id, 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// When it was last started, as the engine writes it (RFC 3339).
    pub started: String,
    /// What it mounts: binds and named volumes.
    pub mounts: Vec<Mount>,
    /// How long it may take to stop before it is killed.
    pub stop_grace: Duration,
}

/// A part of the host that a container mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the engine's host.
    pub source: PathBuf,
    /// Where the container sees it.
    pub destination: PathBuf,
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
    },
    /// It was made and never started.
    Created,
}
