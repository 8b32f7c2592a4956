//! The way to a bundle: look, plan, try, stop, write, act, verify. Going forward, going back and putting right are all this.

use std::sync::Arc;
use std::time::Instant;

use pconf_bundle::{ServiceOutcome, ServiceReport, VerifiedBundle};
use pconf_containers::Containers;
use pconf_daemon::{Chain, Shutdown};
use pconf_names::RelativePath;
use pconf_plan::{Ledger, Observed, Phase, Plan, Purpose, places_to_look, plan};

use crate::cycle::{Follower, Trouble};
use crate::memory::MemoryError;

/// How the way to a bundle ended.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) end: End,
    /// What was done to files on it.
    pub(crate) written: Vec<RelativePath>,
    pub(crate) removed: Vec<RelativePath>,
    pub(crate) read_by_nothing: Vec<RelativePath>,
    /// What became of every container that reads a file of the bundle, sorted by name.
    pub(crate) services: Vec<ServiceReport>,
}

/// Where the way to a bundle ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At the bundle, with every container that was acted on seen to be well.
    There,
    /// Before anything was touched: an application does not like its new files.
    Disliked(String),
    /// Before anything was touched: something is in the way.
    Refused(String),
    /// With a container that is not well.
    Unwell(String),
    /// With something that could not be done; it is owed.
    Owed(String),
    /// By the wish to end; what is left is owed.
    Interrupted,
}

impl<C: Containers> Follower<C> {
    /// Brings the machine to `goal`, as far as that goes.
    pub(crate) async fn arrive(
        &mut self,
        goal: &Arc<VerifiedBundle>,
        purpose: Purpose,
        shutdown: &Shutdown,
    ) -> Result<Way, Trouble> {
        let start = Instant::now();
        let observed = self.machine.observe(places_to_look(goal, &self.memory.ledger)).await?;
        let planned = plan(goal, &self.memory.ledger, &observed).and_then(|plan| {
            // What ran before, and what has begun, was allowed when it came.
            if purpose == Purpose::Goal && !self.has_begun(goal) {
                self.limits.judge(&plan)?;
            }
            Ok(plan)
        });
        let plan = match planned {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Way::not_gone(End::Refused(refusal.to_string()))),
        };
        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        // What was begun and is still to be watched goes on with that.
        if plan.is_empty() && !(goal.healthy_for.is_some() && self.has_begun(goal)) {
            self.adopt(goal, purpose, &plan, &observed)?;
            return Ok(Way::gone(End::There, &plan, Vec::new()));
        }
        if purpose == Purpose::Goal && !self.has_begun(goal) {
            for trial in &plan.checks {
                // What it leaves when its removal fails is for the next cycle.
                self.is_clean = false;
                if let Some(dislike) = self.machine.try_out(goal, trial).await? {
                    let dislike = goal.masks.hide(&dislike);
                    let reason =
                        format!("`{}` does not take its new files: {dislike}; nothing was touched", trial.name);
                    return Ok(Way::not_gone(End::Disliked(reason)));
                }
            }
        }
        let plan = self.write(goal, purpose, plan).await?;
        let paid = self.pay(goal, &plan, shutdown).await;
        self.counts.apply.took(start.elapsed());
        paid
    }

    fn has_begun(&self, goal: &VerifiedBundle) -> bool {
        self.memory.ledger.attempt.as_ref().is_some_and(|attempt| attempt.revision == goal.revision)
    }

    /// Removes drafts, trials and bundles that an earlier cycle may have left, once. They harm nobody, so whatever goes wrong
    /// is for the next cycle.
    pub(crate) async fn clean_up_once(&mut self) {
        if !self.is_clean {
            match self.clean_up().await {
                Ok(()) => self.is_clean = true,
                Err(trouble) => tracing::warn!(error = %Chain(&trouble), "not everything could be cleaned up"),
            }
        }
    }

    async fn clean_up(&self) -> Result<(), Trouble> {
        self.machine.clean_up(touched(&self.memory.ledger)).await?;
        self.store.forget(&self.memory.ledger).map_err(MemoryError::from)?;
        Ok(self.machine.sweep().await?)
    }

    /// Takes over a machine that is at its goal already.
    fn adopt(
        &mut self,
        goal: &VerifiedBundle,
        purpose: Purpose,
        plan: &Plan,
        seen: &Observed,
    ) -> Result<(), MemoryError> {
        let before = self.memory.ledger.clone();
        let containers = seen.containers.as_deref().unwrap_or_default();
        self.memory.ledger.intend(goal, purpose, plan);
        self.memory.ledger.written(goal, containers);
        self.memory.ledger.finish(containers);
        if self.memory.ledger == before {
            return Ok(());
        }
        self.memory.save_ledger()?;
        Ok(self.store.forget(&self.memory.ledger)?)
    }

    /// Intent, stops, files, and what is owed from now on: the plan with the containers as they are after the last file.
    async fn write(&mut self, goal: &Arc<VerifiedBundle>, purpose: Purpose, mut plan: Plan) -> Result<Plan, Trouble> {
        let ledger = &mut self.memory.ledger;
        let goes_on = ledger.phase == Phase::Written && self.has_begun(goal) && plan.changes.is_empty();
        if goes_on && plan.steps.is_empty() {
            return Ok(plan);
        }
        self.memory.ledger.intend(goal, purpose, &plan);
        self.memory.save_ledger()?;
        self.machine.stop(&plan.stops).await?;
        self.machine.carry_out(goal, plan.steps.clone()).await?;
        // Whoever was started or made meanwhile may have read old files.
        let seen = self.machine.containers().await?;
        self.memory.ledger.written(goal, seen.as_deref().unwrap_or_default());
        // Saved before the first action; where there is none, the end is a moment away and saves the same.
        let owed = self.owed_to(goal, seen.as_deref());
        plan.actions = owed.actions;
        plan.stopped = owed.stopped;
        plan.untouched = owed.untouched;
        Ok(plan)
    }
}

impl Way {
    /// One that was not gone: nothing was touched.
    pub(crate) fn not_gone(end: End) -> Self {
        Self { end, written: Vec::new(), removed: Vec::new(), read_by_nothing: Vec::new(), services: Vec::new() }
    }

    pub(crate) fn gone(end: End, plan: &Plan, mut services: Vec<ServiceReport>) -> Self {
        services.extend(plan.stopped.iter().map(|left| {
            let reason = format!("its operator stopped it; it reads {} when it is started", list(&left.files));
            ServiceReport::new(&left.name, ServiceOutcome::Stopped, reason)
        }));
        let untouched: Vec<&String> =
            plan.untouched.iter().filter(|name| services.iter().all(|known| known.name != **name)).collect();
        services.extend(untouched.into_iter().map(|name| {
            ServiceReport::new(name, ServiceOutcome::Untouched, "nothing that it reads has changed".to_owned())
        }));
        services.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut removed: Vec<RelativePath> = plan.removed().cloned().collect();
        removed.sort_unstable();
        let written = plan.written().cloned().collect();
        Self { end, written, removed, read_by_nothing: plan.read_by_nothing.clone(), services }
    }
}

/// Every file and folder that an unfinished attempt may have begun to make.
fn touched(ledger: &Ledger) -> Vec<RelativePath> {
    ledger.files.keys().chain(ledger.intended.keys()).chain(&ledger.directories).cloned().collect()
}

pub(crate) fn list<'a>(files: impl IntoIterator<Item = &'a RelativePath>) -> String {
    files.into_iter().map(RelativePath::as_str).collect::<Vec<_>>().join(", ")
}
