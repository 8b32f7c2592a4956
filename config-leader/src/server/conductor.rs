//! The one that leads a revision through the fleet: it keeps the rollout on disk, and asks the core what comes next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use pconf_daemon::{Chain, from_state, to_state};
use pconf_files::StateFolder;
use pconf_names::{Digest, MachineName, RevisionId};
use pconf_platform::Policy;
use pconf_publish::{Begin, Course, MadeOf, Phase, Publication, Rollout, Stage, give_back};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::folder::Folder;
use crate::publication;
use crate::server::current::{Published, Served};
use crate::server::status::StatusBoard;
use crate::server::steady::Steady;

const STATE: &str = "rollout.json";

pub(crate) struct Conductor {
    folder: Folder,
    state: Arc<StateFolder>,
    board: Arc<StatusBoard>,
    time: Steady,
    kept: Kept,
    /// What machines are told that are not told the newest revision, or may have to go back to.
    older: BTreeMap<RevisionId, Arc<Published>>,
    look_again_at: Option<u64>,
}

/// The form on disk.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    rollout: Option<Rollout>,
    rejected: Option<Rejected>,
}

/// What the fleet went back from. The same again is published at the admin's word only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rejected {
    pub(crate) revision: RevisionId,
    pub(crate) digest: Digest,
    pub(crate) reason: String,
}

/// How a new revision is to go out, where that is not by the policy alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    pub(crate) only: Option<BTreeSet<MachineName>>,
    /// In seconds from now.
    pub(crate) confirm_within: Option<u64>,
}

impl Conductor {
    /// As the last life of this leader left it; `newest` is what was published last.
    pub(crate) fn open(
        folder: Folder,
        state: Arc<StateFolder>,
        board: Arc<StatusBoard>,
        time: Steady,
        newest: Option<RevisionId>,
    ) -> anyhow::Result<Self> {
        let kept = match state.read(STATE)? {
            None => Kept::default(),
            Some(bytes) => from_state::<Kept>(&bytes).with_context(|| {
                let file = state.file(STATE).display().to_string();
                format!("`{file}` cannot be used: remove it, and every machine is told the newest revision at once")
            })?,
        };
        let mut conductor = Self { folder, state, board, time, kept, older: BTreeMap::new(), look_again_at: None };
        if let Some(rollout) = &mut conductor.kept.rollout
            && newest.is_none_or(|newest| rollout.goal > newest)
        {
            // Killed before its revision was on disk: nobody was told of it.
            rollout.machines.values_mut().for_each(|turn| turn.stage = Stage::Waiting);
        }
        conductor.load_older(newest)?;
        Ok(conductor)
    }

    fn load_older(&mut self, newest: Option<RevisionId>) -> anyhow::Result<()> {
        let wanted = self.kept.rollout.as_ref().map(Rollout::older).unwrap_or_default();
        for revision in wanted.into_iter().filter(|revision| Some(*revision) != newest) {
            let Some(publication) = publication::read_at(&self.folder, revision)? else {
                warn!(%revision, "is gone from the disk: machines that are held at it wait for the next one");
                continue;
            };
            self.older.insert(revision, Arc::new(Published::from(publication)));
        }
        Ok(())
    }

    pub(crate) fn rollout(&self) -> Option<&Rollout> {
        self.kept.rollout.as_ref()
    }

    pub(crate) fn rejected(&self) -> Option<&Rejected> {
        self.kept.rejected.as_ref()
    }

    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    /// Whether something may happen when machines speak.
    pub(crate) fn listens(&self) -> bool {
        self.rollout().is_some_and(|rollout| rollout.phase != Phase::Over)
    }

    /// Whether what a machine says may be what another one waits for.
    pub(crate) fn somebody_waits(&self) -> bool {
        self.rollout().is_some_and(|rollout| !rollout.policy.waits_for_nobody())
    }

    /// How long until time alone changes something.
    pub(crate) fn look_again_in(&self) -> Option<u64> {
        Some(self.look_again_at?.saturating_sub(self.now()).max(1))
    }

    /// Whether nothing more happens by itself.
    pub(crate) fn rests(&self) -> bool {
        self.rollout().is_none_or(|rollout| self.board.sees_rest(rollout))
    }

    /// The rollout with which `goal` would begin.
    pub(crate) fn plan(
        &self,
        goal: &Publication,
        newest: Option<&Arc<Published>>,
        course: Course,
        policy: Policy,
        terms: Terms,
    ) -> Rollout {
        let now = self.now();
        let confirm_by = terms.confirm_within.map(|seconds| now + seconds);
        let held = |revision: RevisionId, machine: &MachineName| {
            let newest = newest.filter(|newest| newest.revision == revision);
            Some(newest.or_else(|| self.older.get(&revision))?.machines.get(machine)?.bundle())
        };
        let before = newest.map(|newest| newest.revision);
        let begin = Begin { course, policy, only: terms.only, confirm_by, now };
        Rollout::begin(goal, self.rollout(), before, held, begin)
    }

    /// Takes the first steps of a rollout and makes it and its goal durable, before anybody is told.
    pub(crate) fn begin(
        &mut self,
        mut rollout: Rollout,
        goal: Publication,
        newest: Option<&Arc<Published>>,
        rejected: Option<Rejected>,
    ) -> anyhow::Result<Arc<Published>> {
        let now = self.now();
        let progress = rollout.advance(&self.board.words(), now);
        let is_followed = rollout.phase != Phase::Over;
        // From here on no report that was answered may be lost.
        self.board.decide_by_rollout(is_followed);
        let wanted = rollout.older();
        tell(None, &rollout);
        self.keep(Kept { rollout: Some(rollout), rejected })?;
        publication::keep(&self.folder, &goal)?;
        if let Some(newest) = newest.filter(|newest| wanted.contains(&newest.revision)) {
            self.older.insert(newest.revision, Arc::clone(newest));
        }
        self.look_again_at = progress.look_again_at;
        self.let_go();
        self.sweep(goal.revision);
        Ok(Arc::new(Published::from(goal)))
    }

