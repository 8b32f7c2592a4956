//! Goal, ledger and observed machine become a plan.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, File};
use pconf_names::{Digest, Mode, Owner, RelativePath, RevisionId};
use serde::Serialize;

use crate::actions::{Action, Left, Stop, Trial};
use crate::debt::{Debt, Was};
use crate::decide::decide;
use crate::ledger::{Ledger, Record};
use crate::mounts::Loose;
use crate::observed::{Container, Observed, OnDisk};
use crate::refusal::{InTheWay, Obstacle, Refusal};

/// All that has to be done to bring the machine to its goal, in order: `checks`, `stops`, `steps`, `actions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The goal.
    pub revision: RevisionId,
    /// What the applications have to say about the new files before anything is touched. Sorted by name.
    pub checks: Vec<Trial>,
    /// Containers that must not run while their files change, and are stopped before the first step. Sorted by name.
    pub stops: Vec<Stop>,
    /// File work, one step after the other.
    pub steps: Vec<Step>,
    /// At most one for each container, by rank and name. Those of one rank go side by side; the next rank waits until they
    /// are well.
    pub actions: Vec<Action>,
    /// Containers that read a changed file and stay as they are, because their operator stopped them. Sorted by name.
    pub stopped: Vec<Left>,
    /// Containers that read files of the goal and need nothing. Sorted.
    pub untouched: Vec<String>,
    /// Files that will be written and that no container can read. Sorted.
    pub read_by_nothing: Vec<RelativePath>,
    /// What the operator should know: labels that are not understood, orders that go in a circle.
    pub warnings: Vec<String>,
    /// The files that change, with what stood there before the first change.
    #[serde(skip)]
    pub changes: BTreeMap<RelativePath, Was>,
    /// What is owed once the first of all this is done.
    #[serde(skip)]
    pub debts: BTreeMap<String, Debt>,
    /// The containers that will show an older form of a file, by name.
    #[serde(skip)]
    pub loose: BTreeMap<String, Loose>,
    /// The files that an unfinished writing has made: they are ours from now on, whatever is meant to be written there next.
    #[serde(skip)]
    pub(crate) made: BTreeSet<RelativePath>,
    /// The files that are not as we left them: a single mount of one may show something else.
    #[serde(skip)]
    pub(crate) doubtful: BTreeSet<RelativePath>,
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
        /// Whether the file keeps its inode: a running container mounts it by itself and takes the change without a start.
        in_place: bool,
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
            checks: Vec::new(),
            stops: Vec::new(),
            steps: Vec::new(),
            actions: Vec::new(),
            stopped: Vec::new(),
            untouched: Vec::new(),
            read_by_nothing: Vec::new(),
            warnings: Vec::new(),
            changes: BTreeMap::new(),
            debts: BTreeMap::new(),
            loose: BTreeMap::new(),
            made: BTreeSet::new(),
            doubtful: BTreeSet::new(),
        }
    }

    /// Whether the machine is at its goal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.actions.is_empty()
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
pub fn plan(goal: &Bundle, ledger: &Ledger, observed: &Observed) -> Result<Plan, Refusal> {
    check_consistency(goal)?;
    let leaving = leaving(goal, ledger, observed);
    let in_the_way: Vec<InTheWay> = obstacles(goal, &leaving, observed);
    if !in_the_way.is_empty() {
        return Err(Refusal::Obstructed(in_the_way));
    }
    let mut plan = Plan { steps: steps(goal, ledger, &leaving, observed), ..Plan::nothing(goal.revision) };
    plan.changes = changes(goal, &plan, ledger, observed);
    let stands = |path: &RelativePath, record: &Record| Was::seen(observed.disk.get(path)) == Was::Bytes(record.digest);
    let made = ledger.intended.iter().filter(|(path, record)| stands(path, record));
    plan.made = made.map(|(path, _)| path.clone()).collect();
    plan.doubtful = doubtful(goal, ledger, observed);
    if let Some(containers) = &observed.containers {
        decide(goal, ledger, containers, &mut plan);
    }
    Ok(plan)
}

/// What is owed when all files of `goal` are in place; nothing else is looked at.
#[must_use]
pub fn plan_owed(goal: &Bundle, ledger: &Ledger, containers: &[Container]) -> Plan {
    let mut plan = Plan::nothing(goal.revision);
    decide(goal, ledger, containers, &mut plan);
    plan
}

/// The files that change now or have begun to, and those that somebody else has changed into what we want, with what stood
/// there before the first change. Owner and mode are no content: whoever could read the file has read these bytes.
fn changes(goal: &Bundle, plan: &Plan, ledger: &Ledger, observed: &Observed) -> BTreeMap<RelativePath, Was> {
    let is_other = |path: &RelativePath, record: &Record| Was::in_goal(goal, path) != Was::Bytes(record.digest);
    let others = ledger.files.iter().filter(|(path, record)| is_other(path, record)).map(|(path, _)| path);
    let was = |path: &RelativePath| match (ledger.files.get(path), Was::seen(observed.disk.get(path))) {
        // Whoever was started since we wrote it may have read one or the other.
        (Some(record), seen) if seen != Was::Bytes(record.digest) => Was::Unknown,
        (_, seen) => seen,
    };
    let now = plan.written().chain(plan.removed()).chain(others);
    let mut changes: BTreeMap<_, _> = now.map(|path| (path.clone(), was(path))).collect();
    changes.extend(ledger.changing.iter().map(|(path, was)| (path.clone(), *was)));
    changes
}

/// The files of the goal that are missing, or ours and not as we left them: what a mount of such a file shows is not known.
fn doubtful(goal: &Bundle, ledger: &Ledger, observed: &Observed) -> BTreeSet<RelativePath> {
    let is_doubtful = |path: &RelativePath| {
        let seen = Was::seen(observed.disk.get(path));
        let is_begun = ledger.changing.get(path).is_some_and(|was| seen == *was || seen == Was::in_goal(goal, path));
        let is_other = ledger.files.get(path).is_some_and(|record| seen != Was::Bytes(record.digest));
        seen == Was::Nothing || (is_other && !is_begun)
    };
    goal.files.iter().map(|file| &file.path).filter(|path| is_doubtful(path)).cloned().collect()
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
            Some(OnDisk::Folder) => {
                Some(Obstacle { at: file.path.clone(), what: "a folder where a file has to be".into() })
            }
            Some(OnDisk::Obstacle(obstacle)) => Some(obstacle.clone()),
            Some(OnDisk::Nothing | OnDisk::File { .. }) | None => None,
        };
        found.extend(obstacle.map(|obstacle| InTheWay { wanted: file.path.clone(), obstacle }));
    }
    for directory in &goal.directories {
        let obstacle = match observed.disk.get(&directory.path) {
            Some(OnDisk::File { .. }) => {
                Some(Obstacle { at: directory.path.clone(), what: "a file where a folder has to be".into() })
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
        Some(OnDisk::File { .. }) => Some(Step::WriteFile { path: file.path.clone(), replaces: true, in_place: false }),
        _ => Some(Step::WriteFile { path: file.path.clone(), replaces: false, in_place: false }),
    }
}
