//! What can be done to containers.

use std::collections::BTreeSet;

use pconf_bundle::{Check, Health, OnChange};
use pconf_names::RelativePath;
use serde::Serialize;

use crate::manner::Manner;
use crate::observed::{Container, ContainerState, Reads};

/// The application's judgement of files that are not in place yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// The engine's id of the service's container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What to run.
    pub check: Check,
    /// What the container mounts of the root.
    #[serde(skip)]
    pub reads: Vec<Reads>,
    /// How many seconds it may take.
    pub limit: u32,
}

/// A container to stop before the first file changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What is done to a container, and how it is then seen to be well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The engine's id; `None` where compose makes the container.
    pub id: Option<String>,
    /// Its name; the service's where there is no container yet.
    pub name: String,
    /// Its last start, if it ran when this was decided.
    pub started: Option<String>,
    /// What is done.
    pub what: What,
    /// The changed files that it reads.
    pub files: BTreeSet<RelativePath>,
    /// The services that are made anew and whose addresses it keeps.
    pub upstreams: BTreeSet<String>,
    /// Whether it has to be started even where compose finds nothing to make anew: what it mounts has changed.
    pub must_start: bool,
    /// Whether an earlier cycle owed it already.
    pub overdue: bool,
    /// Its turn; 0 goes first.
    pub rank: usize,
    /// How its health is seen, where it is not by the image's HEALTHCHECK or by running on.
    pub health: Option<Health>,
    /// How many seconds each external step may take.
    pub limit: u32,
}

/// What is done to a container, the weakest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Nothing: it was started since the files changed, and only has to be seen to be well.
    Verify,
    /// It is sent this signal.
    Signal(String),
    /// This command is run inside it.
    Exec(Vec<String>),
    /// It is restarted.
    Restart,
    /// It is started: we stopped it, or what we wrote did.
    Start,
    /// Compose makes it, or makes it anew.
    Recreate {
        /// The compose file.
        file: RelativePath,
        /// The compose project.
        project: String,
        /// The service in it.
        service: String,
    },
    /// It is stopped and removed: its service has left the compose file.
    Remove,
}

/// A container that is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The changed files that it would read.
    pub files: BTreeSet<RelativePath>,
}

impl Stop {
    pub(crate) fn of(container: &Container) -> Self {
        Self { id: container.id.clone(), name: container.name.clone() }
    }
}

impl Action {
    pub(crate) fn on(container: &Container, manner: &Manner, what: What) -> Self {
        Self {
            id: Some(container.id.clone()),
            name: container.name.clone(),
            started: (container.state == ContainerState::Up).then(|| container.started.clone()),
            what,
            files: BTreeSet::new(),
            upstreams: BTreeSet::new(),
            must_start: false,
            overdue: false,
            rank: 0,
            health: manner.health.clone(),
            limit: manner.limit,
        }
    }
}

impl What {
    /// How a container that runs is made to take a change.
    pub(crate) fn while_up(how: &OnChange) -> Self {
        match how {
            OnChange::Reload(signal) => Self::Signal(signal.clone()),
            OnChange::Exec(command) => Self::Exec(command.clone()),
            OnChange::None | OnChange::Restart | OnChange::StopFirst | OnChange::Recreate => Self::Restart,
        }
    }

    /// Whether the service does not answer for a while.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        match self {
            Self::Restart | Self::Start | Self::Recreate { .. } => true,
            Self::Verify | Self::Signal(_) | Self::Exec(_) | Self::Remove => false,
        }
    }
}
