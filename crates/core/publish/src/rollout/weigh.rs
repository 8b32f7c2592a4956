//! What the machines' words mean for a rollout.

use pconf_bundle::Verdict;
use pconf_names::RevisionId;

use super::{Rollout, Stage, Turn, Word};

impl Rollout {
    /// Takes in what the machines say, each beside its word.
    pub(super) fn hear(&mut self, words: &[Word<'_>], now: u64) {
        let (goal, limit, silent_after) = (self.goal, self.policy.give_up_after, self.policy.silent_after.seconds);
        let is_limited = !self.policy.waits_for_nobody();
        for (turn, word) in self.machines.values_mut().zip(words) {
            let speaks_of = |revision| word.verdict.and_then(|verdict| about(verdict, revision)).is_some();
            turn.is_busy &= !speaks_of(goal) && !turn.held.is_some_and(speaks_of);
            // What it says of the goal it was told, if by an earlier life of this leader.
            if let Some(stage) = word.verdict.and_then(|verdict| about(verdict, goal)) {
                turn.stage = stage;
            } else if let Stage::Offered { at, fetched } = &mut turn.stage {
                *fetched |= word.fetched == Some(goal);
                if *fetched && now >= *at + limit.seconds {
                    turn.stage = Stage::Failed { reason: format!("neither done nor back after {}", limit.exact()) };
                } else if !*fetched && is_limited && !is_heard(*word, *at, silent_after, now) {
                    // It has not taken the goal, and may come back when the turn of others has come.
                    turn.stage = Stage::Waiting;
                }
            }
        }
    }

    /// Whether it is on its way to the goal, as far as is known.
    pub(super) fn is_in_flight(&self, turn: &Turn, word: Word<'_>, now: u64) -> bool {
        match turn.stage {
            Stage::Offered { fetched: true, .. } => true,
            Stage::Offered { at, fetched: false } => self.is_heard_since(word, at, now) && !is_suspended(word),
            Stage::Waiting | Stage::Done | Stage::Failed { .. } => false,
        }
    }

    /// Whether it waits for its turn and could take it. Where nobody waits for anybody, a silent machine finds the goal when
    /// it comes back.
    pub(super) fn could_go(&self, turn: &Turn, word: Word<'_>, now: u64) -> bool {
        let is_there = || self.is_heard_since(word, 0, now) && !is_suspended(word);
        turn.stage == Stage::Waiting && (self.policy.waits_for_nobody() || is_there())
    }

    /// Whether the rollout is not through with it.
    pub(super) fn is_in_question(&self, turn: &Turn, word: Word<'_>, now: u64) -> bool {
        self.is_in_flight(turn, word, now) || self.could_go(turn, word, now)
    }

    /// When time alone changes what it counts as.
    pub(super) fn changes_at(&self, turn: &Turn, word: Word<'_>) -> Option<u64> {
        let silent_after = self.policy.silent_after.seconds;
        match turn.stage {
            Stage::Offered { at, fetched: true } => Some(at + self.policy.give_up_after.seconds),
            Stage::Offered { at, fetched: false } => Some(word.heard.unwrap_or(0).max(at) + silent_after),
            Stage::Waiting => Some(word.heard? + silent_after),
            Stage::Done | Stage::Failed { .. } => None,
        }
    }

    /// Whether it was heard lately; from `since` on it has as long to speak.
    fn is_heard_since(&self, word: Word<'_>, since: u64, now: u64) -> bool {
        is_heard(word, since, self.policy.silent_after.seconds, now)
    }
}

fn is_heard(word: Word<'_>, since: u64, silent_after: u64, now: u64) -> bool {
    word.heard.unwrap_or(0).max(since) + silent_after > now
}

/// How far a machine is with the goal by its own word; `None` where that speaks of something else.
fn about(verdict: &Verdict, goal: RevisionId) -> Option<Stage> {
    match verdict {
        Verdict::Running { revision } => (*revision == goal).then_some(Stage::Done),
        Verdict::Refused { revision, reason, .. } | Verdict::RolledBack { revision, reason, .. } => {
            (*revision == goal).then(|| Stage::Failed { reason: reason.clone() })
        }
        Verdict::Unfinished { .. } | Verdict::Suspended { .. } => None,
    }
}

fn is_suspended(word: Word<'_>) -> bool {
    matches!(word.verdict, Some(Verdict::Suspended { .. }))
}

/// Whether it is down, or may be: it is at work on something, or was when it was last heard.
pub(super) fn is_down(turn: &Turn, word: Word<'_>, goal: RevisionId) -> bool {
    let speaks_of_goal = || word.verdict.and_then(|verdict| about(verdict, goal)).is_some();
    let is_at_work = match turn.stage {
        Stage::Waiting => turn.is_busy,
        Stage::Offered { fetched, .. } => fetched || turn.is_busy,
        Stage::Done => false,
        Stage::Failed { .. } => !speaks_of_goal(),
    };
    is_at_work || matches!(word.verdict, Some(Verdict::Unfinished { .. }))
}
