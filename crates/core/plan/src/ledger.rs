//! What a follower remembers through a crash. It holds digests and no content.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, OnChange, VerifiedBundle};
use pconf_names::{Digest, Mode, Owner, RelativePath, RevisionId};
use serde::{Deserialize, Serialize};

use crate::debt::{Change, Debt, DebtState, Was};
use crate::definitions::definitions;
use crate::fingerprint::fingerprint;
use crate::manner::Manner;
use crate::observed::{Container, ContainerState};
use crate::plan::{Plan, Step};

/// The follower's memory; written whole before and after everything that it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The last revision that ran wholly and was seen to be well.
    pub applied: Option<Attempt>,
    /// The one that did so before it.
    #[serde(default)]
    pub previous: Option<Attempt>,
    /// A revision that was begun and is not finished.
    pub attempt: Option<Attempt>,
    /// Why it was begun.
    #[serde(default)]
    pub purpose: Purpose,
    /// How far it is.
    pub phase: Phase,
    /// The revision that this machine does not take again by itself.
    #[serde(default)]
    pub quarantined: Option<Quarantined>,
    /// The operator's wish that nothing is touched.
    #[serde(default)]
    pub suspended: Option<Suspended>,
    /// The files that are ours, and as what we wrote them last.
    pub files: BTreeMap<RelativePath, Record>,
    /// Files of the unfinished revision that were not ours before: ours if they hold what we meant to write.
    pub intended: BTreeMap<RelativePath, Record>,
    /// Files that an unfinished writing has changed or removed, or was about to, with what stood there before: whoever
    /// starts meanwhile may have read either form of them.
    #[serde(default)]
    pub changing: BTreeMap<RelativePath, Was>,
    /// Folders that we made on the way to files; removed when they are empty and no longer needed.
    pub folders: BTreeSet<RelativePath>,
    /// Folders of data and logs that the set names. They are never removed.
    #[serde(default)]
    pub directories: BTreeSet<RelativePath>,
    /// What is owed, by the container's name.
    pub owed: BTreeMap<String, Debt>,
    /// How compose was last told to make its services, by `file#service`.
    #[serde(default)]
    pub definitions: BTreeMap<String, Digest>,
    /// What each service runs, by the container's name.
    #[serde(default)]
    pub services: BTreeMap<String, Taken>,
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

/// Why a revision was begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The leader wants it.
    #[default]
    Goal,
    /// The machine goes back to it.
    Return,
}

/// A revision that is not taken again by itself, only by `retry` or when a newer one comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// Which.
    pub revision: Attempt,
    /// What it broke, or who did not want it.
    pub reason: String,
}

/// The operator's wish that nothing is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspended {
    /// Why.
    pub reason: String,
    /// Since when (RFC 3339).
    pub since: String,
}

/// What a service was last seen to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The revision whose files it read.
    pub revision: RevisionId,
    /// Whether its operator had stopped it then.
    pub is_stopped: bool,
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
    /// All files are of the new revision; actions may be owed.
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

impl Attempt {
    /// The revision of a bundle.
    #[must_use]
    pub fn of(bundle: &VerifiedBundle) -> Self {
        Self { revision: bundle.revision, fingerprint: fingerprint(bundle), tag: bundle.tag().to_string() }
    }
}

