//! An action is a debt: owed from before the first file is touched until a verified container clears it.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, ComposeFile, OnChange};
use pconf_names::{Digest, RelativePath};
use serde::{Deserialize, Serialize};

use crate::actions::What;
use crate::observed::{Container, ContainerState, OnDisk};

/// What a service has to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debt {
    /// The changed files that it reads.
    pub files: BTreeMap<RelativePath, Change>,
    /// The services that were made anew, or may have been, and whose addresses it keeps.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub upstreams: BTreeSet<String>,
    /// The services whose addresses it keeps and that are to be made anew.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub awaits: BTreeSet<String>,
    /// The container's start before the first file was touched; `None` where there was no such container, or it may have
    /// read files since without being started.
    pub before: Option<String>,
    /// The container's start when we began to stop, restart or recreate it: as long as that is its last start, it is ours to
    /// start.
    #[serde(default)]
    pub begun: Option<String>,
    /// The compose service that has to be made, even if its container is gone.
    #[serde(default)]
    pub made: Option<Made>,
    /// What is known about paying it.
    pub state: DebtState,
}

/// A service of a compose file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The file and its project.
    pub compose: ComposeFile,
    /// The service in it.
    pub service: String,
}

/// A changed file, as a service sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What stood there when the service last took it.
    pub was: Was,
    /// How the service takes the change.
    pub how: OnChange,
}

/// What stood at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Was {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(Digest),
    /// Something that nobody has read.
    Unknown,
}

/// What is known about paying a debt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase", deny_unknown_fields)]
pub enum DebtState {
    /// Files may still have changed after any start that was seen: only an action pays it.
    Open,
    /// After the last write this was still the container: any later start has read the new files.
    Since {
        /// The engine's id of the container.
        id: String,
        /// Its start, as the engine writes it.
        started: String,
    },
    /// It was acted on and is not well: only an action that ends well pays it, even from standstill.
    Failed {
        /// What was seen, e.g. `exited with code 1`.
        reason: String,
    },
}

impl Change {
    fn remains(&self, goal: &Bundle, path: &RelativePath) -> bool {
        self.was == Was::Unknown || self.was != Was::in_goal(goal, path)
    }
}

impl Made {
    /// The service that compose made a container for.
    pub(crate) fn of(container: &Container) -> Option<Self> {
        let compose = container.made_from.clone()?;
        Some(Self { compose, service: container.service.clone() })
    }

    /// Whether a container is one of the service, from whichever file.
    pub(crate) fn is_project_and_service_of(&self, container: &Container) -> bool {
        let project = container.made_from.as_ref().map(|compose| &compose.project);
        project == Some(&self.compose.project) && container.service == self.service
    }

    /// The service that an action makes.
    pub(crate) fn by(what: &What) -> Option<Self> {
        let What::Recreate { file, project, service } = what else { return None };
        let compose = ComposeFile { file: file.clone(), project: project.clone() };
        Some(Self { compose, service: service.clone() })
    }

    /// What makes it, or makes it anew.
    pub(crate) fn recreate(&self) -> What {
        let ComposeFile { file, project } = self.compose.clone();
        What::Recreate { file, project, service: self.service.clone() }
    }
}

impl Was {
    /// What stands at a path.
    #[must_use]
    pub fn seen(on_disk: Option<&OnDisk>) -> Self {
        match on_disk {
            Some(OnDisk::Nothing) | None => Self::Nothing,
            Some(OnDisk::File { digest: Some(digest), .. }) => Self::Bytes(*digest),
            Some(OnDisk::File { digest: None, .. } | OnDisk::Folder | OnDisk::Obstacle(_)) => Self::Unknown,
        }
    }

    /// What will stand there when `goal` is reached.
    #[must_use]
    pub fn in_goal(goal: &Bundle, path: &RelativePath) -> Self {
        let file = goal.files.iter().find(|file| file.path == *path);
        file.map_or(Self::Nothing, |file| Self::Bytes(file.content.digest()))
    }
}

impl Debt {
    /// What is owed to a container for these changes, before anything was touched.
    #[must_use]
    pub fn new(files: BTreeMap<RelativePath, Change>, before: Option<String>) -> Self {
        let (upstreams, awaits) = (BTreeSet::new(), BTreeSet::new());
        Self { files, upstreams, awaits, before, begun: None, made: None, state: DebtState::Open }
    }

    /// Whether the container does not run since we stopped it, or may have.
    #[must_use]
    pub fn stands_still_by_us(&self, container: &Container) -> bool {
        container.state == ContainerState::Stopped && self.begun.as_ref() == Some(&container.started)
    }

    /// Whether the container has read the new files without us; it still has to be seen to be well.
    #[must_use]
    pub fn has_been_taken(&self, container: &Container) -> bool {
        let must_be_new = self.files.values().any(|change| change.how == OnChange::Recreate);
        match &self.state {
            // What compose has to make anew is not done by starting it.
            DebtState::Since { id, .. } if must_be_new => *id != container.id,
            DebtState::Since { started, .. } => *started != container.started,
            DebtState::Open | DebtState::Failed { .. } => false,
        }
    }

    /// The changes that remain once `goal` is on disk: a container that still runs as it did before the first change has
    /// already taken every file that is as it was then.
    #[must_use]
    pub fn remaining(&self, goal: &Bundle, container: Option<&Container>) -> BTreeMap<RelativePath, Change> {
        let is_as_before = container.is_some_and(|container| self.is_as_before(container));
        let mut files = self.files.clone();
        files.retain(|path, change| !is_as_before || change.remains(goal, path));
        files
    }

    /// Whether any file is another one in `goal` than it was.
    pub(crate) fn has_changes(&self, goal: &Bundle) -> bool {
        self.files.iter().any(|(path, change)| change.remains(goal, path))
    }

    /// Whether the container runs as it did before the first change.
    pub(crate) fn is_as_before(&self, container: &Container) -> bool {
        let is_same = self.before.as_ref() == Some(&container.started);
        match &self.state {
            DebtState::Failed { .. } => false,
            DebtState::Open => is_same,
            DebtState::Since { started, .. } => is_same && *started == container.started,
        }
    }

    /// Whether nothing is owed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.files.is_empty() && self.upstreams.is_empty() && self.awaits.is_empty()
    }

    /// Takes over what was owed before: what stood at a path before the first of all changes is what the service took.
    pub(crate) fn join(mut self, earlier: &Self) -> Self {
        for (path, change) in &earlier.files {
            let how = self.files.get(path).map_or(&change.how, |later| (&later.how).max(&change.how)).clone();
            self.files.insert(path.clone(), Change { was: change.was, how });
        }
        self.upstreams.extend(earlier.upstreams.iter().cloned());
        self.before.clone_from(&earlier.before);
        self.begun.clone_from(&earlier.begun);
        self.made = self.made.or_else(|| earlier.made.clone());
        if let DebtState::Failed { .. } = earlier.state {
            self.state = earlier.state.clone();
        }
        self
    }
}
