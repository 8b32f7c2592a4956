//! What a machine tells of itself, so that its leader can plan as the machine would: digests, never content.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::Bundle;
use pconf_names::{Digest, RelativePath};
use serde::{Deserialize, Serialize};

use crate::foresee::{Foreseen, foresee};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::observed::{Container, Observed, OnDisk};
use crate::plan::places_to_look;
use crate::refusal::Obstacle;

/// All that a follower decides by, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// What it remembers.
    pub ledger: Ledger,
    /// What stands at the places that the ledger knows, where that is not what the ledger says.
    pub strays: BTreeMap<RelativePath, OnDisk>,
    /// Every container that reads or is made from files of the root, by name; `None` where no engine is looked at.
    pub containers: Option<Vec<Container>>,
    /// What its leader may do there.
    pub limits: Limits,
    /// How long each container was last away for an action, from its begin until it was seen to be well, in milliseconds.
    pub took: BTreeMap<String, u64>,
}

impl Snapshot {
    /// The places that a snapshot has to know about, with the sizes whose bytes matter.
    #[must_use]
    pub fn places(ledger: &Ledger) -> BTreeMap<RelativePath, BTreeSet<u64>> {
        let mut places: BTreeMap<RelativePath, BTreeSet<u64>> = BTreeMap::new();
        for (path, record) in ledger.files.iter().chain(&ledger.intended) {
            places.entry(path.clone()).or_default().insert(record.size);
        }
        for path in expected(ledger).into_keys() {
            places.entry(path).or_default();
        }
        places
    }

    /// A machine with that ledger that was seen like that; `observed` tells what stands at [`Snapshot::places`].
    #[must_use]
    pub fn new(ledger: &Ledger, observed: Observed, limits: &Limits, took: &BTreeMap<String, u64>) -> Self {
        let expected = expected(ledger);
        let mut strays = observed.disk;
        strays.retain(|path, seen| expected.get(path) != Some(seen));
        let mut containers = observed.containers;
        for container in containers.iter_mut().flatten() {
            container.reads.sort_unstable();
        }
        if let Some(containers) = &mut containers {
            containers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        let is_here = |name: &String| containers.iter().flatten().any(|container| container.name == *name);
        let took = took.iter().filter(|(name, _)| is_here(name)).map(|(name, took)| (name.clone(), *took)).collect();
        Self { ledger: ledger.clone(), strays, containers, limits: limits.clone(), took }
    }

    /// As it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(bytes) => bytes,
            Err(_) => unreachable!("a snapshot holds text, numbers and lists, by text"),
        }
    }

    /// Two snapshots of one digest say the same.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The machine as it was seen, as [`crate::plan`] for `goal` wants to know it.
    ///
    /// What stands where only the goal has something nobody has told: nothing, unless something is in the way there.
    #[must_use]
    pub fn observed(&self, goal: &Bundle) -> Observed {
        let mut known = expected(&self.ledger);
        known.extend(self.strays.iter().map(|(path, seen)| (path.clone(), seen.clone())));
        let on_disk = |path: RelativePath| {
            let seen = known.get(&path).cloned().unwrap_or_else(|| on_the_way(&path, &known));
            (path, seen)
        };
        let disk = places_to_look(goal, &self.ledger).into_keys().map(on_disk).collect();
        Observed { disk, containers: self.containers.clone() }
    }

    /// What the machine will do when it is offered `goal`.
    #[must_use]
    pub fn foresee(&self, goal: &Bundle) -> Foreseen {
        foresee(goal, &self.ledger, &self.limits, &self.observed(goal))
    }

    /// The files of `goal` of whose places the machine has not told anything, sorted.
    #[must_use]
    pub fn untold(&self, goal: &Bundle) -> Vec<RelativePath> {
        let is_told = |path: &RelativePath| {
            let ledger = &self.ledger;
            ledger.files.contains_key(path) || ledger.intended.contains_key(path) || self.strays.contains_key(path)
        };
        let paths = goal.files.iter().map(|file| &file.path).filter(|path| !is_told(path));
        paths.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// What stands below the root where everything is as the ledger has it.
fn expected(ledger: &Ledger) -> BTreeMap<RelativePath, OnDisk> {
    let mut disk = BTreeMap::new();
    let folders = ledger.folders.iter().chain(&ledger.directories);
    for folder in folders.clone() {
        disk.insert(folder.clone(), OnDisk::Folder);
    }
    for path in folders.chain(ledger.files.keys()) {
        for folder in std::iter::successors(path.parent(), RelativePath::parent) {
            disk.insert(folder, OnDisk::Folder);
        }
    }
    for (path, record) in &ledger.files {
        let (owner, mode) = (record.owner, record.mode.bits());
        disk.insert(path.clone(), OnDisk::File { digest: Some(record.digest), owner, mode });
    }
    for path in ledger.intended.keys() {
        disk.entry(path.clone()).or_insert(OnDisk::Nothing);
    }
    disk
}

/// What is seen at a path of which only those above it are known.
fn on_the_way(path: &RelativePath, known: &BTreeMap<RelativePath, OnDisk>) -> OnDisk {
    let mut above = std::iter::successors(path.parent(), RelativePath::parent);
    match above.find_map(|folder| known.get_key_value(&folder)) {
        Some((_, OnDisk::Obstacle(obstacle))) => OnDisk::Obstacle(obstacle.clone()),
        Some((at, OnDisk::File { .. })) => OnDisk::Obstacle(Obstacle { at: at.clone(), what: "a file".into() }),
        Some((_, OnDisk::Nothing | OnDisk::Folder)) | None => OnDisk::Nothing,
    }
}
