//! What a follower remembers through a crash. It holds digests and no content.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, OnChange, VerifiedBundle};
use pconf_names::{Digest, Mode, Owner, RelativePath, RevisionId};
use serde::{Deserialize, Serialize};

use crate::actions::{Action, What};
use crate::causes::{Before, causes};
use crate::debt::{Debt, DebtState, Made, Was};
use crate::definitions::Definitions;
use crate::fingerprint::fingerprint;
use crate::manner::Manner;
use crate::mounts::Loose;
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
    /// Who may show an older form of a file that it mounts by itself, by the container's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loose: BTreeMap<String, Loose>,
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
    /// The revision whose files it read; `None` where nobody knows.
    pub revision: Option<RevisionId>,
    /// Whether its operator had stopped it then.
    pub is_stopped: bool,
    /// Its last start then, as the engine writes it.
    #[serde(default)]
    pub started: String,
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
        for path in &plan.made {
            self.files.extend(self.intended.remove_entry(path));
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
        for (name, loose) in &plan.loose {
            match self.loose.get_mut(name).filter(|known| known.started == loose.started) {
                Some(known) => known.files.extend(loose.files.iter().cloned()),
                None => drop(self.loose.insert(name.clone(), loose.clone())),
            }
        }
    }

    /// Whether a container may have been started while files were written, before the writing was cut off.
    pub(crate) fn is_late(&self, container: &Container) -> bool {
        let known = self.services.get(&container.name);
        self.phase == Phase::Writing && known.is_none_or(|known| known.started != container.started)
    }

    /// Whether a container may show an older form of a file that it mounts by itself.
    pub(crate) fn is_loose(&self, container: &Container, path: &RelativePath) -> bool {
        let loose = self.loose.get(&container.name).filter(|loose| loose.is_of(container));
        loose.is_some_and(|loose| loose.files.contains(path))
    }

    /// After the last file: `containers` are those of now. Every reader of a file that changed is owed its action, one that
    /// was not there before the first file too; one that runs as it did then and whose files are as they were is not.
    pub fn written(&mut self, goal: &Bundle, containers: &[Container]) {
        let definitions = Definitions::of(goal, containers);
        for container in containers {
            let manner = Manner::of(container, &goal.services);
            let before = Before {
                changes: &self.changing,
                definitions: &self.definitions,
                is_late: false,
                is_loose: |path: &RelativePath| self.is_loose(container, path),
            };
            let causes = causes(goal, &definitions, &before, (container, &manner));
            if causes.is_empty() {
                continue;
            }
            let debt = self.owed.entry(container.name.clone()).or_insert_with(|| Debt::new(BTreeMap::new(), None));
            for (path, change) in causes {
                debt.files.entry(path).or_insert(change);
            }
        }
        self.owed.retain(|name, debt| {
            let container = containers.iter().find(|container| container.name == *name);
            if container.is_some_and(|container| debt.stands_still_by_us(container)) {
                return true;
            }
            debt.files = debt.remaining(goal, container);
            !debt.is_nothing()
        });
        self.changing.clear();
        self.phase = Phase::Written;
        self.files = records(goal).collect();
        self.intended.clear();
        self.directories = directories(goal).collect();
        // A folder that is no longer needed was removed, or holds what is not ours.
        self.folders.retain(|folder| goal.files.iter().any(|file| file.path.is_within(folder)));
        self.definitions = definitions.digests();
        self.still_up(containers);
    }

    /// A container's start that was seen after the last write does not pay its debt; any later one does.
    fn still_up(&mut self, containers: &[Container]) {
        for container in containers {
            if let Some(debt) = self.owed.get_mut(&container.name)
                && debt.state == DebtState::Open
            {
                debt.state = DebtState::Since { id: container.id.clone(), started: container.started.clone() };
            }
        }
    }

    /// Before these actions are carried out, for what can be seen of them after a crash is not enough: a signal leaves no
    /// trace, and a container that stands still may have been stopped by its operator.
    pub fn begin(&mut self, actions: &[Action]) {
        for action in actions {
            if let What::Recreate { service, .. } = &action.what {
                self.rename(action);
                for debt in self.owed.values_mut() {
                    let due = debt.awaits.extract_if(.., |name| *name == *service || *name == action.name);
                    debt.upstreams.extend(due);
                }
            }
            let Some(debt) = self.owed.get_mut(&action.name) else { continue };
            match &action.what {
                What::Signal(_) | What::Exec(_) => debt.before = None,
                // What stands still already was stopped by somebody.
                What::Restart | What::Start | What::Recreate { .. } | What::Remove => {
                    debt.begun = action.started.clone().or(debt.begun.take());
                }
                What::Verify => {}
            }
        }
    }

    /// A service that had no container when its debt was made has its container's name from then on.
    fn rename(&mut self, action: &Action) {
        let made = Made::by(&action.what);
        let same = self.owed.iter().find(|(_, debt)| debt.made.is_some() && debt.made == made);
        let known = same.map(|(name, _)| name.clone()).filter(|_| !self.owed.contains_key(&action.name));
        if let Some(debt) = known.and_then(|name| self.owed.remove(&name)) {
            self.owed.insert(action.name.clone(), debt);
        }
    }

    /// An action that ended well, or a container that is no more.
    pub fn paid(&mut self, name: &str) {
        self.owed.remove(name);
        // This is what it runs, wherever the machine goes from here.
        if let (Some(attempt), Some(taken)) = (&self.attempt, self.services.get_mut(name)) {
            taken.revision = Some(attempt.revision);
        }
    }

    /// After compose was asked: where it found nothing to change, what has to be read by a start is still owed.
    pub fn made(&mut self, action: &Action, id: &str, started: &str) {
        let is_as_before = action.id.as_deref() == Some(id) && action.started.as_deref() == Some(started);
        match self.owed.get_mut(&action.name).filter(|_| is_as_before && action.must_start) {
            Some(debt) => {
                debt.made = None;
                for change in debt.files.values_mut().filter(|change| change.how == OnChange::Recreate) {
                    change.how = OnChange::Restart;
                }
            }
            None => self.paid(&action.name),
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
        let is_here = |name: &String| containers.iter().any(|container| container.name == *name);
        self.owed.retain(|name, _| is_here(name));
        let is_loose = |name: &String, loose: &Loose| {
            containers.iter().any(|container| container.name == *name && loose.is_of(container))
        };
        self.loose.retain(|name, loose| is_loose(name, loose));
        let Some(revision) = self.running() else { return };
        let before = std::mem::take(&mut self.services);
        for container in
            containers.iter().filter(|container| self.files.keys().any(|path| container.reads_or_is_made_from(path)))
        {
            let revision = match self.owed.get(&container.name) {
                // It has not taken the new files.
                Some(_) => before.get(&container.name).and_then(|known| known.revision),
                None => Some(revision),
            };
            let is_stopped = container.state == ContainerState::Stopped;
            let started = container.started.clone();
            self.services.insert(container.name.clone(), Taken { revision, is_stopped, started });
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
