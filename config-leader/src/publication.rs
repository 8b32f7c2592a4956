//! What was published, and what the admin has accepted of it: small files that outlive every process.
//!
//! `serve` alone writes the first, which is in its state folder. `accept` writes the second, which is where `serve` hears of
//! changes: a command reaches a running leader by its folder only.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use pconf_daemon::{StateError, from_state, to_state};
use pconf_names::RevisionId;
use pconf_publish::Publication;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::folder::Folder;

/// A published revision, whole, so that a leader with broken inputs serves it after a restart, too. The newest is the last
/// one; older ones stay while a machine is told them.
const PUBLICATION: &str = "publication-";
const ACCEPTED: &str = "accepted.json";

/// So often a revision may be replaced by a newer one while it is read.
const MOST_TRIES: usize = 5;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    revision: RevisionId,
}

/// The last published revision, if there is one. Whoever reads it while another one is published sees either.
pub(crate) fn read(folder: &Folder) -> anyhow::Result<Option<Publication>> {
    // Another one may take its place between the two looks.
    for _ in 0..MOST_TRIES {
        let Some(newest) = kept(folder)?.pop_last() else { return Ok(None) };
        if let Some(publication) = read_at(folder, newest)? {
            return Ok(Some(publication));
        }
    }
    anyhow::bail!("revisions are published faster than they can be read")
}

/// A published revision, if it is still kept.
pub(crate) fn read_at(folder: &Folder, revision: RevisionId) -> anyhow::Result<Option<Publication>> {
    let path = path(revision);
    let Some(bytes) = folder.sealed(&path)? else { return Ok(None) };
    let file = folder.path().join(&path);
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
    Ok(folder.vault()?.write(&path(publication.revision), &bytes)?)
}

/// Removes the revisions that nobody wants any more.
pub(crate) fn forget(folder: &Folder, is_wanted: impl Fn(RevisionId) -> bool) -> anyhow::Result<()> {
    for revision in kept(folder)?.into_iter().filter(|revision| !is_wanted(*revision)) {
        let file = folder.path().join(path(revision));
        std::fs::remove_file(&file).with_context(|| format!("cannot remove `{}`", file.display()))?;
    }
    Ok(())
}

/// The revisions on the disk.
fn kept(folder: &Folder) -> anyhow::Result<BTreeSet<RevisionId>> {
    let state = folder.state();
    let entries = match std::fs::read_dir(&state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", state.display())),
    };
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
    let names = names.with_context(|| format!("cannot read `{}`", state.display()))?;
    Ok(names.iter().filter_map(|name| name.to_str()?.strip_prefix(PUBLICATION)?.parse().ok()).collect())
}

fn path(revision: RevisionId) -> String {
    format!("state/{PUBLICATION}{revision}")
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
