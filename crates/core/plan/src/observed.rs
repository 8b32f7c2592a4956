//! The machine as it was seen.

use std::collections::BTreeMap;

use pconf_bundle::ComposeFile;
use pconf_names::{Digest, Owner, RelativePath};
use serde::{Deserialize, Serialize};

use crate::refusal::Obstacle;

/// What was seen of a machine, all at about the same moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// What stands at every path of [`crate::places_to_look`].
    pub disk: BTreeMap<RelativePath, OnDisk>,
    /// Every container of the machine except the follower's own; `None` where no engine is looked at (files only).
    pub containers: Option<Vec<Container>>,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum OnDisk {
    /// Nothing.
    Nothing,
    /// An ordinary file with one name.
    File {
        /// Its bytes; `None` where its size alone shows that they are none that the goal or the ledger knows.
        digest: Option<Digest>,
        /// Who owns it.
        owner: Owner,
        /// Permission bits with setuid, setgid and sticky.
        mode: u32,
    },
    /// A folder.
    Folder,
    /// Neither, here or on the way here.
    Obstacle(Obstacle),
}

/// A container and what it can read of the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its name, which survives being recreated.
    pub name: String,
    /// Its compose service; its name where compose did not make it.
    pub service: String,
    /// Whether it runs.
    pub state: ContainerState,
    /// When it was last started, as the engine writes it. Only ever compared for equality: clocks jump.
    pub started: String,
    /// What it mounts of the root.
    pub reads: Vec<Reads>,
    /// The compose file below the root that it was made from.
    pub made_from: Option<ComposeFile>,
    /// Its labels that say how it takes changes, without `config-follower.`.
    pub labels: BTreeMap<String, String>,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// It runs, or the engine is about to start it again because it crashed.
    Up,
    /// It ended by itself, and not well.
    Died,
    /// It was stopped, paused or never started, or it ended well: it stays as its operator left it.
    Stopped,
}

/// A part of the root that a container mounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// The whole root.
    Everything,
    /// A folder of it with all below, or a single file.
    Within(RelativePath),
}

impl Reads {
    /// What a mount of `source` shows of `root`, both absolute paths on the engine's host without `.` and `..`.
    ///
    /// A mount of a folder above the root shows the host, not its configuration (a monitor with `/` mounted): nothing.
    #[must_use]
    pub fn of_mount(root: &str, source: &str) -> Option<Self> {
        let rest = source.trim_end_matches('/').strip_prefix(root.trim_end_matches('/'))?;
        if rest.is_empty() {
            return Some(Self::Everything);
        }
        rest.strip_prefix('/').and_then(|rest| rest.parse().ok()).map(Self::Within)
    }

    /// Whether `path` can be read through it.
    #[must_use]
    pub fn shows(&self, path: &RelativePath) -> bool {
        match self {
            Self::Everything => true,
            Self::Within(place) => path.is_within(place),
        }
    }
}

impl Container {
    /// Whether it can read `path`.
    #[must_use]
    pub fn can_read(&self, path: &RelativePath) -> bool {
        self.reads.iter().any(|reads| reads.shows(path))
    }

    /// Whether it mounts `path` by itself: such a mount shows the same inode until the container is started again.
    #[must_use]
    pub fn mounts_alone(&self, path: &RelativePath) -> bool {
        self.reads.iter().any(|reads| matches!(reads, Reads::Within(place) if place == path))
    }

    /// Whether a change of `path` can concern it.
    #[must_use]
    pub fn reads_or_is_made_from(&self, path: &RelativePath) -> bool {
        self.can_read(path) || self.made_from.as_ref().is_some_and(|compose| compose.file == *path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_shows_what_lies_below_its_source() -> Result<(), pconf_names::InvalidPath> {
        let root = "/var/pryv/pryv";
        let within = |path: &str| path.parse().map(|path| Some(Reads::Within(path)));
        assert_eq!(Reads::of_mount(root, "/var/pryv/pryv/core/conf"), within("core/conf")?);
        assert_eq!(Reads::of_mount(root, "/var/pryv/pryv/core/conf/"), within("core/conf")?);
        assert_eq!(Reads::of_mount("/var/pryv/pryv/", "/var/pryv/pryv"), Some(Reads::Everything));
        assert_eq!(Reads::of_mount(root, "/var/pryv/pryv-old/core"), None);
        assert_eq!(Reads::of_mount(root, "/var"), None);
        assert_eq!(Reads::of_mount(root, "/"), None);
        Ok(())
    }
}
