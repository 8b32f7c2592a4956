//! What a follower will do with a bundle that it does not have yet: the same whether it asks itself or its leader asks.

use pconf_bundle::Bundle;

use crate::admit::{Admission, admit, guard};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::observed::Observed;
use crate::plan::{Plan, plan};
use crate::refusal::Refusal;

/// What a follower does when it is offered a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreseen {
    /// It goes there in this way.
    Taken(Box<Plan>),
    /// It does not take this revision again; the text is what it broke.
    Quarantined(String),
    /// It does not take it; nothing is touched.
    Refused(Refusal),
}

/// What a follower that remembers `ledger`, sees `observed` and lets its leader do what `limits` allow does when it is
/// offered `goal`. Whether its operator has suspended it is for the caller: it does this once it goes on.
#[must_use]
pub fn foresee(goal: &Bundle, ledger: &Ledger, limits: &Limits, observed: &Observed) -> Foreseen {
    let planned = admit(goal, ledger).and_then(|admission| {
        guard(goal, ledger, false)?;
        let plan = plan(goal, ledger, observed)?;
        // What has begun was allowed when it came.
        let has_begun = ledger.attempt.as_ref().is_some_and(|attempt| attempt.revision == goal.revision);
        if !has_begun {
            limits.judge(&plan)?;
        }
        Ok((admission, plan))
    });
    match (planned, &ledger.quarantined) {
        (Err(refusal), _) => Foreseen::Refused(refusal),
        (Ok((Admission::Quarantined, _)), Some(known)) => Foreseen::Quarantined(known.reason.clone()),
        (Ok((Admission::Quarantined | Admission::Taken, plan)), _) => Foreseen::Taken(Box::new(plan)),
    }
}
