//! How a rollout begins: at a new revision, wherever the machines are at that moment.

use std::collections::BTreeSet;

use pconf_bundle::Bundle;
use pconf_names::{MachineName, RevisionId};
use pconf_platform::Policy;
use serde::{Deserialize, Serialize};

use super::{Phase, Rollout, Stage, Turn};
use crate::publication::Publication;

/// Where a rollout leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Course {
    /// To something new.
    Forward,
    /// Back to what was before a revision.
    Back {
        /// That revision.
        from: RevisionId,
        /// Why.
        reason: String,
    },
}

/// What a rollout begins with, beside its goal.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Where it leads.
    pub course: Course,
    /// By which rules.
    pub policy: Policy,
    /// Only these machines, until it is resumed.
    pub only: Option<BTreeSet<MachineName>>,
    /// When it goes back unless it is confirmed until then.
    pub confirm_by: Option<u64>,
    /// The time.
    pub now: u64,
}

impl Rollout {
    /// The rollout of `goal`, which takes the place of the one before; without that, all machines are at what was published
    /// `before`. `held` finds what a machine is told at a revision.
    #[must_use]
    pub fn begin<'p>(
        goal: &Publication,
        last: Option<&Self>,
        before: Option<RevisionId>,
        held: impl Fn(RevisionId, &MachineName) -> Option<&'p Bundle>,
        begin: Begin,
    ) -> Self {
        let turn = |name: &MachineName, bundle: &Bundle| {
            let was = last.and_then(|last| Some((last, last.machines.get(name)?)));
            let told = match was {
                // It has not taken what it was offered, and is offered that no more.
                Some((_, Turn { stage: Stage::Offered { fetched: false, .. }, held: Some(held), .. })) => Some(*held),
                Some((last, _)) => last.told(name),
                None => before,
            };
            let back = match was {
                Some((last, Turn { stage: Stage::Done, .. })) => Some(last.goal),
                Some((_, turn)) => turn.before,
                None => before,
            };
            let held_at = |revision: &RevisionId| held(*revision, name).is_some();
            let (told, back) = (told.filter(held_at), back.filter(held_at));
            let is_affected = told.is_none_or(|told| held(told, name).is_none_or(|told| !says_the_same(told, bundle)));
            let is_busy = was.is_some_and(|(_, turn)| {
                turn.is_busy || matches!(turn.stage, Stage::Offered { fetched: true, .. } | Stage::Failed { .. })
            });
            Turn { role: bundle.role.clone(), held: told, before: back, is_busy, is_affected, stage: Stage::Waiting }
        };
        Self {
            goal: goal.revision,
            course: begin.course,
            policy: begin.policy,
            phase: Phase::Going,
            machines: goal.machines.iter().map(|(name, bundle)| (name.clone(), turn(name, bundle))).collect(),
            only: begin.only,
            not_before: None,
            confirm_by: begin.confirm_by,
            began: begin.now,
        }
    }

    /// How many machines get other files or rules, those left out that had none yet.
    #[must_use]
    pub fn affected(&self) -> usize {
        self.machines.values().filter(|turn| turn.is_affected && turn.held.is_some()).count()
    }
}

/// Whether two bundles say the same of their machine.
#[must_use]
pub fn says_the_same(one: &Bundle, other: &Bundle) -> bool {
    one.role == other.role
        && one.directories == other.directories
        && one.files == other.files
        && one.services == other.services
        && one.compose == other.compose
}
