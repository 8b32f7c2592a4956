//! `epoch.json`: in which epoch the next revision counts. It is there only after a restore.

use std::path::PathBuf;

use anyhow::Context as _;
use pconf_daemon::{from_state, to_state};
use serde::{Deserialize, Serialize};

use crate::folder::Folder;

const EPOCH: &str = "epoch.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Epoch {
    epoch: u32,
}

/// The epoch that the admin wants revisions to count in, at least.
pub(crate) fn wanted(folder: &Folder) -> anyhow::Result<u32> {
    let file = file(folder);
    let Some(bytes) = pconf_files::read_state(&file)? else { return Ok(1) };
    let Epoch { epoch } = from_state(&bytes)
        .with_context(|| format!("`{}` cannot be used: run `config-leader epoch bump` again", file.display()))?;
    Ok(epoch)
}

/// Wants it. The caller holds the folder's lock.
pub(crate) fn want(folder: &Folder, epoch: u32) -> anyhow::Result<()> {
    let bytes = to_state(&Epoch { epoch }).context("cannot write the epoch as JSON")?;
    Ok(pconf_files::write_state(&file(folder), &bytes)?)
}

fn file(folder: &Folder) -> PathBuf {
    folder.path().join(EPOCH)
}
