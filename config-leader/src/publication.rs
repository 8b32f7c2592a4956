//! What was published, and what the admin has accepted of it: two small files that outlive every process.
//!
//! `serve` alone writes the first, which is in its state folder. `accept` writes the second, which is where `serve` hears of
//! changes: a command reaches a running leader by its folder only.

use std::path::PathBuf;

use anyhow::Context as _;
use pconf_daemon::{StateError, from_state, to_state};
use pconf_names::RevisionId;
use pconf_publish::Publication;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::folder::Folder;

/// The last published revision, whole, so that a leader with broken inputs serves it after a restart, too.
const PUBLICATION: &str = "state/publication";
const ACCEPTED: &str = "accepted.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    revision: RevisionId,
}

/// The last published revision, if there is one. Whoever reads it while another one is published sees either.
pub(crate) fn read(folder: &Folder) -> anyhow::Result<Option<Publication>> {
    let Some(bytes) = folder.sealed(PUBLICATION)? else { return Ok(None) };
    let file = folder.path().join(PUBLICATION);
    from_state(&bytes).map(Some).map_err(|error| {
        let context = match error {
            StateError::Foreign { .. } => format!("`{}` cannot be used", file.display()),
            StateError::Damaged(_) => format!(
                "`{}` cannot be used: restore it from a backup (without it revisions would count from 1 again, and \
                 followers refuse to go back)",
                file.display()
            ),
        };
        anyhow::Error::new(error).context(context)
    })
}

/// Keeps a revision, durably.
pub(crate) fn keep(folder: &Folder, publication: &Publication) -> anyhow::Result<()> {
    let bytes = Zeroizing::new(to_state(publication).context("cannot write the revision as JSON")?);
    Ok(folder.vault()?.write(PUBLICATION, &bytes)?)
}

/// Notes that a revision may change as much as it does. The caller holds the folder's lock.
pub(crate) fn accept(folder: &Folder, revision: RevisionId) -> anyhow::Result<()> {
    let bytes = to_state(&Accepted { revision }).context("cannot write the revision as JSON")?;
    Ok(pconf_files::write_state(&accepted_file(folder), &bytes)?)
}

/// The revision that the admin accepted last.
pub(crate) fn accepted(folder: &Folder) -> anyhow::Result<Option<RevisionId>> {
    let file = accepted_file(folder);
    let Some(bytes) = pconf_files::read_state(&file)? else { return Ok(None) };
    let Accepted { revision } = from_state(&bytes)
        .with_context(|| format!("`{}` cannot be used: run `config-leader accept` again", file.display()))?;
    Ok(Some(revision))
}

fn accepted_file(folder: &Folder) -> PathBuf {
    folder.path().join(ACCEPTED)
}