impl Ledger {
    /// The tag of the revision whose repetition tells nothing new; none while something is unfinished.
    #[must_use]
    pub fn settled_tag(&self) -> Option<&str> {
        if self.attempt.is_some() {
            return None;
        }
        let refused = self.quarantined.as_ref().map(|quarantined| &quarantined.revision);
        refused.or(self.applied.as_ref()).map(|known| known.tag.as_str())
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
    pub fn intend(&mut self, goal: &VerifiedBundle, purpose: Purpose, plan: &Plan) {
        self.attempt = Some(Attempt::of(goal));
        self.purpose = purpose;
        self.phase = Phase::Writing;
        for (path, was) in &plan.changes {
            self.changing.insert(path.clone(), *was);
        }
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
        self.owed.clone_from(&plan.debts);
    }

    /// After the last file: `containers` are those of now. Every reader of a file that changed is owed its action, one that
    /// was not there before the first file too; one that runs as it did then and whose files are as they were is not.
    pub fn written(&mut self, goal: &Bundle, containers: &[Container]) {
        for container in containers {
            let manner = Manner::of(container, &goal.services);
            let files = self.changing.iter().filter(|(path, _)| container.can_read(path));
            let files = files.map(|(path, was)| (path.clone(), Change { was: *was, how: manner.takes(goal, path) }));
            let files: BTreeMap<_, _> = files.filter(|(_, change)| change.how != OnChange::None).collect();
            if files.is_empty() {
                continue;
            }
            let debt = self.owed.entry(container.name.clone()).or_insert_with(|| Debt::new(BTreeMap::new(), None));
            for (path, change) in files {
                debt.files.entry(path).or_insert(change);
            }
        }
        self.owed.retain(|name, debt| {
            let container = containers.iter().find(|container| container.name == *name);
            debt.files = debt.remaining(goal, container);
            !debt.files.is_empty() || !debt.upstreams.is_empty()
        });
        self.changing.clear();
        self.phase = Phase::Written;
        self.files = records(goal).collect();
        self.intended.clear();
        self.directories = directories(goal).collect();
        // A folder that is no longer needed was removed, or holds what is not ours.
        self.folders.retain(|folder| goal.files.iter().any(|file| file.path.is_within(folder)));
        self.definitions = definitions(goal, containers);
        self.still_up(containers);
    }

    /// A container's start that was seen after the last write does not pay its debt; any later one does.
    pub fn still_up<'a>(&mut self, containers: impl IntoIterator<Item = &'a Container>) {
        for container in containers {
            if let Some(debt) = self.owed.get_mut(&container.name)
                && debt.state == DebtState::Open
            {
                debt.state = DebtState::Since { id: container.id.clone(), started: container.started.clone() };
            }
        }
    }

    /// An action that ended well, or a container that is no more.
    pub fn paid(&mut self, name: &str) {
        self.owed.remove(name);
    }

    /// Compose found nothing to change in a container that is still this one: what a start pays is still owed.
    pub fn left_as_it_was(&mut self, name: &str, id: &str, started: &str) {
        let Some(debt) = self.owed.get_mut(name) else { return };
        let is_the_same = match &debt.state {
            DebtState::Since { id: known, started: since } => known == id && since == started,
            DebtState::Open | DebtState::Failed { .. } => false,
        };
        debt.files.retain(|_, change| is_the_same && change.how != OnChange::Recreate);
        if debt.files.is_empty() {
            self.owed.remove(name);
        }
    }

    /// An action that did not end well.
    pub fn failed(&mut self, name: &str, reason: &str) {
        if let Some(debt) = self.owed.get_mut(name) {
            debt.state = DebtState::Failed { reason: reason.to_owned() };
        }
    }

    /// After the last action: the revision runs, on these containers. One that its operator stopped may still be owed.
    pub fn finish(&mut self, containers: &[Container]) {
        if let Some(attempt) = self.attempt.take() {
            match self.purpose {
                Purpose::Goal => {
                    // What is as new, or newer, was asked for.
                    self.quarantined =
                        self.quarantined.take().filter(|known| known.revision.revision > attempt.revision);
                    if self.applied.as_ref().is_none_or(|applied| applied.revision != attempt.revision) {
                        self.previous = self.applied.take();
                    }
                }
                Purpose::Return => {
                    if self.previous.as_ref().is_some_and(|previous| previous.revision == attempt.revision) {
                        self.previous = None;
                    }
                }
            }
            self.applied = Some(attempt);
        }
        self.purpose = Purpose::Goal;
        self.phase = Phase::Settled;
        let Some(revision) = self.running() else { return };
        let before = std::mem::take(&mut self.services);
        for container in
            containers.iter().filter(|container| self.files.keys().any(|path| container.reads_or_is_made_from(path)))
        {
            let known = before.get(&container.name);
            let revision = match self.owed.get(&container.name) {
                // It has not taken the new files.
                Some(_) => known.map_or(revision, |known| known.revision),
                None => revision,
            };
            let is_stopped = container.state == ContainerState::Stopped;
            self.services.insert(container.name.clone(), Taken { revision, is_stopped });
        }
    }

    /// Does not take `revision` again by itself.
    pub fn quarantine(&mut self, revision: Attempt, reason: String) {
        self.quarantined = Some(Quarantined { revision, reason });
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
