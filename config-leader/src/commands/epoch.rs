//! `epoch bump`: the admin's word that a restored leader goes on.

use serde_json::json;

use crate::audit::{self, Change};
use crate::cli::EpochCommand;
use crate::folder::Folder;
use crate::orders::Actor;
use crate::server::last_heard;
use crate::terminal::{Failure, Said};
use crate::{epoch, publication};

pub(crate) fn run(folder: &Folder, command: &EpochCommand, actor: &Actor) -> Result<Said, Failure> {
    let EpochCommand::Bump = command;
    let _alone = folder.lock()?;
    let published = publication::read(folder)?.map_or(0, |publication| publication.revision.epoch);
    // A backup may be older than the last bump: followers tell what they run.
    let heard = last_heard(folder)?.values().map(|revision| revision.epoch).max().unwrap_or_default();
    let before = published.max(heard).max(epoch::wanted(folder)?);
    let after = before + 1;
    audit::append(folder, actor, "epoch.bump", &after.to_string(), Change::default())?;
    epoch::want(folder, after)?;
    let text = format!(
        "epoch {before} → {after}  the running leader publishes in it at once, or `config-leader serve` does\n"
    );
    Ok(Said { text, json: json!({ "ok": true, "epoch": after, "before": before }) })
}
