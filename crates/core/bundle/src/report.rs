//! What a follower tells the leader after a cycle.

use std::fmt;

use pconf_names::{RelativePath, RevisionId};
use serde::{Deserialize, Serialize};

/// The outcome of one cycle on one machine. Text in it was masked by the follower: it never quotes a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// What the machine is at.
    pub verdict: Verdict,
    /// Files written in this cycle, sorted.
    pub written: Vec<RelativePath>,
    /// Files removed in this cycle, sorted.
    pub removed: Vec<RelativePath>,
    /// Written files that no container mounts, sorted: a wrong mount shows here.
    pub read_by_nothing: Vec<RelativePath>,
    /// Every container that reads a file of the bundle, sorted by name.
    pub services: Vec<ServiceReport>,
}

/// What the machine is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum Verdict {
    /// The files are on disk and every container that reads a changed one was restarted after the write.
    Running {
        /// The revision that runs.
        revision: RevisionId,
    },
    /// The revision was not taken, or not wholly.
    Refused {
        /// The revision that was refused.
        revision: RevisionId,
        /// The last revision that ran wholly, if any did.
        running: Option<RevisionId>,
        /// Why, and the way out.
        reason: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { revision } => write!(f, "running {revision}"),
            Self::Refused { revision, running: Some(running), reason } => {
                write!(f, "refused {revision}, running {running}: {reason}")
            }
            Self::Refused { revision, running: None, reason } => write!(f, "refused {revision}: {reason}"),
        }
    }
}

/// One container's part in a cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceReport {
    /// The container's name.
    pub name: String,
    /// What was done to it.
    pub outcome: ServiceOutcome,
    /// The files whose change it concerns, or why it failed or was left alone.
    pub reason: String,
}

/// What was done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceOutcome {
    /// Nothing that it reads has changed.
    Untouched,
    /// It reads a changed file and was restarted.
    Restarted,
    /// It reads a changed file but its operator had stopped it: it stays stopped.
    Stopped,
    /// It reads a changed file and could not be restarted.
    Failed,
}
