//! An action is a debt: owed from before the first file is touched until a verified container clears it.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, OnChange};
use pconf_names::{Digest, RelativePath};
use serde::{Deserialize, Serialize};

use crate::observed::{Container, OnDisk};

/// What a service has to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debt {
    /// The changed files that it reads.
    pub files: BTreeMap<RelativePath, Change>,
    /// The services that were made anew and whose addresses it keeps.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub upstreams: BTreeSet<String>,
    /// The container's start before the first file was touched; `None` where there was no such container, or it may have
    /// read files half way.
    pub before: Option<String>,
    /// Whether we stop it ourselves while files change: then it is ours to start.
    #[serde(default)]
    pub held: bool,
    /// What is known about paying it.
    pub state: DebtState,
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
        Self { files, upstreams: BTreeSet::new(), before, held: false, state: DebtState::Open }
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
        files.retain(|path, change| {
            !is_as_before || change.was == Was::Unknown || change.was != Was::in_goal(goal, path)
        });
        files
    }

    fn is_as_before(&self, container: &Container) -> bool {
        let is_same = self.before.as_ref() == Some(&container.started);
        match &self.state {
            DebtState::Failed { .. } => false,
            DebtState::Open => is_same,
            DebtState::Since { started, .. } => is_same && *started == container.started,
        }
    }

    /// Takes over what was owed before: what stood at a path before the first of all changes is what the service took.
    pub(crate) fn join(mut self, earlier: &Self) -> Self {
        for (path, change) in &earlier.files {
            let how = self.files.get(path).map_or(&change.how, |later| (&later.how).max(&change.how)).clone();
            self.files.insert(path.clone(), Change { was: change.was, how });
        }
        self.upstreams.extend(earlier.upstreams.iter().cloned());
        self.before.clone_from(&earlier.before);
        self.held |= earlier.held;
        if let DebtState::Failed { .. } = earlier.state {
            self.state = earlier.state.clone();
        }
        self
    }
}
