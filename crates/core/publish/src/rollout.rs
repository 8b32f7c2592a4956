//! A revision on its way through the fleet: who gets it when, and what follows from what the machines say.
//!
//! A value and a function. The value says, for every machine, what it is held at, what it would go back to and how far it
//! is with the goal; [`Rollout::advance`] looks at the machines' words and the time and decides whom the goal is offered to
//! next, whether to halt, and whether to go back. It is kept on disk after every change and before anybody hears of it, so
//! a leader that is killed goes on where it was. Time is in seconds of a clock that is never set.

mod begin;
mod next;
mod orders;
mod weigh;

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::Verdict;
use pconf_names::{MachineName, RevisionId, RoleName};
use pconf_platform::Policy;
use serde::{Deserialize, Serialize};

pub use begin::{Begin, Course, says_the_same};
pub use orders::NotNow;

/// A revision on its way through the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// The revision that all machines are to get.
    pub goal: RevisionId,
    /// Where it leads.
    pub course: Course,
    /// By which rules.
    pub policy: Policy,
    /// How far it is.
    pub phase: Phase,
    /// Every machine of the goal.
    pub machines: BTreeMap<MachineName, Turn>,
    /// Only these, until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<BTreeSet<MachineName>>,
    /// When the next batch may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// When it goes back unless it is confirmed until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<u64>,
    /// When it began.
    pub began: u64,
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Phase {
    /// Machines are on their way, or waited for.
    Going,
    /// Nobody else is offered the goal until it is resumed.
    Paused {
        /// Who wants that, or why.
        reason: String,
    },
    /// As paused, because too many machines failed.
    Halted {
        /// Which, and why.
        reason: String,
    },
    /// All machines are done; it goes back unless it is confirmed.
    Unconfirmed,
    /// All machines are done.
    Over,
}

/// One machine's part in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Turn {
    /// Its role.
    pub role: RoleName,
    /// What it is told until its turn comes; a new machine is told the goal.
    pub held: Option<RevisionId>,
    /// What it would go back to.
    pub before: Option<RevisionId>,
    /// Whether it may still be at work on what it is held at, for all that it has said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_busy: bool,
    /// Whether the goal says anything else to it than what it is held at.
    pub is_affected: bool,
    /// How far it is.
    pub stage: Stage,
}

/// How far a machine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stage {
    /// Its turn has not come.
    Waiting,
    /// It is told to go to the goal.
    Offered {
        /// Since when.
        at: u64,
        /// Whether it has taken the goal's files: from then on it is at work, however long it is silent.
        fetched: bool,
    },
    /// It runs the goal and is well.
    Done,
    /// It did not take the goal.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What is known of a machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Word<'a> {
    /// When it was last heard.
    pub heard: Option<u64>,
    /// The newest revision whose files it has fetched.
    pub fetched: Option<RevisionId>,
    /// What it said last about itself.
    pub verdict: Option<&'a Verdict>,
}

/// What is known of the fleet.
pub trait Words {
    /// What is known of a machine; nothing, where it was never heard.
    fn word(&self, machine: &MachineName) -> Word<'_>;
}

/// What a look at the fleet came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the rollout is another one than before, and has to be kept before anybody hears of it.
    pub has_changed: bool,
    /// Why everybody who was offered the goal has to go back to what was before, if so.
    pub goes_back: Option<String>,
    /// When to look again, if nothing is heard until then.
    pub look_again_at: Option<u64>,
}

impl Turn {
    /// The revision whose content it gets when the rollout is given up.
    #[must_use]
    pub fn returns_to(&self) -> Option<RevisionId> {
        if self.stage == Stage::Waiting { self.held } else { self.before }
    }

    /// Whether it is told the goal.
    #[must_use]
    pub fn is_told(&self) -> bool {
        match self.stage {
            Stage::Waiting => self.held.is_none(),
            Stage::Offered { .. } | Stage::Done | Stage::Failed { .. } => true,
        }
    }
}

impl Rollout {
    /// The machines that did not take the goal, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&MachineName, &str)> {
        self.machines.iter().filter_map(|(name, turn)| match &turn.stage {
            Stage::Failed { reason } => Some((name, reason.as_str())),
            Stage::Waiting | Stage::Offered { .. } | Stage::Done => None,
        })
    }

    /// Whether it is for this machine, as long as it is not resumed.
    fn is_for(&self, machine: &MachineName) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(machine))
    }

    /// The revision that a machine is told; `None` for one that the goal does not know.
    #[must_use]
    pub fn told(&self, machine: &MachineName) -> Option<RevisionId> {
        let turn = self.machines.get(machine)?;
        Some(if turn.is_told() { self.goal } else { turn.held.unwrap_or(self.goal) })
    }

    /// Whether a machine that asks has to wait until it is known on the disk that it takes the goal: then it counts as on its way
    /// whatever becomes of it and of the leader.
    #[must_use]
    pub fn has_to_note(&self, machine: &MachineName) -> bool {
        let stage = self.machines.get(machine).map(|turn| &turn.stage);
        matches!(stage, Some(Stage::Offered { fetched: false, .. })) && !self.policy.waits_for_nobody()
    }

    /// The revisions beside the goal that somebody is told, or may have to go back to.
    #[must_use]
    pub fn older(&self) -> BTreeSet<RevisionId> {
        if self.phase == Phase::Over {
            return BTreeSet::new();
        }
        let turns = self.machines.values();
        turns.flat_map(|turn| turn.held.into_iter().chain(turn.before)).filter(|known| *known != self.goal).collect()
    }

    /// Whether nothing more happens by itself: no machine is on its way, and none that is heard waits for its turn.
    #[must_use]
    pub fn rests(&self, words: &impl Words, now: u64) -> bool {
        match self.phase {
            Phase::Over | Phase::Unconfirmed => true,
            Phase::Paused { .. } | Phase::Halted { .. } => {
                !self.machines.iter().any(|(name, turn)| self.is_in_flight(turn, words.word(name), now))
            }
            Phase::Going => !self.machines.iter().any(|(name, turn)| self.is_in_question(turn, words.word(name), now)),
        }
    }
}
