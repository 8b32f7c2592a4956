//! Goal, ledger and observed machine become a plan.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, File, VerifiedBundle};
use pconf_names::{Digest, Mode, Owner, RelativePath, RevisionId};
use serde::Serialize;

use crate::fingerprint::fingerprint;
use crate::ledger::{Ledger, Record};
use crate::observed::{Container, Observed, OnDisk};
use crate::refusal::{InTheWay, Obstacle, Refusal};
use crate::restarts::{Act, Left, Restart, act};

/// All that has to be done to bring the machine to its goal, in order: `steps` first, then `restarts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The goal.
    pub revision: RevisionId,
    /// File work, one step after the other.
    pub steps: Vec<Step>,
    /// Each at most once; they do not depend on each other. Sorted by name.
    pub restarts: Vec<Restart>,
    /// Containers that read a changed file and stay as they are, because their operator stopped them. Sorted by name.
    pub stopped: Vec<Left>,
    /// Containers that read files of the goal, none of which changes. Sorted.
    pub untouched: Vec<String>,
    /// Files that will be written and that no container can read. Sorted.
    pub read_by_nothing: Vec<RelativePath>,
}

/// One piece of file work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Step {
    /// Make a folder that is missing.
    MakeFolder {
        /// Where.
        path: RelativePath,
        /// Whose.
        owner: Owner,
        /// Permission bits; `None` for folders on the way, which are readable by all (0755).
        mode: Option<Mode>,
        /// Whether it stays for ever (data and logs), or goes with the last file in it.
        keep: bool,
    },
    /// Write a file with the goal's bytes, owner and mode.
    WriteFile {
        /// Where.
        path: RelativePath,
        /// Whether something was there before.
        replaces: bool,
    },
    /// Give a file whose bytes are right the goal's owner and mode.
    SetPermission {
        /// Where.
        path: RelativePath,
        /// Whose.
        owner: Owner,
        /// Permission bits.
        mode: Mode,
    },
    /// Remove a file that is ours and has left the set.
    RemoveFile {
        /// Where.
        path: RelativePath,
    },
    /// Remove a folder that we made, if nothing is left in it.
    RemoveFolder {
        /// Where.
        path: RelativePath,
    },
}

impl Plan {
    /// The plan of a machine that is at its goal and has no containers.
    #[must_use]
    pub fn nothing(revision: RevisionId) -> Self {
        Self {
            revision,
            steps: Vec::new(),
            restarts: Vec::new(),
            stopped: Vec::new(),
            untouched: Vec::new(),
            read_by_nothing: Vec::new(),
        }
    }

    /// Whether the machine is at its goal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.restarts.is_empty()
    }

    /// The files that will be written, sorted.
    pub fn written(&self) -> impl Iterator<Item = &RelativePath> {
        self.steps.iter().filter_map(|step| match step {
            Step::WriteFile { path, .. } => Some(path),
            Step::MakeFolder { .. }
            | Step::SetPermission { .. }
            | Step::RemoveFile { .. }
            | Step::RemoveFolder { .. } => None,
        })
    }

    /// The files that will be removed.
    pub fn removed(&self) -> impl Iterator<Item = &RelativePath> {
        self.steps.iter().filter_map(|step| match step {
            Step::RemoveFile { path } => Some(path),
            Step::MakeFolder { .. }
            | Step::SetPermission { .. }
            | Step::WriteFile { .. }
            | Step::RemoveFolder { .. } => None,
        })
    }

    /// What is owed once the first step is taken: by name, the changed files.
    pub(crate) fn debts(&self) -> impl Iterator<Item = (&String, &BTreeSet<RelativePath>)> {
        let restarts = self.restarts.iter().map(|restart| (&restart.name, &restart.files));
        restarts.chain(self.stopped.iter().map(|left| (&left.name, &left.files)))
    }
}

/// The paths that have to be looked at before [`plan`] can decide, with the sizes whose bytes are worth reading.
///
/// A file of any other size is known to hold something else without being read.
#[must_use]
pub fn places_to_look(goal: &Bundle, ledger: &Ledger) -> BTreeMap<RelativePath, BTreeSet<u64>> {
    let mut places: BTreeMap<RelativePath, BTreeSet<u64>> = BTreeMap::new();
    for file in &goal.files {
        places.entry(file.path.clone()).or_default().insert(file.content.as_bytes().len() as u64);
    }
    for (path, record) in ledger.files.iter().chain(&ledger.intended) {
        places.entry(path.clone()).or_default().insert(record.size);
    }
    for folder in needed_folders(goal).into_keys().chain(ledger.folders.iter().cloned()) {
        places.entry(folder).or_default();
    }
    places
}

