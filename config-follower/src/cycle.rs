//! One cycle: pull, decide where to go, go there, tell. Boot, poll, notification and retry are all this.

use std::sync::Arc;
use std::time::Duration;

use pconf_bundle::{NextKey, Report, ServiceOutcome, Verdict, VerifiedBundle};
use pconf_containers::Containers;
use pconf_daemon::{Chain, Shutdown};
use pconf_names::RevisionId;
use pconf_plan::{Admission, Attempt, ContainerState, Limits, Purpose, Urgency, admit, guard, wait};
use pconf_wire::{Clock, TrustError};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::arrive::{End, Way};
use crate::config::{Config, DriftPolicy};
use crate::leader::{Goal, Leader, PullError, Pulled};
use crate::machine::{Machine, MachineError, states};
use crate::memory::{Memory, MemoryError};
use crate::metrics::{Counts, Position};
use crate::news::News;
use crate::store::{Store, StoreError};
use crate::telling::Telling;

/// The follower of one machine.
#[derive(Debug)]
pub struct Follower<C> {
    pub(crate) leader: Leader,
    pub(crate) machine: Machine<C>,
    pub(crate) memory: Memory,
    pub(crate) store: Store,
    drift: DriftPolicy,
    pub(crate) limits: Limits,
    /// Whether what an earlier cycle, or an earlier process, may have left half made was removed.
    pub(crate) is_clean: bool,
    failures: u32,
    pub(crate) telling: Telling,
    /// For how long the leader wants to be left alone.
    pub(crate) respite: Option<Duration>,
    /// The name of the last goal that the leader has told, whether it was taken or not.
    pub(crate) seen: Option<String>,
    /// How many times in a row waiting for news ended before its time, without any.
    pub(crate) sent_away: u32,
    pub(crate) counts: Arc<Counts>,
}

/// What a cycle came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Outcome {
    /// The leader has nothing new and the machine is as it was left.
    Unchanged,
    /// The revision runs.
    Running {
        /// Which.
        revision: RevisionId,
    },
    /// The revision was not taken and nothing was touched.
    Refused {
        /// Which.
        revision: RevisionId,
        /// Why, and the way out.
        reason: String,
    },
    /// The revision is not taken again, and the machine is back on the one that ran before.
    RolledBack {
        /// The one that is not taken again.
        revision: RevisionId,
        /// The one that runs.
        running: RevisionId,
        /// Why.
        reason: String,
    },
    /// Something did not work; what is left to do is owed and will be done.
    Failed {
        /// What, and the way out.
        reason: String,
    },
    /// The leader gave no goal; the last good files stay.
    NoGoal {
        /// Why not.
        reason: String,
    },
    /// The operator wants that nothing is touched.
    Suspended {
        /// Why.
        reason: String,
    },
    /// The wish to end came first; what is left to do is owed.
    Interrupted,
}

/// Something that ends a cycle early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Whether suspicious changes of a revision were accepted on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// They were.
    Given,
    /// Only if the leader says so.
    Needed,
}

impl<C: Containers> Follower<C> {
    /// A follower of the leader of `config` on `machine` that remembers in `memory`.
    #[must_use]
    pub fn new(leader: Leader, machine: Machine<C>, memory: Memory, config: &Config) -> Self {
        let store = Store::new(memory.folder(), Arc::clone(leader.identity()), config.role.clone());
        let (drift, limits) = (config.drift, config.limits.clone());
        let (is_clean, failures, sent_away) = (false, 0, 0);
        let (respite, seen, telling, counts) = (None, None, Telling::default(), Arc::default());
        Self {
            leader,
            machine,
            memory,
            store,
            drift,
            limits,
            is_clean,
            failures,
            telling,
            respite,
            seen,
            sent_away,
            counts,
        }
    }

    /// What it remembers.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Somebody says that there is something to see: the next cycle looks at every container.
    pub fn look_closely(&mut self) {
        self.telling.look_closely();
    }

