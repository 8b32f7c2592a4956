//! One cycle: pull, look, plan, write, restart, verify, tell. Boot, poll, notification and retry are all this.

use std::collections::BTreeSet;
use std::sync::Arc;

use pconf_bundle::{Report, ServiceOutcome, ServiceReport, Verdict, VerifiedBundle};
use pconf_containers::{Containers, Restarted};
use pconf_daemon::{Chain, Shutdown};
use pconf_names::{RelativePath, RevisionId};
use pconf_plan::{Container, Ledger, Observed, Phase, Plan, Restart, Urgency, owed_restarts, places_to_look, plan};
use tracing::{error, info, warn};

use crate::leader::{Leader, Pulled};
use crate::machine::{Machine, MachineError};
use crate::memory::{Memory, MemoryError};

/// The follower of one machine.
#[derive(Debug)]
pub struct Follower<C> {
    leader: Leader,
    machine: Machine<C>,
    memory: Memory,
    failures: u32,
}

/// What a cycle came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The leader has nothing new and the machine is as it was left.
    Unchanged,
    /// The revision runs.
    Running(RevisionId),
    /// The revision was not taken and nothing was touched.
    Refused {
        /// Which.
        revision: RevisionId,
        /// Why, and the way out.
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
    /// The wish to end came first; what is left to do is owed.
    Interrupted,
}

/// Something that ends a cycle early.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What restarting came to.
#[derive(Debug, Default)]
struct Payment {
    services: Vec<ServiceReport>,
    failed: Vec<String>,
    is_interrupted: bool,
}

impl<C: Containers> Follower<C> {
    /// A follower of `leader` on `machine` that remembers in `memory`.
    #[must_use]
    pub fn new(leader: Leader, machine: Machine<C>, memory: Memory) -> Self {
        Self { leader, machine, memory, failures: 0 }
    }