/// What has to be done to bring the machine to `goal`; or why nothing will be done.
pub fn plan(goal: &VerifiedBundle, ledger: &Ledger, observed: &Observed) -> Result<Plan, Refusal> {
    check_history(goal, ledger)?;
    check_consistency(goal)?;
    let leaving = leaving(goal, ledger, observed);
    let in_the_way: Vec<InTheWay> = obstacles(goal, &leaving, observed);
    if !in_the_way.is_empty() {
        return Err(Refusal::Obstructed(in_the_way));
    }
    let steps = steps(goal, ledger, &leaving, observed);
    Ok(with_containers(goal, ledger, observed, steps))
}

/// A revision only grows, and one number has one content.
fn check_history(goal: &Bundle, ledger: &Ledger) -> Result<(), Refusal> {
    for known in ledger.applied.iter().chain(&ledger.attempt) {
        if goal.revision < known.revision {
            return Err(Refusal::Older { offered: goal.revision, known: known.revision });
        }
        if goal.revision == known.revision && fingerprint(goal) != known.fingerprint {
            return Err(Refusal::OtherContent(goal.revision));
        }
    }
    Ok(())
}

fn check_consistency(goal: &Bundle) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let all = goal.files.iter().map(|file| &file.path).chain(goal.directories.iter().map(|folder| &folder.path));
    for path in all {
        if !seen.insert(path) {
            return Err(Refusal::Contradiction(path.clone()));
        }
    }
    let folders = needed_folders(goal);
    match goal.files.iter().find(|file| folders.contains_key(&file.path)) {
        Some(file) => Err(Refusal::Contradiction(file.path.clone())),
        None => Ok(()),
    }
}

/// Owner and mode of a folder that has to exist; the mode is `None` for one that only leads somewhere.
#[derive(Debug, Clone, Copy)]
struct NeededFolder {
    owner: Owner,
    mode: Option<Mode>,
    /// Whether it leads to data that stays, or is data itself.
    keep: bool,
}

/// Every folder that the goal needs, parents before children.
fn needed_folders(goal: &Bundle) -> BTreeMap<RelativePath, NeededFolder> {
    let mut needed: BTreeMap<RelativePath, NeededFolder> = BTreeMap::new();
    for directory in &goal.directories {
        let own = NeededFolder { owner: directory.owner, mode: Some(directory.mode), keep: true };
        needed.insert(directory.path.clone(), own);
    }
    let leads = goal.directories.iter().map(|folder| (&folder.path, folder.owner, true));
    let leads = leads.chain(goal.files.iter().map(|file| (&file.path, file.owner, false)));
    for (path, owner, keep) in leads {
        for folder in std::iter::successors(path.parent(), RelativePath::parent) {
            needed.entry(folder).or_insert(NeededFolder { owner, mode: None, keep }).keep |= keep;
        }
    }
    needed
}

/// Our files on disk that are not in the goal.
fn leaving(goal: &Bundle, ledger: &Ledger, observed: &Observed) -> BTreeSet<RelativePath> {
    let staying: BTreeSet<&RelativePath> = goal.files.iter().map(|file| &file.path).collect();
    let is_ours = |path: &RelativePath, meant: Option<&Record>| match observed.disk.get(path) {
        // What was only intended is ours if it holds what we meant to write.
        Some(OnDisk::File { digest, .. }) => meant.is_none_or(|meant| *digest == Some(meant.digest)),
        _ => false,
    };
    let written = ledger.files.keys().map(|path| (path, None));
    let intended = ledger.intended.iter().map(|(path, record)| (path, Some(record)));
    written
        .chain(intended)
        .filter(|(path, meant)| !staying.contains(path) && is_ours(path, *meant))
        .map(|(path, _)| path.clone())
        .collect()
}

