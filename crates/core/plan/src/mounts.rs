//! What a mount shows: the inode that had its name when the container was started, whatever the name leads to later.

use std::collections::BTreeSet;

use pconf_names::RelativePath;
use serde::{Deserialize, Serialize};

use crate::actions::Action;
use crate::decide::Scene;
use crate::observed::{Container, ContainerState, Reads};
use crate::plan::{Plan, Step};

/// The files that a container mounts by themselves and of which it may show an older form, until its next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loose {
    /// The container's start, as the engine writes it.
    pub started: String,
    /// The files.
    pub files: BTreeSet<RelativePath>,
}

/// A folder that a container mounts stays, even with nothing in it: without it the container could not be started.
pub(crate) fn keep_mounted_folders(scene: &Scene, plan: &mut Plan) {
    let is_mounted = |path: &RelativePath| {
        scene.containers.iter().flat_map(|container| &container.reads).any(|reads| match reads {
            Reads::Everything => false,
            Reads::Within(place) => place.is_within(path),
        })
    };
    plan.steps.retain(|step| !matches!(step, Step::RemoveFolder { path } if is_mounted(path)));
}

/// A file that a running container mounts by itself keeps its inode, unless the container is started again anyway: otherwise
/// it would go on seeing the old file, whenever it looks.
pub(crate) fn keep_inodes(scene: &Scene, plan: &mut Plan) {
    let is_started = |action: &&Action| action.what.interrupts();
    let started: BTreeSet<String> = plan.actions.iter().filter(is_started).map(|action| action.name.clone()).collect();
    let keeps = |path: &RelativePath| {
        scene.containers.iter().any(|container| {
            let stays = container.state == ContainerState::Up && !started.contains(&container.name);
            stays && container.mounts_alone(path)
        })
    };
    for step in &mut plan.steps {
        if let Step::WriteFile { path, replaces: true, in_place } = step {
            *in_place = keeps(path);
        }
    }
}

/// Who will show an older form of a file: where its inode changes, or somebody else may have changed it.
pub(crate) fn note_what_is_loose(scene: &Scene, plan: &mut Plan) {
    let replaced = plan.steps.iter().filter_map(|step| match step {
        Step::WriteFile { path, in_place: false, .. } | Step::RemoveFile { path } => Some(path),
        Step::WriteFile { in_place: true, .. }
        | Step::MakeFolder { .. }
        | Step::SetPermission { .. }
        | Step::RemoveFolder { .. } => None,
    });
    let replaced: BTreeSet<RelativePath> = replaced.chain(&plan.doubtful).cloned().collect();
    for container in &scene.containers {
        let files: BTreeSet<RelativePath> =
            replaced.iter().filter(|path| container.mounts_alone(path)).cloned().collect();
        if !files.is_empty() {
            plan.loose.insert(container.name.clone(), Loose { started: container.started.clone(), files });
        }
    }
}

impl Loose {
    /// Whether it still is the same start.
    pub(crate) fn is_of(&self, container: &Container) -> bool {
        self.started == container.started
    }
}