    /// Goes on as far as the machines and the time allow. What is to be published instead, where everybody has to go back.
    pub(crate) fn go_on(&mut self, newest: &Arc<Published>) -> anyhow::Result<Option<Publication>> {
        let Some(rollout) = self.rollout().filter(|rollout| rollout.goal == newest.revision) else { return Ok(None) };
        let (mut rollout, now) = (rollout.clone(), self.now());
        let progress = rollout.advance(&self.board.words(), now);
        self.look_again_at = progress.look_again_at;
        if progress.has_changed {
            tell(self.rollout(), &rollout);
            self.keep(Kept { rollout: Some(rollout), ..self.kept.clone() })?;
        }
        if let Some(reason) = progress.goes_back {
            return self.give_back(newest, &reason).map(Some);
        }
        if self.let_go() {
            self.sweep(newest.revision);
        }
        Ok(None)
    }

    /// What an admin said to the rollout.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Rollout) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut rollout = self.rollout().cloned().context("nothing was rolled out yet")?;
        change(&mut rollout)?;
        self.keep(Kept { rollout: Some(rollout), ..self.kept.clone() })
    }

    /// What was before the present goal, as a revision of its own.
    pub(crate) fn give_back(&self, newest: &Arc<Published>, reason: &str) -> anyhow::Result<Publication> {
        let rollout = self.rollout().context("nothing was rolled out yet")?;
        error!(revision = %rollout.goal, reason, "the fleet goes back");
        let goal = newest.to_publication();
        Ok(give_back(&goal, |machine| {
            let revision = rollout.machines.get(machine)?.returns_to()?;
            Some(self.older.get(&revision)?.machines.get(machine)?.bundle())
        }))
    }

    /// What the revision was made of that machines go back to; the newest one, where they go back to several.
    pub(crate) fn origin(&self) -> Option<&MadeOf> {
        self.older.values().next_back()?.made_of.as_ref()
    }

    /// Lets go of what no machine is told any more; whether there was something.
    fn let_go(&mut self) -> bool {
        let (known, wanted) = (self.older.len(), self.rollout().map(Rollout::older).unwrap_or_default());
        self.older.retain(|revision, _| wanted.contains(revision));
        self.board.decide_by_rollout(self.listens());
        self.older.len() < known
    }

    /// Removes from the disk what no machine is told any more.
    fn sweep(&self, newest: RevisionId) {
        let is_wanted = |revision: RevisionId| revision >= newest || self.older.contains_key(&revision);
        if let Err(error) = publication::forget(&self.folder, is_wanted) {
            warn!(error = %Chain(error.as_ref()), "old revisions stay on the disk for now");
        }
    }

    fn keep(&mut self, kept: Kept) -> anyhow::Result<()> {
        let bytes = to_state(&kept).context("cannot write the rollout as JSON")?;
        self.state.write(STATE, &bytes)?;
        self.kept = kept;
        Ok(())
    }

    /// What every machine of the newest revision is told.
    pub(crate) fn served(&self, newest: &Arc<Published>) -> BTreeMap<MachineName, Arc<Served>> {
        let told = |name: &MachineName| {
            let told = self.rollout().and_then(|rollout| rollout.told(name)).unwrap_or(newest.revision);
            let published = if told == newest.revision { newest } else { self.older.get(&told)? };
            published.machines.get(name)
        };
        newest.machines.keys().filter_map(|name| Some((name.clone(), Arc::clone(told(name)?)))).collect()
    }
}

/// The rollout as it is on the disk.
pub(crate) fn kept_rollout(folder: &Folder) -> anyhow::Result<Option<Rollout>> {
    let file = folder.state().join(STATE);
    let Some(bytes) = pconf_files::read_state(&file)? else { return Ok(None) };
    let kept = from_state::<Kept>(&bytes).with_context(|| format!("`{}` cannot be used", file.display()))?;
    Ok(kept.rollout)
}

/// What a step of the rollout was, in the log.
fn tell(before: Option<&Rollout>, after: &Rollout) {
    for (name, turn) in &after.machines {
        let was = before.and_then(|before| before.machines.get(name)).map(|turn| &turn.stage);
        match (&turn.stage, was) {
            (stage, Some(was)) if stage == was => {}
            // Where nobody waits for anybody there is nothing to tell.
            (Stage::Offered { .. }, None) if after.policy.waits_for_nobody() => {}
            (Stage::Done, _) => info!(machine = %name, revision = %after.goal, "done"),
            (Stage::Failed { reason }, _) => warn!(machine = %name, revision = %after.goal, reason, "failed"),
            (Stage::Offered { fetched: false, .. }, _) => info!(machine = %name, revision = %after.goal, "its turn"),
            (Stage::Offered { .. } | Stage::Waiting, _) => {}
        }
    }
    if before.is_some_and(|before| before.phase != after.phase) {
        match &after.phase {
            Phase::Halted { reason } => error!(revision = %after.goal, reason, "the rollout halts"),
            Phase::Paused { reason } => info!(revision = %after.goal, reason, "the rollout pauses"),
            Phase::Going => info!(revision = %after.goal, "the rollout goes on"),
            Phase::Unconfirmed => info!(revision = %after.goal, "all machines are done; it waits to be confirmed"),
            Phase::Over => info!(revision = %after.goal, "every machine is done"),
        }
    }
}
