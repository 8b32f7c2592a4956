//! What a follower remembers through a crash. It holds digests and no content.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, VerifiedBundle};
use pconf_names::{Digest, Mode, Owner, RelativePath, RevisionId};
use serde::{Deserialize, Serialize};

use crate::fingerprint::fingerprint;
use crate::observed::{Container, OnDisk};
use crate::plan::{Plan, Step};
use crate::restarts::is_paid;

/// The follower's memory; written whole before and after everything that it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The last revision that was taken wholly.
    pub applied: Option<Attempt>,
    /// A revision that was begun and is not finished.
    pub attempt: Option<Attempt>,
    /// How far the unfinished one is.
    pub phase: Phase,
    /// The files that are ours, and as what we wrote them last.
    pub files: BTreeMap<RelativePath, Record>,
    /// Files of the unfinished revision that were not ours before: ours if they hold what we meant to write.
    pub intended: BTreeMap<RelativePath, Record>,
    /// Files that an unfinished writing has changed or removed, or was about to: whoever starts meanwhile may have read
    /// either form of them.
    #[serde(default)]
    pub changing: BTreeSet<RelativePath>,
    /// Folders that we made on the way to files; removed when they are empty and no longer needed.
    pub folders: BTreeSet<RelativePath>,
    /// Folders of data and logs that the set names. They are never removed.
    #[serde(default)]
    pub directories: BTreeSet<RelativePath>,
    /// Restarts that are owed, by the container's name.
    pub owed: BTreeMap<String, Debt>,
}

/// One revision with what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Its number.
    pub revision: RevisionId,
    /// What it says; see [`fingerprint`].
    pub fingerprint: Digest,
    /// The leader's name for it, which it takes back as `If-None-Match`.
    pub tag: String,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// No file of it is on its way.
    #[default]
    Settled,
    /// Files may be of the old or of the new revision.
    Writing,
    /// All files are of the new revision; restarts may be owed.
    Written,
}

/// A file as we wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// Who owns it.
    pub owner: Owner,
    /// Permission bits.
    pub mode: Mode,
}

/// A restart that a container has to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debt {
    /// The changed files that it reads.
    pub files: BTreeSet<RelativePath>,
    /// What is known about paying it.
    pub state: DebtState,
}

/// What is known about paying a debt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase", deny_unknown_fields)]
pub enum DebtState {
    /// Files may still have changed after any start that was seen: only a restart pays it.
    Open,
    /// After the last write the container was still the one started at this moment: any other start pays it.
    Since {
        /// As the engine writes it.
        started: String,
    },
    /// It was restarted and did not stay up: only a restart that holds pays it, even from standstill.
    Failed {
        /// What was seen, e.g. `exited with code 1`.
        reason: String,
    },
}

impl Ledger {
    /// The tag of the revision whose repetition tells nothing new: the applied one, if nothing is unfinished.
    #[must_use]
    pub fn settled_tag(&self) -> Option<&str> {
        match self.attempt {
            Some(_) => None,
            None => self.applied.as_ref().map(|applied| applied.tag.as_str()),
        }
    }

    /// The last revision that ran wholly.
    #[must_use]
    pub fn running(&self) -> Option<RevisionId> {
        self.applied.as_ref().map(|applied| applied.revision)
    }

    /// The revision whose files are all on disk.
    #[must_use]
    pub fn on_disk(&self) -> Option<RevisionId> {
        match self.phase {
            Phase::Settled => self.running(),
            Phase::Writing => None,
            Phase::Written => self.attempt.as_ref().map(|attempt| attempt.revision),
        }
    }

