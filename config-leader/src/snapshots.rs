//! `state/snapshots/`: what each machine last told of what it decides by. It is read when somebody plans and is in nobody's
//! way otherwise: with ten thousand machines it is too much to be kept in memory.

use pconf_daemon::{Chain, from_state, to_state};
use pconf_files::StateFolder;
use pconf_names::MachineName;
use pconf_plan::Snapshot;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::folder::Folder;

const SNAPSHOTS: &str = "snapshots";

/// What a machine told, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) snapshot: Snapshot,
}

/// The folder, for the one process that writes there.
pub(crate) fn open(folder: &Folder) -> anyhow::Result<StateFolder> {
    Ok(StateFolder::open(&folder.state().join(SNAPSHOTS))?)
}

/// Keeps what a machine told, in place of what it told before. A power cut may lose it: it is told again with the next change.
pub(crate) fn keep(kept: &StateFolder, machine: &MachineName, told: &Told) -> anyhow::Result<()> {
    Ok(kept.note(machine.as_str(), &to_state(told)?)?)
}

/// Forgets what a machine told: another one has its name.
pub(crate) fn forget(folder: &Folder, machine: &MachineName) -> anyhow::Result<()> {
    match std::fs::remove_file(folder.state().join(SNAPSHOTS).join(machine.as_str())) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// What a machine last told, if it has and that can be understood.
pub(crate) fn read(folder: &Folder, machine: &MachineName) -> anyhow::Result<Option<Told>> {
    let path = folder.state().join(SNAPSHOTS).join(machine.as_str());
    let Some(bytes) = pconf_files::read_state(&path)? else { return Ok(None) };
    let told = from_state(&bytes);
    if let Err(error) = &told {
        warn!(%machine, error = %Chain(error), "what the machine told cannot be understood");
    }
    Ok(told.ok())
}
