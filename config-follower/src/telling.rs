//! What the leader is told of what this machine decides by, so that it can say before a change what will come of it. Told
//! when it has changed, never because time has passed.

use pconf_bundle::Code;
use pconf_containers::Containers;
use pconf_daemon::{Chain, Shutdown};
use pconf_names::Digest;
use pconf_plan::Snapshot;
use tracing::{debug, info, warn};

use crate::cycle::{Follower, Outcome};
use crate::leader::PullError;
use crate::machine::{Glimpses, MachineError};

/// What was told, and whether there may be more.
#[derive(Debug)]
pub(crate) struct Telling {
    /// What the leader has taken in this life of the program, or does not want.
    told: Option<Digest>,
    /// The containers as the last cycle saw them.
    seen: Glimpses,
    /// A revision that was refused again is no news.
    refused: Option<Outcome>,
    is_due: bool,
}

impl Default for Telling {
    fn default() -> Self {
        Self { told: None, seen: Glimpses::new(), refused: None, is_due: true }
    }
}

impl Telling {
    /// There may be something new to tell.
    pub(crate) fn look_closely(&mut self) {
        self.is_due = true;
    }

    /// The containers as they are seen in passing, where there are any.
    pub(crate) fn notice(&mut self, glimpses: Option<Glimpses>) {
        let glimpses = glimpses.unwrap_or_default();
        if self.seen != glimpses {
            self.is_due = true;
            self.seen = glimpses;
        }
    }

    /// What a cycle came to.
    pub(crate) fn heed(&mut self, outcome: &Outcome) {
        let is_news = match outcome {
            Outcome::Unchanged | Outcome::NoGoal { .. } | Outcome::Interrupted => return,
            Outcome::Refused { .. } => self.refused.replace(outcome.clone()).as_ref() != Some(outcome),
            // Nothing is seen in passing then.
            Outcome::Suspended { .. } => true,
            Outcome::Running { .. } | Outcome::RolledBack { .. } | Outcome::Failed { .. } => {
                self.refused = None;
                true
            }
        };
        self.is_due |= is_news;
    }
}

impl<C: Containers> Follower<C> {
    /// Tells the leader what this machine decides by, where that is something else than it was told.
    pub(crate) async fn tell_snapshot(&mut self, shutdown: &mut Shutdown) {
        if !self.telling.is_due {
            return;
        }
        let snapshot = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(fault) => {
                // What it means for the machine the cycle has said.
                debug!(error = %Chain(&fault), "nothing can be told of the containers now");
                return;
            }
        };
        let digest = snapshot.digest();
        if self.telling.told == Some(digest) {
            self.telling.is_due = false;
            return;
        }
        // Cancel-safe: what was taken twice says the same twice.
        let told = tokio::select! {
            told = self.leader.tell(&snapshot) => told,
            () = shutdown.requested() => return,
        };
        match told {
            Ok(()) => {}
            Err(PullError::Refused {
                code: code @ (Code::NotFound | Code::BadRequest | Code::BodyTooLarge), ..
            }) => {
                info!(?code, "the leader cannot use what is told of the containers: are both sides of one version?");
            }
            Err(fault) => {
                warn!(error = %Chain(&fault), "the state of this machine was not taken; it will be sent again");
                return;
            }
        }
        self.telling.told = Some(digest);
        self.telling.is_due = false;
    }

    async fn snapshot(&self) -> Result<Snapshot, MachineError> {
        let ledger = &self.memory.ledger;
        let observed = self.machine.survey(ledger).await?;
        Ok(Snapshot::new(ledger, observed, &self.limits, &self.memory.status.took))
    }
}