    /// Before the first step: what will be ours and what will be owed.
    pub fn intend(&mut self, goal: &VerifiedBundle, plan: &Plan) {
        let tag = goal.tag().to_string();
        self.attempt = Some(Attempt { revision: goal.revision, fingerprint: fingerprint(goal), tag });
        self.phase = Phase::Writing;
        self.changing.extend(plan.written().chain(plan.removed()).cloned());
        for (path, record) in records(goal) {
            if !self.files.contains_key(&path) {
                self.intended.insert(path, record);
            }
        }
        self.directories.extend(directories(goal));
        for step in &plan.steps {
            if let Step::MakeFolder { path, keep: false, .. } = step {
                self.folders.insert(path.clone());
            }
        }
        let known = std::mem::take(&mut self.owed);
        for (name, files) in plan.debts() {
            let state = match known.get(name).map(|debt| &debt.state) {
                Some(failed @ DebtState::Failed { .. }) => failed.clone(),
                Some(DebtState::Open | DebtState::Since { .. }) | None => DebtState::Open,
            };
            self.owed.insert(name.clone(), Debt { files: files.clone(), state });
        }
    }

    /// After the last file: `containers` are those of now. Every reader of a file that changed is owed a restart, one that
    /// was not there before the first file too.
    pub fn written(&mut self, goal: &Bundle, containers: &[Container]) {
        for container in containers {
            let files: BTreeSet<_> = self.changing.iter().filter(|path| container.can_read(path)).cloned().collect();
            if !files.is_empty() {
                let open = Debt { files: BTreeSet::new(), state: DebtState::Open };
                self.owed.entry(container.name.clone()).or_insert(open).files.extend(files);
            }
        }
        self.changing.clear();
        self.phase = Phase::Written;
        self.files = records(goal).collect();
        self.intended.clear();
        self.directories = directories(goal).collect();
        // A folder that is no longer needed was removed, or holds what is not ours.
        self.folders.retain(|folder| goal.files.iter().any(|file| file.path.is_within(folder)));
        self.still_up(containers);
    }

    /// A container's start that was seen after the last write does not pay its debt; any later one does.
    pub fn still_up<'a>(&mut self, containers: impl IntoIterator<Item = &'a Container>) {
        for container in containers {
            if let Some(debt) = self.owed.get_mut(&container.name)
                && debt.state == DebtState::Open
            {
                debt.state = DebtState::Since { started: container.started.clone() };
            }
        }
    }

    /// A restart that held, or a container that is no more.
    pub fn paid(&mut self, name: &str) {
        self.owed.remove(name);
    }

    /// A restart that did not hold.
    pub fn failed(&mut self, name: &str, reason: &str) {
        if let Some(debt) = self.owed.get_mut(name) {
            debt.state = DebtState::Failed { reason: reason.to_owned() };
        }
    }

    /// Forgets what containers that are gone, or were started since, were owed.
    pub fn settle(&mut self, containers: &[Container]) {
        self.owed.retain(|name, debt| {
            containers.iter().any(|container| container.name == *name && !is_paid(debt, container))
        });
    }

    /// Whether a file that is ours is no longer as we wrote it, or a folder of data is missing; `disk` tells what stands at
    /// the paths of `files` and `directories`.
    #[must_use]
    pub fn has_drifted(&self, disk: &BTreeMap<RelativePath, OnDisk>) -> bool {
        let is_missing = |path| matches!(disk.get(path), None | Some(OnDisk::Nothing));
        self.directories.iter().any(is_missing)
            || self.files.iter().any(|(path, record)| {
                let (digest, owner, mode) = (Some(record.digest), record.owner, record.mode.bits());
                disk.get(path) != Some(&OnDisk::File { digest, owner, mode })
            })
    }

    /// After the last restart: the revision runs. A container that its operator stopped may still be owed.
    pub fn finish(&mut self) {
        self.applied = self.attempt.take().or_else(|| self.applied.take());
        self.phase = Phase::Settled;
    }
}

fn directories(goal: &Bundle) -> impl Iterator<Item = RelativePath> {
    goal.directories.iter().map(|directory| directory.path.clone())
}

fn records(goal: &Bundle) -> impl Iterator<Item = (RelativePath, Record)> {
    goal.files.iter().map(|file| {
        let size = file.content.as_bytes().len() as u64;
        (file.path.clone(), Record { digest: file.content.digest(), size, owner: file.owner, mode: file.mode })
    })
}
