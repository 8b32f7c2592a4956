//! Whether a revision that the leader offers may be taken at all.

use std::collections::BTreeMap;

use pconf_bundle::{Bundle, suspicions};
use pconf_names::RelativePath;

use crate::fingerprint::fingerprint;
use crate::ledger::Ledger;
use crate::refusal::Refusal;

/// What an offered revision is to this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is taken: a new one, an unfinished one, or the one that runs.
    Taken,
    /// It broke this machine, or its operator went back from it: it is not tried again.
    Quarantined,
}

/// Judges what the leader offers. A revision only grows, and one number has one content.
pub fn admit(goal: &Bundle, ledger: &Ledger) -> Result<Admission, Refusal> {
    let quarantined = ledger.quarantined.as_ref().map(|quarantined| &quarantined.revision);
    let known = ledger.applied.iter().chain(&ledger.previous).chain(&ledger.attempt).chain(quarantined);
    let newest = known.clone().map(|known| known.revision).max();
    if let Some(known) = newest.filter(|known| goal.revision < *known) {
        return Err(Refusal::Older { offered: goal.revision, known });
    }
    let of_its_number = known.filter(|known| known.revision == goal.revision);
    if of_its_number.into_iter().any(|known| known.fingerprint != fingerprint(goal)) {
        return Err(Refusal::OtherContent(goal.revision));
    }
    let is_quarantined = quarantined.is_some_and(|known| known.revision == goal.revision);
    Ok(if is_quarantined { Admission::Quarantined } else { Admission::Taken })
}

/// Refuses a revision that changes suspiciously much of what is in place, unless somebody has accepted it.
pub fn guard(goal: &Bundle, ledger: &Ledger, is_accepted: bool) -> Result<(), Refusal> {
    let begun = ledger.attempt.as_ref().map(|attempt| attempt.revision);
    if is_accepted || goal.accepted || begun == Some(goal.revision) {
        return Ok(());
    }
    let before: BTreeMap<RelativePath, u64> =
        ledger.files.iter().map(|(path, record)| (path.clone(), record.size)).collect();
    let after: BTreeMap<RelativePath, u64> =
        goal.files.iter().map(|file| (file.path.clone(), file.content.as_bytes().len() as u64)).collect();
    let found = suspicions(&before, &after);
    if found.is_empty() { Ok(()) } else { Err(Refusal::Suspicious { revision: goal.revision, found }) }
}
