//! What an admin can say to a rollout.

use super::{Phase, Rollout};

/// What is said does not fit how far the rollout is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// Every machine is done.
    #[error("the rollout of {0} is over: every machine is done with it")]
    Over(pconf_names::RevisionId),
    /// It goes on already.
    #[error("the rollout of {0} is not paused")]
    Going(pconf_names::RevisionId),
    /// It stands still already.
    #[error("the rollout of {0} stands still already: {1}")]
    Still(pconf_names::RevisionId, String),
    /// Nobody waits for a word.
    #[error("the rollout of {0} does not wait to be confirmed")]
    NotAsked(pconf_names::RevisionId),
}

impl Rollout {
    /// Offers the goal to nobody else until it is resumed.
    pub fn pause(&mut self, reason: String) -> Result<(), NotNow> {
        match &self.phase {
            Phase::Going => {
                self.phase = Phase::Paused { reason };
                Ok(())
            }
            Phase::Paused { reason } | Phase::Halted { reason } => Err(NotNow::Still(self.goal, reason.clone())),
            Phase::Unconfirmed | Phase::Over => Err(NotNow::Over(self.goal)),
        }
    }

    /// Goes on: with all machines, and in spite of those that failed so far.
    pub fn resume(&mut self) -> Result<(), NotNow> {
        match &self.phase {
            Phase::Paused { .. } | Phase::Halted { .. } => {
                self.phase = Phase::Going;
                self.only = None;
                let failed = u32::try_from(self.failures().count()).unwrap_or(u32::MAX);
                self.policy.failures = self.policy.failures.max(failed);
                Ok(())
            }
            Phase::Going => Err(NotNow::Going(self.goal)),
            Phase::Unconfirmed | Phase::Over => Err(NotNow::Over(self.goal)),
        }
    }

    /// Stays, whatever the time.
    pub fn confirm(&mut self) -> Result<(), NotNow> {
        if self.confirm_by.take().is_none() {
            return Err(NotNow::NotAsked(self.goal));
        }
        if self.phase == Phase::Unconfirmed {
            self.phase = Phase::Over;
        }
        Ok(())
    }

    /// Whether there is something to go back from.
    pub fn can_abort(&self) -> Result<(), NotNow> {
        match self.phase {
            Phase::Over => Err(NotNow::Over(self.goal)),
            Phase::Going | Phase::Paused { .. } | Phase::Halted { .. } | Phase::Unconfirmed => Ok(()),
        }
    }
}