    /// When the next cycle is due.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        if self.failures == 0 { Urgency::Usual } else { Urgency::Again { failures: self.failures } }
    }

    /// Where the machine is, for monitors.
    pub(crate) fn position(&self) -> Position {
        let Memory { ledger, status, .. } = &self.memory;
        Position {
            desired: status.desired,
            on_disk: ledger.on_disk(),
            running: ledger.running(),
            owed: ledger.owed.len(),
            drift: status.drift.len(),
            is_suspended: ledger.suspended.is_some(),
            is_refused: ledger.quarantined.is_some(),
            skew: self.leader.skew(),
            silent: None,
        }
    }

    /// How long from now the next cycle is due; `chance` is any random number.
    pub(crate) fn pause(&self, poll: Duration, chance: u32) -> Duration {
        self.respite.unwrap_or_default() + wait(poll, self.urgency(), chance)
    }

    /// Runs one cycle to its end, or to the end of the step in progress when the wish to end comes.
    pub async fn cycle(&mut self, shutdown: &mut Shutdown) -> Outcome {
        // Large, and on its own: nobody who waits for it has to be.
        Box::pin(self.cycle_accepting(Acceptance::Needed, shutdown)).await
    }

    /// Runs one cycle with what waiting at the leader has come to.
    pub(crate) async fn cycle_on(&mut self, news: News, shutdown: &mut Shutdown) -> Outcome {
        self.sent_away = if news.is_early { self.sent_away.saturating_add(1) } else { 0 };
        let converged = Box::pin(self.converge(Acceptance::Needed, Some(news), shutdown)).await;
        Box::pin(self.conclude(converged, shutdown)).await
    }

    pub(crate) async fn cycle_accepting(&mut self, acceptance: Acceptance, shutdown: &mut Shutdown) -> Outcome {
        let converged = self.converge(acceptance, None, shutdown).await;
        self.conclude(converged, shutdown).await
    }

    /// Goes back to the revision that ran before, and does not take the present one again by itself.
    pub(crate) async fn roll_back(&mut self, shutdown: &mut Shutdown) -> Outcome {
        let returned = self.return_by_hand(shutdown).await;
        self.conclude(returned, shutdown).await
    }

    async fn conclude(&mut self, came: Result<Outcome, Trouble>, shutdown: &mut Shutdown) -> Outcome {
        let outcome = came.unwrap_or_else(|trouble| {
            let reason = Chain(&trouble).to_string();
            self.is_clean = false;
            self.tell_unfinished(&reason, Way::not_gone(End::Owed(reason.clone())));
            Outcome::Failed { reason }
        });
        self.counts.ended(&outcome);
        self.note(&outcome);
        self.telling.heed(&outcome);
        if !matches!(outcome, Outcome::NoGoal { .. } | Outcome::Interrupted) {
            self.deliver(shutdown).await;
            if self.memory.status.undelivered.is_none() {
                self.tell_snapshot(shutdown).await;
            }
        }
        if let Err(fault) = self.memory.note_status() {
            warn!(error = %Chain(&fault), "the status could not be kept; nothing depends on it");
        }
        outcome
    }

    async fn converge(
        &mut self,
        acceptance: Acceptance,
        news: Option<News>,
        shutdown: &mut Shutdown,
    ) -> Result<Outcome, Trouble> {
        self.retire_key()?;
        let known = self.memory.ledger.settled_tag().map(str::to_owned);
        let pulled = match news.and_then(|news| news.in_answer_to(known.as_deref())) {
            Some(pulled) => self.take_note(known.as_deref(), pulled),
            None => match self.pull(known.as_deref(), shutdown).await {
                Some(pulled) => pulled,
                None => return Ok(Outcome::Interrupted),
            },
        };
        if let Ok(Pulled::Goal(goal)) = &pulled {
            self.heed(goal)?;
        }
        if let Some(suspended) = &self.memory.ledger.suspended {
            // What is wanted was heard all the same, and the leader heard that somebody is there.
            let (running, reason) = (self.memory.ledger.running(), suspended.reason.clone());
            self.tell(Verdict::Suspended { running, reason: reason.clone() }, Way::not_gone(End::There));
            return Ok(Outcome::Suspended { reason });
        }
        self.clean_up_once().await;
        match pulled {
            Ok(Pulled::Goal(goal)) => self.judge(*goal, acceptance, shutdown).await,
            Ok(Pulled::Unchanged) => self.stay(shutdown).await,
            Err(reason) => match self.stay(shutdown).await? {
                // What is owed needs no leader; whether that works out shows in the status.
                Outcome::Unchanged | Outcome::Refused { .. } => Ok(Outcome::NoGoal { reason }),
                outcome => Ok(outcome),
            },
        }
    }

    /// Lets go of the key before, once the leader cannot need it any more.
    fn retire_key(&self) -> Result<(), Trouble> {
        let ring = self.leader.identity().ring();
        let Some(ring) = ring.without_retired(Clock::system().now().wall) else { return Ok(()) };
        info!(key = %ring.asking().id(), "the key before this one is gone");
        Ok(self.store.go_on_with(ring)?)
    }

    /// Keeps what the leader says of keys and of whom to trust, before anything else of the bundle.
    fn heed(&mut self, goal: &Goal) -> Result<(), Trouble> {
        let Some(control) = &goal.bundle.control else { return Ok(()) };
        if let Some(NextKey { version, key }) = &control.next_key
            && let Some(ring) = self.leader.identity().ring().with_next(&goal.asked, *version, key)
        {
            info!(key = %ring.asking().id(), "the leader hands out the next key");
            self.store.go_on_with(ring)?;
        }
        if let Some(authorities) = &control.authorities
            && self.memory.keep_authorities(authorities)?
        {
            info!("the leader says which authorities to trust");
            self.leader.trust_again()?;
        }
        Ok(())
    }

    /// Asks the leader; `None` when the wish to end came first.
    async fn pull(&mut self, known: Option<&str>, shutdown: &mut Shutdown) -> Option<Result<Pulled, String>> {
        // Cancel-safe: a pull changes nothing on either side.
        let pulled = tokio::select! {
            pulled = self.leader.pull(known) => pulled,
            () = shutdown.requested() => return None,
        };
        Some(self.take_note(known, pulled))
    }

    /// Notes what the leader said when it was asked for something else than `known`.
    fn take_note(&mut self, known: Option<&str>, pulled: Result<Pulled, PullError>) -> Result<Pulled, String> {
        self.respite = pulled.as_ref().err().and_then(PullError::respite);
        match &pulled {
            Ok(Pulled::Goal(goal)) => {
                self.seen = Some(goal.bundle.tag().to_string());
                self.memory.named(Some(goal.bundle.revision));
                self.memory.contact();
            }
            Ok(Pulled::Unchanged) => {
                self.seen = known.map(str::to_owned);
                self.memory.contact();
            }
            Err(_) => {}
        }
        pulled.map_err(|fault| Chain(&fault).to_string())
    }

    /// What the leader offers is taken, or it is said why not.
    async fn judge(&mut self, goal: Goal, acceptance: Acceptance, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let revision = goal.bundle.revision;
        match admit(&goal.bundle, &self.memory.ledger) {
            Err(refusal) => return Ok(self.refuse(revision, refusal.to_string())),
            Ok(Admission::Quarantined) => {
                // The leader may have another name for it by now.
                if let Some(known) = &mut self.memory.ledger.quarantined {
                    known.revision = Attempt::of(&goal.bundle);
                }
                return self.stay(shutdown).await;
            }
            Ok(Admission::Taken) => {}
        }
        let ledger = &mut self.memory.ledger;
        if ledger.attempt.is_none() && ledger.running() == Some(revision) {
            // The leader had something else to say. The new name spares the next answer, and is saved with the next news.
            ledger.applied = Some(Attempt::of(&goal.bundle));
            return self.stay(shutdown).await;
        }
        if let Err(refusal) = guard(&goal.bundle, &self.memory.ledger, acceptance == Acceptance::Given) {
            return Ok(self.refuse(revision, refusal.to_string()));
        }
        self.store.keep(revision, &goal.sealed).map_err(MemoryError::from)?;
        self.take(Arc::new(goal.bundle), shutdown).await
    }

    /// Goes forward to `goal`, and back if that breaks something.
    async fn take(&mut self, goal: Arc<VerifiedBundle>, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let revision = goal.revision;
        let way = self.arrive(&goal, Purpose::Goal, shutdown).await?;
        match &way.end {
            End::There => Ok(self.arrived(revision, way)),
            End::Interrupted => Ok(Outcome::Interrupted),
            End::Owed(reason) => Ok(self.tell_unfinished(&reason.clone(), way)),
            End::Refused(reason) => Ok(self.refuse(revision, reason.clone())),
            End::Disliked(reason) => {
                self.memory.ledger.quarantine(Attempt::of(&goal), reason.clone());
                self.memory.save_ledger()?;
                Ok(self.refuse(revision, reason.clone()))
            }
            End::Unwell(reason) => {
                let reason = reason.clone();
                let base = self.memory.ledger.applied.clone().filter(|applied| applied.revision != revision);
                let Some(base) = base else { return Ok(self.tell_unfinished(&reason, way)) };
                error!(%revision, to = %base.revision, reason, "the revision breaks this machine: going back");
                self.memory.ledger.quarantine(Attempt::of(&goal), reason);
                self.memory.save_ledger()?;
                self.go_back(&base, Some(way), shutdown).await
            }
        }
    }

    /// Goes back to `base`, which ran before what is now in quarantine; `broken` is how it got there.
    async fn go_back(&mut self, base: &Attempt, broken: Option<Way>, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let Some(quarantined) = self.memory.ledger.quarantined.clone() else { return Ok(Outcome::Unchanged) };
        let bundle = Arc::new(self.store.open(base)?);
        let mut way = self.arrive(&bundle, Purpose::Return, shutdown).await?;
        // Who failed on the way there is what its operator wants to know.
        for failed in broken.into_iter().flat_map(|broken| broken.services) {
            if failed.outcome == ServiceOutcome::Failed {
                way.services.retain(|service| service.name != failed.name || service.outcome == ServiceOutcome::Failed);
                if way.services.iter().all(|service| service.name != failed.name) {
                    way.services.push(failed);
                }
            }
        }
        way.services.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let revision = quarantined.revision.revision;
        match &way.end {
            End::There => {
                let (running, reason) = (base.revision, quarantined.reason);
                warn!(%revision, %running, reason, "back on the revision that ran before");
                self.tell(Verdict::RolledBack { revision, running, reason: reason.clone() }, way);
                Ok(Outcome::RolledBack { revision, running, reason })
            }
            End::Interrupted => Ok(Outcome::Interrupted),
            End::Owed(reason) | End::Unwell(reason) | End::Refused(reason) | End::Disliked(reason) => {
                let reason = format!(
                    "{revision} broke this machine ({}), and going back to {} does not work out yet: {reason}",
                    quarantined.reason, base.revision
                );
                Ok(self.tell_unfinished(&reason, way))
            }
        }
    }

    async fn return_by_hand(&mut self, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let ledger = &self.memory.ledger;
        let present = ledger.attempt.as_ref().filter(|_| ledger.purpose == Purpose::Goal).or(ledger.applied.as_ref());
        let before = ledger.applied.iter().chain(&ledger.previous);
        let target = present.and_then(|present| before.clone().find(|known| known.revision < present.revision));
        let (Some(present), Some(target)) = (present.cloned(), target.cloned()) else {
            let reason =
                "there is no earlier revision to go back to: this machine remembers one before the present one";
            return Ok(Outcome::Failed { reason: reason.to_owned() });
        };
        self.memory.ledger.quarantine(present, "its operator went back from it".to_owned());
        self.memory.ledger.purpose = Purpose::Return;
        self.memory.ledger.attempt = Some(target.clone());
        self.memory.save_ledger()?;
        self.go_back(&target, None, shutdown).await
    }

    /// Without a goal of the leader: what is unfinished goes on, what is owed is done, what has drifted is seen.
    async fn stay(&mut self, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let ledger = &self.memory.ledger;
        if let Some(attempt) = ledger.attempt.clone() {
            return self.resume(&attempt, shutdown).await;
        }
        if let Some(outcome) = self.settle(shutdown).await? {
            return Ok(outcome);
        }
        if let Some(outcome) = self.look_for_drift(shutdown).await? {
            return Ok(outcome);
        }
        let refused = self.memory.ledger.quarantined.as_ref();
        let refused = refused.map(|known| (known.revision.revision, known.reason.clone()));
        self.tell_again(refused.clone());
        Ok(refused.map_or(Outcome::Unchanged, |(revision, reason)| Outcome::Refused { revision, reason }))
    }

    /// Goes on where an earlier cycle was cut off.
    async fn resume(&mut self, attempt: &Attempt, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let ledger = &self.memory.ledger;
        let is_quarantined =
            ledger.quarantined.as_ref().is_some_and(|known| known.revision.revision == attempt.revision);
        match (is_quarantined, ledger.purpose, ledger.applied.clone()) {
            (true, _, Some(applied)) => self.go_back(&applied, None, shutdown).await,
            (false, Purpose::Return, _) if ledger.quarantined.is_some() => self.go_back(attempt, None, shutdown).await,
            (_, Purpose::Goal | Purpose::Return, _) => {
                let goal = Arc::new(self.store.open(attempt)?);
                self.take(goal, shutdown).await
            }
        }
    }

    /// Does what containers are still owed that their operator had stopped and that run again by now.
    async fn settle(&mut self, shutdown: &Shutdown) -> Result<Option<Outcome>, Trouble> {
        let ledger = &self.memory.ledger;
        let (Some(applied), false) = (ledger.applied.clone(), ledger.owed.is_empty()) else { return Ok(None) };
        let containers = self.machine.containers().await?.unwrap_or_default();
        let is_due = |name: &str| {
            let container = containers.iter().find(|container| container.name == name);
            container.is_none_or(|container| container.state != ContainerState::Stopped)
        };
        if !ledger.owed.keys().any(|name| is_due(name)) {
            return Ok(None);
        }
        let bundle = Arc::new(self.store.open(&applied)?);
        let way = self.arrive(&bundle, Purpose::Return, shutdown).await?;
        Ok(Some(self.put_right(applied.revision, way)))
    }

    /// Compares what is ours with how it was left.
    async fn look_for_drift(&mut self, shutdown: &Shutdown) -> Result<Option<Outcome>, Trouble> {
        if self.drift == DriftPolicy::Ignore {
            return Ok(None);
        }
        let ledger = &self.memory.ledger;
        let disk = self.machine.look(ledger.places_of_ours()).await?;
        let glimpses = self.machine.glimpses().await?;
        let found = ledger.drift(&disk, glimpses.as_ref().map(states).as_ref());
        self.telling.notice(glimpses);
        let can_be_repaired = found.iter().any(|drifted| drifted.is_file);
        let applied = ledger.applied.clone().filter(|_| can_be_repaired && self.drift == DriftPolicy::Repair);
        if let Some(applied) = applied {
            info!(
                what = found[0].what,
                how = found[0].how,
                of = found.len(),
                "files are not as they were left: putting them right"
            );
            let bundle = Arc::new(self.store.open(&applied)?);
            let way = self.arrive(&bundle, Purpose::Return, shutdown).await?;
            return Ok(Some(self.put_right(applied.revision, way)));
        }
        if self.memory.drifted(found) {
            self.telling.look_closely();
            for drift in &self.memory.status.drift {
                warn!(what = drift.what, how = drift.how, since = drift.since, "not as it was left");
            }
            let verdict = self.memory.status.verdict.clone();
            if let Some(verdict) = verdict {
                self.tell(verdict, Way::not_gone(End::There));
            }
        }
        Ok(None)
    }

    /// The end of the way to a revision that ran already.
    fn put_right(&mut self, revision: RevisionId, way: Way) -> Outcome {
        match &way.end {
            End::There => self.arrived(revision, way),
            End::Interrupted => Outcome::Interrupted,
            End::Owed(reason) | End::Unwell(reason) | End::Refused(reason) | End::Disliked(reason) => {
                let reason = reason.clone();
                self.tell_unfinished(&reason, way)
            }
        }
    }

    fn arrived(&mut self, revision: RevisionId, way: Way) -> Outcome {
        let acted = way.services.iter().filter(|service| service.outcome != ServiceOutcome::Untouched).count();
        info!(%revision, written = way.written.len(), removed = way.removed.len(), acted, "revision runs");
        self.memory.drifted(Vec::new());
        self.tell(Verdict::Running { revision }, way);
        Outcome::Running { revision }
    }

    fn refuse(&mut self, revision: RevisionId, reason: String) -> Outcome {
        let verdict = Verdict::Refused { revision, running: self.memory.ledger.running(), reason: reason.clone() };
        self.tell(verdict, Way::not_gone(End::Refused(reason.clone())));
        Outcome::Refused { revision, reason }
    }

    fn tell_unfinished(&mut self, reason: &str, way: Way) -> Outcome {
        let ledger = &self.memory.ledger;
        let running = ledger.running();
        let to = ledger.attempt.as_ref().map(|attempt| attempt.revision).or(self.memory.status.desired).or(running);
        if let Some(revision) = to {
            self.tell(Verdict::Unfinished { revision, running, reason: reason.to_owned() }, way);
        }
        Outcome::Failed { reason: reason.to_owned() }
    }

    /// Says where the machine stands, where that was not what it said last: what was in the way may have gone, or a crash
    /// have come between the deed and the word.
    fn tell_again(&mut self, refused: Option<(RevisionId, String)>) {
        let running = self.memory.ledger.running();
        // The leader has named at least what is known of it.
        let named = refused.as_ref().map(|(revision, _)| *revision).max(running);
        self.memory.named(named);
        let told = self.memory.status.verdict.as_ref();
        let verdict = match (refused, running) {
            (Some((refused, reason)), running) => match told {
                Some(Verdict::Refused { revision, .. } | Verdict::RolledBack { revision, .. })
                    if *revision == refused =>
                {
                    return;
                }
                _ => Verdict::Refused { revision: refused, running, reason },
            },
            (None, Some(revision)) => Verdict::Running { revision },
            (None, None) => return,
        };
        if told != Some(&verdict) {
            self.tell(verdict, Way::not_gone(End::There));
        }
    }

    /// Puts down what the leader and `status` are to be told, if it is news.
    fn tell(&mut self, verdict: Verdict, way: Way) {
        let status = &mut self.memory.status;
        let report = Report {
            verdict,
            written: way.written,
            removed: way.removed,
            read_by_nothing: way.read_by_nothing,
            services: way.services,
            drift: status.drift.clone(),
            on_disk: self.memory.ledger.on_disk(),
        };
        let says_as_before = status.told.as_ref() == Some(&report);
        if !report.services.is_empty() {
            status.services.clone_from(&report.services);
        }
        status.verdict = Some(report.verdict.clone());
        if !says_as_before {
            status.told = Some(report.clone());
            status.undelivered = Some(report);
        }
    }

    /// Sends what the leader has not taken yet; what it does not take now is sent after the next cycle.
    async fn deliver(&mut self, shutdown: &mut Shutdown) {
        let Some(report) = &self.memory.status.undelivered else { return };
        // Cancel-safe: a report that was taken twice says the same twice.
        let delivered = tokio::select! {
            delivered = self.leader.report(report) => delivered,
            () = shutdown.requested() => return,
        };
        match delivered {
            Ok(()) => {
                self.memory.status.undelivered = None;
                self.memory.contact();
            }
            Err(fault) => {
                self.respite = fault.respite();
                self.counts.failures.count("report");
                warn!(error = %Chain(&fault), "the report was not taken; it will be sent again");
            }
        }
    }

    /// Each trouble once, in the log and in the status.
    fn note(&mut self, outcome: &Outcome) {
        self.failures = match outcome {
            Outcome::Failed { .. } | Outcome::NoGoal { .. } => self.failures.saturating_add(1),
            Outcome::Interrupted => self.failures,
            Outcome::Unchanged
            | Outcome::Running { .. }
            | Outcome::Refused { .. }
            | Outcome::RolledBack { .. }
            | Outcome::Suspended { .. } => 0,
        };
        match outcome {
            Outcome::Unchanged | Outcome::Running { .. } => self.memory.well(),
            Outcome::Refused { revision, reason } => {
                if self.memory.fault(reason) {
                    error!(%revision, reason, "revision refused");
                }
            }
            Outcome::RolledBack { reason, .. } => drop(self.memory.fault(reason)),
            Outcome::Failed { reason } => {
                if self.memory.fault(reason) {
                    error!(reason, "the machine is not at its goal");
                }
            }
            Outcome::NoGoal { reason } => {
                if self.memory.fault(reason) {
                    warn!(reason, "the last good files stay");
                }
            }
            Outcome::Suspended { reason } => {
                if self.memory.fault(&format!("suspended: {reason}")) {
                    warn!(reason, "suspended: nothing is touched");
                }
            }
            Outcome::Interrupted => {}
        }
    }
}
