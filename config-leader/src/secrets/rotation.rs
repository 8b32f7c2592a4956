//! Rotations with an overlap, one phase after the other: who checks learns the new value before anybody uses it, and forgets
//! the old one when nobody does any more.
//!
//! The envelope of the secret holds the phase, and the revision in which everybody has been told of it. Whatever is killed
//! when, the next look at the folder goes on from there: a phase without its revision is published again, which is the same
//! revision; a phase with it waits until every machine that reads the secret has reported to run it.

use std::collections::BTreeSet;

use pconf_names::{MachineName, RevisionId};
use tracing::info;

use crate::folder::Folder;
use crate::inputs::Inputs;
use crate::orders::Actor;
use crate::secrets::{Kept, Phase, Stored, note, replace};

/// Begins the next phase of every rotation whose present one is complete; `runs` tells what a machine is known to run.
/// Whether anything was changed.
pub(crate) fn advance(
    folder: &Folder,
    inputs: &Inputs,
    runs: impl Fn(&MachineName) -> Option<RevisionId>,
) -> anyhow::Result<bool> {
    let mut is_changed = false;
    for wanted in &inputs.looked.wanted {
        let Some(stored) = inputs.kept.get(&wanted.id) else { continue };
        if waits_for(stored, &wanted.readers, &runs).is_none_or(|waited_for| !waited_for.is_empty()) {
            continue;
        }
        let Some(next) = stored.advanced() else { continue };
        let what = match next.rotation.as_ref().map(|rotating| rotating.phase) {
            Some(Phase::Announce) | None => "secret.retire",
            Some(Phase::Switch) => "secret.switch",
        };
        if replace(folder, &wanted.id, stored, &next, &Actor::Leader, what)? {
            info!(secret = %wanted.id, step = what, "the rotation goes on");
            is_changed = true;
        }
    }
    Ok(is_changed)
}

/// The readers that are not known to be at the present phase yet; `None` where no rotation is under way, or its phase is not
/// published yet.
pub(crate) fn waits_for<'m>(
    stored: &Stored,
    readers: &'m BTreeSet<MachineName>,
    runs: impl Fn(&MachineName) -> Option<RevisionId>,
) -> Option<Vec<&'m MachineName>> {
    let gate = stored.rotation.as_ref()?.gate?;
    Some(readers.iter().filter(|machine| runs(machine).is_none_or(|running| running < gate)).collect())
}

/// Notes that `revision`, which is published, was made with these values.
pub(crate) fn note_gates(folder: &Folder, kept: &Kept, revision: RevisionId) -> anyhow::Result<()> {
    for (id, stored) in kept {
        if let Some(gated) = stored.gated(revision) {
            // Where somebody else has changed it meanwhile, the next look sees that.
            note(folder, id, stored, &gated)?;
        }
    }
    Ok(())
}

/// Forgets that everybody was told of a phase in `revision`: the fleet goes back from it.
pub(crate) fn withdraw_gates(folder: &Folder, kept: &Kept, revision: RevisionId) -> anyhow::Result<()> {
    for (id, stored) in kept {
        if let Some(open) = stored.ungated(revision) {
            note(folder, id, stored, &open)?;
        }
    }
    Ok(())
}

/// Whether any rotation is not complete.
pub(crate) fn is_under_way(kept: &Kept) -> bool {
    kept.values().any(|stored| stored.rotation.is_some())
}