    /// What it remembers.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// When the next cycle is due.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        if self.failures == 0 { Urgency::Usual } else { Urgency::Again { failures: self.failures } }
    }

    /// Runs one cycle to its end, or to the end of the step in progress when the wish to end comes.
    pub async fn cycle(&mut self, shutdown: &mut Shutdown) -> Outcome {
        let outcome = match self.converge(shutdown).await {
            Ok(outcome) => outcome,
            Err(trouble) => Outcome::Failed { reason: Chain(&trouble).to_string() },
        };
        self.note(&outcome);
        if outcome == Outcome::Unchanged {
            self.take_back();
        }
        if !matches!(outcome, Outcome::NoGoal { .. } | Outcome::Interrupted) {
            self.deliver(shutdown).await;
        }
        if let Err(fault) = self.memory.note_status() {
            warn!(error = %Chain(&fault), "the status could not be kept; nothing depends on it");
        }
        outcome
    }

    async fn converge(&mut self, shutdown: &mut Shutdown) -> Result<Outcome, Trouble> {
        let known = self.memory.ledger.settled_tag().map(str::to_owned);
        let Some(pulled) = self.pull(known.as_deref(), shutdown).await else { return Ok(Outcome::Interrupted) };
        match pulled {
            Ok(Pulled::Goal(goal)) => self.reach(*goal, shutdown).await,
            Ok(Pulled::Unchanged) => {
                if self.has_drifted().await? {
                    info!("the files are not as they were left: putting them right");
                    return match self.pull(None, shutdown).await {
                        Some(Ok(Pulled::Goal(goal))) => self.reach(*goal, shutdown).await,
                        Some(Ok(Pulled::Unchanged)) => Ok(Outcome::Unchanged),
                        Some(Err(reason)) => Ok(Outcome::NoGoal { reason }),
                        None => Ok(Outcome::Interrupted),
                    };
                }
                Ok(self.settle(shutdown).await?.unwrap_or(Outcome::Unchanged))
            }
            Err(reason) => {
                // What is owed needs no leader; whether that works out shows in the status.
                let settled = self.settle(shutdown).await?;
                Ok(settled
                    .filter(|outcome| matches!(outcome, Outcome::Failed { .. }))
                    .unwrap_or(Outcome::NoGoal { reason }))
            }
        }
    }

    /// Asks the leader; `None` when the wish to end came first.
    async fn pull(&mut self, known: Option<&str>, shutdown: &mut Shutdown) -> Option<Result<Pulled, String>> {
        // Cancel-safe: a pull changes nothing on either side.
        let pulled = tokio::select! {
            pulled = self.leader.pull(known) => pulled,
            () = shutdown.requested() => return None,
        };
        if pulled.is_ok() {
            self.memory.contact();
        }
        Some(pulled.map_err(|fault| Chain(&fault).to_string()))
    }

    async fn has_drifted(&self) -> Result<bool, Trouble> {
        let ledger = &self.memory.ledger;
        let files = ledger.files.iter().map(|(path, record)| (path.clone(), BTreeSet::from([record.size])));
        let directories = ledger.directories.iter().map(|path| (path.clone(), BTreeSet::new()));
        Ok(ledger.has_drifted(&self.machine.look(files.chain(directories).collect()).await?))
    }

    /// Brings the machine to `goal`.
    async fn reach(&mut self, goal: VerifiedBundle, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let goal = Arc::new(goal);
        self.memory.status.desired = self.memory.status.desired.max(Some(goal.revision));
        let attempted = self.attempt(&goal, shutdown).await;
        if let Err(trouble) = &attempted {
            self.refuse(goal.revision, &Chain(trouble).to_string());
        }
        attempted
    }

    async fn attempt(&mut self, goal: &Arc<VerifiedBundle>, shutdown: &Shutdown) -> Result<Outcome, Trouble> {
        let observed = self.machine.observe(places_to_look(goal, &self.memory.ledger)).await?;
        let plan = match plan(goal, &self.memory.ledger, &observed) {
            Ok(plan) => plan,
            Err(refusal) => {
                let reason = refusal.to_string();
                self.refuse(goal.revision, &reason);
                return Ok(Outcome::Refused { revision: goal.revision, reason });
            }
        };
        if plan.is_empty() {
            self.adopt(goal, &plan, &observed)?;
            self.tell(Verdict::Running { revision: goal.revision }, &plan, Payment::default());
            return Ok(Outcome::Running(goal.revision));
        }
        let plan = self.write(goal, plan).await?;
        let payment = self.pay(&plan.restarts, shutdown).await?;
        Ok(self.conclude(goal.revision, &plan, payment))
    }

    /// Takes over a machine that is at its goal already.
    fn adopt(&mut self, goal: &VerifiedBundle, plan: &Plan, observed: &Observed) -> Result<(), MemoryError> {
        let before = self.memory.ledger.clone();
        self.memory.ledger.intend(goal, plan);
        self.memory.ledger.written(goal, observed.containers.as_deref().unwrap_or_default());
        self.memory.ledger.finish();
        if self.memory.ledger == before { Ok(()) } else { self.memory.save_ledger() }
    }

    /// Intent, files, and what is owed from now on: the plan with the containers as they are after the last file.
    async fn write(&mut self, goal: &Arc<VerifiedBundle>, plan: Plan) -> Result<Plan, Trouble> {
        if self.memory.ledger.phase == Phase::Writing {
            self.machine.clean_up(touched(&self.memory.ledger)).await?;
        }
        self.memory.ledger.intend(goal, &plan);
        self.memory.save_ledger()?;
        self.machine.carry_out(goal, plan.steps.clone()).await?;
        // Whoever was started or made meanwhile may have read old files.
        let containers = self.machine.containers().await?.unwrap_or_default();
        self.memory.ledger.written(goal, &containers);
        self.memory.ledger.settle(&containers);
        let (restarts, stopped) = owed_restarts(&self.memory.ledger, &containers);
        // Where nobody waits for a restart, the end of the payment is a moment away and saves the same.
        if !restarts.is_empty() {
            self.memory.save_ledger()?;
        }
        let owed = &self.memory.ledger.owed;
        let untouched = plan.untouched.into_iter().filter(|name| !owed.contains_key(name)).collect();
        Ok(Plan { restarts, stopped, untouched, ..plan })
    }

    /// Restarts what is owed, and finishes the revision if nothing more is.
    async fn pay(&mut self, restarts: &[Restart], shutdown: &Shutdown) -> Result<Payment, MemoryError> {
        let outcomes = self.machine.restart(restarts, shutdown).await;
        let mut payment = Payment::default();
        for restart in restarts {
            let name = &restart.name;
            let (outcome, reason) = match outcomes.get(name) {
                Some(Some(Restarted::Holds)) => {
                    self.memory.ledger.paid(name);
                    (ServiceOutcome::Restarted, list(&restart.files))
                }
                Some(Some(Restarted::Gone)) => {
                    self.memory.ledger.paid(name);
                    continue;
                }
                Some(Some(Restarted::Failed { reason })) => {
                    self.memory.ledger.failed(name, reason);
                    (ServiceOutcome::Failed, reason.clone())
                }
                Some(Some(Restarted::NotTried { reason })) => (ServiceOutcome::Failed, reason.clone()),
                Some(None) | None => {
                    payment.is_interrupted = true;
                    continue;
                }
            };
            if outcome == ServiceOutcome::Failed {
                payment.failed.push(format!("`{name}`: {reason}"));
            }
            payment.services.push(ServiceReport { name: name.clone(), outcome, reason, log: Vec::new() });
        }
        if payment.failed.is_empty() && !payment.is_interrupted {
            self.memory.ledger.finish();
        }
        self.memory.save_ledger()?;
        Ok(payment)
    }

    /// Pays what is owed when all files are in place, without a goal; `None` when nothing is.
    async fn settle(&mut self, shutdown: &Shutdown) -> Result<Option<Outcome>, Trouble> {
        let ledger = &self.memory.ledger;
        let revision = ledger.attempt.as_ref().or(ledger.applied.as_ref()).map(|known| known.revision);
        let (Some(revision), false) = (revision, ledger.owed.is_empty() && ledger.attempt.is_none()) else {
            return Ok(None);
        };
        if ledger.phase == Phase::Writing {
            return Ok(None);
        }
        let containers = self.machine.containers().await?.unwrap_or_default();
        let before = ledger.clone();
        self.memory.ledger.settle(&containers);
        let (restarts, stopped) = owed_restarts(&self.memory.ledger, &containers);
        let is_stopped = |container: &&Container| stopped.iter().any(|left| left.name == container.name);
        self.memory.ledger.still_up(containers.iter().filter(is_stopped));
        if restarts.is_empty() && before.attempt.is_none() {
            if self.memory.ledger != before {
                self.memory.save_ledger()?;
            }
            return Ok(None);
        }
        let plan = Plan { restarts, stopped, ..Plan::nothing(revision) };
        let payment = self.pay(&plan.restarts, shutdown).await?;
        Ok(Some(self.conclude(revision, &plan, payment)))
    }

    fn conclude(&mut self, revision: RevisionId, plan: &Plan, payment: Payment) -> Outcome {
        if payment.is_interrupted {
            return Outcome::Interrupted;
        }
        if payment.failed.is_empty() {
            let restarted = payment.services.len();
            info!(%revision, written = plan.written().count(), removed = plan.removed().count(), restarted, "bundle applied");
            self.tell(Verdict::Running { revision }, plan, payment);
            return Outcome::Running(revision);
        }
        let reason = payment.failed.join("; ");
        let running = self.memory.ledger.running();
        self.tell(Verdict::Refused { revision, running, reason: reason.clone() }, plan, payment);
        Outcome::Failed { reason }
    }

    fn refuse(&mut self, revision: RevisionId, reason: &str) {
        let verdict = Verdict::Refused { revision, running: self.memory.ledger.running(), reason: reason.to_owned() };
        self.tell(verdict, &Plan::nothing(revision), Payment::default());
    }

    /// A machine that is as it should be without having been touched no longer refuses what it refused last.
    fn take_back(&mut self) {
        if let (Some(Verdict::Refused { .. }), Some(revision)) =
            (&self.memory.status.verdict, self.memory.ledger.running())
        {
            self.tell(Verdict::Running { revision }, &Plan::nothing(revision), Payment::default());
        }
    }

    /// Puts down what the leader and `status` are to be told.
    fn tell(&mut self, verdict: Verdict, plan: &Plan, payment: Payment) {
        let mut services = payment.services;
        services.extend(plan.stopped.iter().map(|left| ServiceReport {
            name: left.name.clone(),
            outcome: ServiceOutcome::Stopped,
            reason: format!("its operator stopped it; it reads {} when it is started", list(&left.files)),
            log: Vec::new(),
        }));
        services.extend(plan.untouched.iter().map(|name| ServiceReport {
            name: name.clone(),
            outcome: ServiceOutcome::Untouched,
            reason: "nothing that it reads has changed".to_owned(),
            log: Vec::new(),
        }));
        services.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.memory.status.services.clone_from(&services);
        self.memory.status.verdict = Some(verdict.clone());
        let mut removed: Vec<RelativePath> = plan.removed().cloned().collect();
        removed.sort_unstable();
        self.memory.status.undelivered = Some(Report {
            verdict,
            written: plan.written().cloned().collect(),
            removed,
            read_by_nothing: plan.read_by_nothing.clone(),
            services,
            drift: Vec::new(),
        });
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
            Err(fault) => warn!(error = %Chain(&fault), "the report was not taken; it will be sent again"),
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Unchanged | Outcome::Running(_) => {
                self.failures = 0;
                self.memory.well();
            }
            Outcome::Refused { revision, reason } => {
                self.failures = 0;
                error!(%revision, reason, "bundle refused");
                self.memory.fault(reason.clone());
            }
            Outcome::Failed { reason } => {
                self.failures = self.failures.saturating_add(1);
                error!(reason, "the machine is not at its goal");
                self.memory.fault(reason.clone());
            }
            Outcome::NoGoal { reason } => {
                self.failures = self.failures.saturating_add(1);
                warn!(reason, "the last good files stay");
                self.memory.fault(reason.clone());
            }
            Outcome::Interrupted => {}
        }
    }
}

/// Every file and folder that an unfinished attempt may have begun to make.
fn touched(ledger: &Ledger) -> Vec<RelativePath> {
    ledger.files.keys().chain(ledger.intended.keys()).chain(&ledger.directories).cloned().collect()
}

fn list(files: &BTreeSet<RelativePath>) -> String {
    files.iter().map(RelativePath::as_str).collect::<Vec<_>>().join(", ")
}
