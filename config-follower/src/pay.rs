//! What is owed is done rank by rank, and each rank has to be seen well before the next one.

use std::time::Duration;

use pconf_bundle::{ServiceOutcome, ServiceReport, VerifiedBundle};
use pconf_containers::{Acted, Containers};
use pconf_daemon::Shutdown;
use pconf_plan::{Action, Container, Plan, Purpose, What, plan_owed};

use crate::arrive::{End, Way, list};
use crate::cycle::{Follower, Trouble};
use crate::machine::Patience;
use crate::memory::MemoryError;
use crate::soak::Soaked;

/// So often what is owed is looked up again: containers come and go while others are acted on.
const ROUNDS: usize = 3;

/// What came of all actions so far.
#[derive(Default)]
struct Balance {
    services: Vec<ServiceReport>,
    unwell: Vec<String>,
    owed: Vec<String>,
    is_interrupted: bool,
}

impl<C: Containers> Follower<C> {
    /// Does the actions of `plan` and what comes up meanwhile, and finishes the revision if all are well.
    pub(crate) async fn pay(
        &mut self,
        goal: &VerifiedBundle,
        plan: &Plan,
        shutdown: &Shutdown,
    ) -> Result<Way, Trouble> {
        let mut balance = Balance::default();
        let mut actions = plan.actions.clone();
        for _ in 0..ROUNDS {
            for rank in actions.chunk_by(|a, b| a.rank == b.rank) {
                if balance.is_even() {
                    self.pay_rank(goal, rank, &mut balance, shutdown).await?;
                } else {
                    balance.services.extend(rank.iter().map(waiting));
                }
            }
            if !balance.is_even() {
                return Ok(Way::gone(balance.end(), plan, balance.services));
            }
            let seen = self.machine.containers().await?;
            actions = self.owed_to(goal, seen.as_deref()).actions;
            if actions.is_empty() {
                let seen = seen.as_deref().unwrap_or_default();
                if self.memory.ledger.purpose == Purpose::Goal {
                    balance.soaked(self.soak(goal, seen, shutdown).await);
                }
                if !balance.is_even() {
                    return Ok(Way::gone(balance.end(), plan, balance.services));
                }
                self.memory.ledger.finish(seen);
                self.memory.save_ledger()?;
                self.store.forget(&self.memory.ledger).map_err(MemoryError::from)?;
                return Ok(Way::gone(End::There, plan, balance.services));
            }
        }
        balance.owed.push("containers are made or started faster than they can be acted on".to_owned());
        Ok(Way::gone(balance.end(), plan, balance.services))
    }

    /// What is owed to containers as they are now; nothing where there is no engine.
    pub(crate) fn owed_to(&self, goal: &VerifiedBundle, seen: Option<&[Container]>) -> Plan {
        let nothing = || Plan::nothing(goal.revision);
        seen.map_or_else(nothing, |containers| plan_owed(goal, &self.memory.ledger, containers))
    }

