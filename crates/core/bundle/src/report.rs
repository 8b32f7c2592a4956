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
    /// What is no longer as it was left, sorted by what it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// The revision whose files are all on disk, if they are those of one: what runs may still be another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disk: Option<RevisionId>,
}

impl Report {
    /// That the machine is there, and that nothing was done for it.
    #[must_use]
    pub fn of(verdict: Verdict) -> Self {
        let (written, removed, read_by_nothing) = (Vec::new(), Vec::new(), Vec::new());
        Self { verdict, written, removed, read_by_nothing, services: Vec::new(), drift: Vec::new(), on_disk: None }
    }
}

/// What the machine is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verdict {
    /// The files are on disk, and every service that reads a changed one has taken it and is healthy.
    Running {
        /// The revision that runs.
        revision: RevisionId,
    },
    /// The revision was not taken; nothing was touched.
    Refused {
        /// The revision that was refused.
        revision: RevisionId,
        /// The last revision that ran wholly, if any did.
        running: Option<RevisionId>,
        /// Why, and the way out.
        reason: String,
    },
    /// The revision broke a service, so the machine went back to `running`. It is not tried again.
    RolledBack {
        /// The revision that broke something.
        revision: RevisionId,
        /// The revision that runs again.
        running: RevisionId,
        /// What broke, and the way out.
        reason: String,
    },
    /// The machine is on its way: something is owed that could not be done yet. It is tried again.
    Unfinished {
        /// The revision that the machine is on its way to.
        revision: RevisionId,
        /// The last revision that ran wholly, if any did.
        running: Option<RevisionId>,
        /// What could not be done, and the way out.
        reason: String,
    },
    /// The operator has asked the follower to touch nothing.
    Suspended {
        /// The last revision that ran wholly, if any did.
        running: Option<RevisionId>,
        /// The operator's reason.
        reason: String,
    },
}

impl Verdict {
    /// The last revision that ran wholly, if any did.
    #[must_use]
    pub fn running(&self) -> Option<RevisionId> {
        match self {
            Self::Running { revision } => Some(*revision),
            Self::RolledBack { running, .. } => Some(*running),
            Self::Refused { running, .. } | Self::Unfinished { running, .. } | Self::Suspended { running, .. } => {
                *running
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let still = |f: &mut fmt::Formatter<'_>, running: &Option<RevisionId>| match running {
            Some(running) => write!(f, ", running {running}"),
            None => Ok(()),
        };
        let reason = match self {
            Self::Running { revision } => return write!(f, "running {revision}"),
            Self::Refused { revision, running, reason } => {
                write!(f, "refused {revision}")?;
                still(f, running)?;
                reason
            }
            Self::RolledBack { revision, running, reason } => {
                write!(f, "rolled back {revision}, running {running}")?;
                reason
            }
            Self::Unfinished { revision, running, reason } => {
                write!(f, "unfinished {revision}")?;
                still(f, running)?;
                reason
            }
            Self::Suspended { running, reason } => {
                write!(f, "suspended")?;
                still(f, running)?;
                reason
            }
        };
        write!(f, ": {reason}")
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
    /// The last lines that it wrote, where it failed; masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

impl ServiceReport {
    /// The part of a container whose last lines tell nothing.
    #[must_use]
    pub fn new(name: &str, outcome: ServiceOutcome, reason: String) -> Self {
        Self { name: name.to_owned(), outcome, reason, log: Vec::new() }
    }
}

/// What was done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceOutcome {
    /// Nothing that it reads has changed, or it takes changes by itself.
    Untouched,
    /// It was sent its signal, or its command was run.
    Reloaded,
    /// It was restarted.
    Restarted,
    /// It was made anew, or made for the first time.
    Recreated,
    /// It has left the set and was removed.
    Removed,
    /// It reads a changed file but its operator had stopped it: it stays stopped.
    Stopped,
    /// Its turn has not come: something before it has to work first.
    Owed,
    /// It did not become healthy, or could not be acted on.
    Failed,
}

/// A managed file or container that is not as it was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The file's path, or the container's name.
    pub what: String,
    /// How it differs, e.g. `changed`, `missing`, `exited with code 1`.
    pub how: String,
    /// When that was first seen (RFC 3339).
    pub since: String,
}
