//! What an operator can ask of a follower, whether a daemon runs or not: the same question on a socket or in the process of
//! the command itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use pconf_bundle::ServiceReport;
use pconf_containers::{Containers, Docker};
use pconf_daemon::{Shutdown, ask};
use pconf_names::RevisionId;
use pconf_plan::Suspended;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::cycle::{Acceptance, Follower, Outcome};
use crate::identity::Identity;
use crate::leader::Leader;
use crate::machine::Machine;
use crate::memory::{Memory, Status, now};

/// A cycle may wait for the health of many services.
const LONGEST: Duration = Duration::from_hours(1);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Wish {
    /// One cycle.
    Once {
        /// Whether a revision that changes suspiciously much is meant.
        accept: bool,
    },
    /// Take the revision that is in quarantine once more.
    Retry {
        /// Whether a revision that changes suspiciously much is meant.
        accept: bool,
    },
    /// Go back to the revision that ran before.
    Rollback,
    /// Touch nothing from now on.
    Suspend {
        /// Why.
        reason: String,
    },
    /// Go on.
    Resume,
    /// Nothing; only tell.
    Tell,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The outcome of the cycle, if there was one.
    pub(crate) outcome: Option<Outcome>,
    /// The last revision that ran wholly.
    pub(crate) running: Option<RevisionId>,
    /// What became of the services in it.
    pub(crate) services: Vec<ServiceReport>,
    /// What the follower tells about itself.
    pub(crate) status: Status,
}

/// A wish on its way to the one that grants it.
pub(crate) type Errand = (Wish, oneshot::Sender<Answer>);

/// Where a running follower listens for wishes.
pub(crate) fn socket(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// Hands a wish to the follower that grants them, and waits for the answer.
pub(crate) async fn hand_in(errands: mpsc::Sender<Errand>, wish: Wish) -> Option<Answer> {
    let (answer, answered) = oneshot::channel();
    errands.send((wish, answer)).await.ok()?;
    answered.await.ok()
}

/// Has a wish granted: by the daemon that works in this state folder, or here where none does.
pub(crate) async fn grant(config: &Config, wish: Wish) -> anyhow::Result<Answer> {
    let path = socket(&config.state);
    let answered = ask::<Wish, Answer>(&path, &wish, LONGEST);
    if let Some(answer) = answered.await.context("the running follower does not answer")? {
        return Ok(answer);
    }
    let memory = Memory::open(&config.state)?;
    let machine = Machine::new(&config.root, config.docker.as_deref().map(Docker::at));
    let identity = Identity::open(memory.folder(), &config.ring)?;
    let mut follower = Follower::new(Leader::new(config, identity)?, machine, memory, config);
    let mut shutdown = Shutdown::by_signals()?;
    Ok(Box::pin(follower.grant(wish, &mut shutdown)).await)
}

impl<C: Containers> Follower<C> {
    /// Does what is wished.
    pub(crate) async fn grant(&mut self, wish: Wish, shutdown: &mut Shutdown) -> Answer {
        self.telling.look_closely();
        let acceptance = |accept| if accept { Acceptance::Given } else { Acceptance::Needed };
        let outcome = match wish {
            Wish::Tell => None,
            Wish::Once { accept } => Some(self.cycle_accepting(acceptance(accept), shutdown).await),
            Wish::Rollback => Some(self.roll_back(shutdown).await),
            Wish::Retry { accept } => {
                // Saved with the first thing that is done about it; a crash before that leaves it where it was.
                self.memory.ledger.quarantined = None;
                Some(self.cycle_accepting(acceptance(accept), shutdown).await)
            }
            Wish::Suspend { reason } => {
                let since = now();
                Some(self.with_suspension(Some(Suspended { reason, since }), shutdown).await)
            }
            Wish::Resume => Some(self.with_suspension(None, shutdown).await),
        };
        let answer = self.tell_all();
        let services = match outcome {
            // Otherwise they are of an earlier cycle.
            None
            | Some(
                Outcome::Unchanged
                | Outcome::Refused { .. }
                | Outcome::NoGoal { .. }
                | Outcome::Suspended { .. }
                | Outcome::Interrupted,
            ) => Vec::new(),
            Some(_) => answer.status.services.clone(),
        };
        Answer { outcome, services, ..answer }
    }

    /// What there is to tell.
    pub(crate) fn tell_all(&self) -> Answer {
        let running = self.memory.ledger.running();
        Answer { outcome: None, running, services: Vec::new(), status: self.memory.status.clone() }
    }

    async fn with_suspension(&mut self, suspended: Option<Suspended>, shutdown: &mut Shutdown) -> Outcome {
        self.memory.ledger.suspended = suspended;
        match self.memory.save_ledger() {
            Ok(()) => self.cycle(shutdown).await,
            Err(error) => Outcome::Failed { reason: pconf_daemon::Chain(&error).to_string() },
        }
    }
}