fn obstacles(goal: &Bundle, leaving: &BTreeSet<RelativePath>, observed: &Observed) -> Vec<InTheWay> {
    let mut found = Vec::new();
    for file in &goal.files {
        let obstacle = match observed.disk.get(&file.path) {
            Some(OnDisk::Folder) => Some(Obstacle { at: file.path.clone(), what: "a folder where a file has to be" }),
            Some(OnDisk::Obstacle(obstacle)) => Some(obstacle.clone()),
            Some(OnDisk::Nothing | OnDisk::File { .. }) | None => None,
        };
        found.extend(obstacle.map(|obstacle| InTheWay { wanted: file.path.clone(), obstacle }));
    }
    for directory in &goal.directories {
        let obstacle = match observed.disk.get(&directory.path) {
            Some(OnDisk::File { .. }) => {
                Some(Obstacle { at: directory.path.clone(), what: "a file where a folder has to be" })
            }
            // An operator may have put the data elsewhere: nothing is written through the link.
            Some(OnDisk::Obstacle(obstacle)) if obstacle.at != directory.path => Some(obstacle.clone()),
            _ => None,
        };
        found.extend(obstacle.map(|obstacle| InTheWay { wanted: directory.path.clone(), obstacle }));
    }
    found.retain(|each| !leaving.contains(&each.obstacle.at));
    found
}

fn steps(goal: &Bundle, ledger: &Ledger, leaving: &BTreeSet<RelativePath>, observed: &Observed) -> Vec<Step> {
    let folders = needed_folders(goal);
    // A file that becomes a folder has to go first; all others go when the new set is in place.
    let (first, last): (Vec<_>, Vec<_>) = leaving.iter().partition(|path| folders.contains_key(*path));
    let remove = |path: &RelativePath| Step::RemoveFile { path: path.clone() };
    let stands = |path: &RelativePath| match observed.disk.get(path) {
        Some(OnDisk::Nothing) | None => false,
        Some(OnDisk::Obstacle(obstacle)) => obstacle.at == *path,
        Some(OnDisk::File { .. } | OnDisk::Folder) => !leaving.contains(path),
    };
    let mut steps: Vec<Step> = first.into_iter().map(remove).collect();
    for (path, folder) in &folders {
        if !stands(path) {
            let NeededFolder { owner, mode, keep } = *folder;
            steps.push(Step::MakeFolder { path: path.clone(), owner, mode, keep });
        }
    }
    let mut files: Vec<&File> = goal.files.iter().collect();
    files.sort_unstable_by_key(|file| &file.path);
    steps.extend(files.into_iter().filter_map(|file| file_step(file, observed)));
    steps.extend(last.into_iter().map(remove));
    // Children before parents.
    let unneeded = ledger.folders.iter().rev().filter(|path| !folders.contains_key(*path));
    let unneeded = unneeded.filter(|path| observed.disk.get(*path) == Some(&OnDisk::Folder));
    steps.extend(unneeded.map(|path| Step::RemoveFolder { path: path.clone() }));
    steps
}

fn file_step(file: &File, observed: &Observed) -> Option<Step> {
    let wanted: Digest = file.content.digest();
    match observed.disk.get(&file.path) {
        Some(OnDisk::File { digest, owner, mode }) if *digest == Some(wanted) => {
            let right = *owner == file.owner && *mode == file.mode.bits();
            (!right).then(|| Step::SetPermission { path: file.path.clone(), owner: file.owner, mode: file.mode })
        }
        Some(OnDisk::File { .. }) => Some(Step::WriteFile { path: file.path.clone(), replaces: true }),
        _ => Some(Step::WriteFile { path: file.path.clone(), replaces: false }),
    }
}

fn with_containers(goal: &Bundle, ledger: &Ledger, observed: &Observed, steps: Vec<Step>) -> Plan {
    let mut plan = Plan { steps, ..Plan::nothing(goal.revision) };
    // Owner and mode are no content: whoever could read the file has read these bytes.
    let changed = plan.written().chain(plan.removed()).chain(&ledger.changing);
    let changed: BTreeSet<RelativePath> = changed.cloned().collect();
    let Some(containers) = &observed.containers else { return plan };
    let mut containers: Vec<&Container> = containers.iter().collect();
    containers.sort_unstable_by_key(|container| &container.name);
    for container in &containers {
        let causes = changed.iter().filter(|path| container.can_read(path)).cloned().collect();
        match act(container, causes, ledger.owed.get(&container.name)) {
            Act::Restart(restart) => plan.restarts.push(restart),
            Act::LeaveStopped(left) => plan.stopped.push(left),
            Act::Nothing => {
                if goal.files.iter().any(|file| container.can_read(&file.path)) {
                    plan.untouched.push(container.name.clone());
                }
            }
        }
    }
    let is_read = |path: &RelativePath| containers.iter().any(|container| container.can_read(path));
    plan.read_by_nothing = plan.written().filter(|path| !is_read(path)).cloned().collect();
    plan
}
