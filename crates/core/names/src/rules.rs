//! What a template set says about services beyond what can be seen of their containers: how they take a change, how their
//! files are checked before they are written, how their health is seen, and in which order they go.

use crate::RelativePath;
use serde::{Deserialize, Serialize};

/// What is said about the services of a name. Every rule that matches applies, in order, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRule {
    /// The service: its compose service, or its container's name; `*` is every one.
    #[serde(rename = "match")]
    pub service: String,
    /// How it takes a change of a file that does not say so itself; a restart where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
    /// What has to succeed before any file that it reads is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// How it is seen to be healthy; by the image's own HEALTHCHECK, else by running on, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Services that have to be healthy before it is acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Services whose addresses it keeps: it goes after them, and takes a change whenever one of them was made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<Vec<String>>,
    /// How many seconds each of check, command and the way to health may take; 60 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// How a service takes a change of a file that it reads, the weakest way first. The strongest of all changed files wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// It looks by itself.
    None,
    /// A signal, e.g. `SIGHUP`.
    Reload(String),
    /// A command inside its container, e.g. `["nginx", "-s", "reload"]`.
    Exec(Vec<String>),
    /// A restart.
    Restart,
    /// It never runs while the file changes: stopped, written, started.
    StopFirst,
    /// Made anew by compose.
    Recreate,
}

/// The application's own judgement of files that are not in place yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// In a container of its own, made like the service's and seeing the new files where the service sees the old ones.
    Run(Vec<String>),
    /// In the running container; `{staged}` is the folder where it sees the new files of its own mount.
    Exec(Vec<String>),
}

/// How a service is seen to be healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// `GET` answers with a status below 400.
    Http {
        /// The container's port.
        port: u16,
        /// With the leading slash.
        path: String,
    },
    /// The container's port accepts connections.
    Tcp(u16),
    /// A command inside the container ends with 0.
    Exec(Vec<String>),
    /// It runs on for so many seconds without being started again.
    Running(u32),
}

/// A compose file of the set: its services are made when they are missing and removed when they have left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComposeFile {
    /// Where it lands.
    pub file: RelativePath,
    /// The compose project.
    pub project: String,
}