    async fn pay_rank(
        &mut self,
        goal: &VerifiedBundle,
        rank: &[Action],
        balance: &mut Balance,
        shutdown: &Shutdown,
    ) -> Result<(), MemoryError> {
        self.memory.ledger.begin(rank);
        self.memory.save_ledger()?;
        let deeds = self.machine.act(rank, self.patience(goal), shutdown).await;
        for action in rank.iter().filter(|action| action.what.interrupts()) {
            if let (Some(Acted::Healthy { .. }), Some(took)) =
                (deeds.acted.get(&action.name), deeds.took.get(&action.name))
            {
                self.memory.status.took.insert(action.name.clone(), to_tenths(*took));
            }
        }
        let ledger = &mut self.memory.ledger;
        for action in rank {
            let name = &action.name;
            let service = match deeds.acted.get(name) {
                Some(Acted::Healthy { id, started }) => {
                    match action.what {
                        What::Recreate { .. } => ledger.made(action, id, started),
                        _ => ledger.paid(name),
                    }
                    report(action, outcome(&action.what), because(action))
                }
                Some(Acted::Gone) => {
                    ledger.paid(name);
                    if action.what != What::Remove {
                        // Somebody else removed it: it is no service of this machine any more.
                        continue;
                    }
                    report(action, ServiceOutcome::Removed, because(action))
                }
                Some(Acted::Unhealthy { reason, log }) => {
                    let reason = goal.masks.hide(reason);
                    ledger.failed(name, &reason);
                    balance.unwell.push(format!("`{name}`: {reason}"));
                    let log = log.iter().map(|line| goal.masks.hide(line)).collect();
                    ServiceReport { log, ..report(action, ServiceOutcome::Failed, reason) }
                }
                Some(Acted::NotTried { reason }) => {
                    let reason = goal.masks.hide(reason);
                    balance.owed.push(format!("`{name}`: {reason}"));
                    report(action, ServiceOutcome::Owed, reason)
                }
                None if deeds.cut_off.contains(name) => {
                    let reason = "was not waited for when another one was seen to be ill".to_owned();
                    // Whatever the engine still does to it: it is acted on once more.
                    ledger.failed(name, &reason);
                    report(action, ServiceOutcome::Owed, reason)
                }
                None => {
                    balance.is_interrupted |= shutdown.is_requested();
                    waiting(action)
                }
            };
            balance.services.retain(|known| known.name != service.name);
            balance.services.push(service);
        }
        self.memory.save_ledger()
    }

    /// A machine that can go back does so at the first service that is ill.
    fn patience(&self, goal: &VerifiedBundle) -> Patience {
        let ledger = &self.memory.ledger;
        let can_go_back = ledger.applied.as_ref().is_some_and(|applied| applied.revision != goal.revision);
        match ledger.purpose {
            Purpose::Goal if can_go_back => Patience::UntilOneIsIll,
            Purpose::Goal | Purpose::Return => Patience::UntilAllAreKnown,
        }
    }
}

impl Balance {
    fn is_even(&self) -> bool {
        self.unwell.is_empty() && self.owed.is_empty() && !self.is_interrupted
    }

    /// Takes down what came of watching the services.
    fn soaked(&mut self, soaked: Soaked) {
        match soaked {
            Soaked::Well => {}
            Soaked::Ill(service) => {
                self.unwell.push(format!("`{}`: {}", service.name, service.reason));
                self.services.retain(|known| known.name != service.name);
                self.services.push(service);
            }
            Soaked::Unknown(reason) => self.owed.push(reason),
            Soaked::Interrupted => self.is_interrupted = true,
        }
    }

    fn end(&self) -> End {
        if !self.unwell.is_empty() {
            End::Unwell(self.unwell.join("; "))
        } else if self.is_interrupted {
            End::Interrupted
        } else {
            End::Owed(self.owed.join("; "))
        }
    }
}

/// Milliseconds, to the tenth of a second: nobody plans by less.
fn to_tenths(took: Duration) -> u64 {
    u64::try_from(took.as_millis().div_ceil(100)).unwrap_or(u64::MAX).saturating_mul(100)
}

fn waiting(action: &Action) -> ServiceReport {
    report(action, ServiceOutcome::Owed, "waits for others".to_owned())
}

fn report(action: &Action, outcome: ServiceOutcome, reason: String) -> ServiceReport {
    ServiceReport::new(&action.name, outcome, reason)
}

fn outcome(what: &What) -> ServiceOutcome {
    match what {
        What::Signal(_) | What::Exec(_) => ServiceOutcome::Reloaded,
        What::Verify | What::Restart | What::Start => ServiceOutcome::Restarted,
        What::Recreate { .. } => ServiceOutcome::Recreated,
        What::Remove => ServiceOutcome::Removed,
    }
}

fn because(action: &Action) -> String {
    let upstreams: Vec<&str> = action.upstreams.iter().map(String::as_str).collect();
    match (action.files.is_empty(), upstreams.is_empty()) {
        (_, true) => list(&action.files),
        (true, false) => format!("keeps the address of {}", upstreams.join(", ")),
        (false, false) => format!("{}; keeps the address of {}", list(&action.files), upstreams.join(", ")),
    }
}
