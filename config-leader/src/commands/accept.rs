//! `accept`: the admin's word that what is published may change as much as it does.

use anyhow::{Context as _, ensure};
use pconf_names::RevisionId;
use serde_json::json;

use crate::audit::{self, Change};
use crate::folder::Folder;
use crate::orders::Actor;
use crate::publication;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder, revision: Option<RevisionId>, actor: &Actor) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let published = publication::read(folder)?.context("nothing is published yet: `config-leader serve` publishes")?;
    let published = published.revision;
    accepts(revision, published)?;
    audit::append(folder, actor, "accept", &published.to_string(), Change::default())?;
    publication::accept(folder, published)?;
    Ok(Said {
        text: format!("revision {published}  accepted; followers that hold it back take it at their next look\n"),
        json: json!({ "ok": true, "revision": published }),
    })
}

/// What is accepted is what is served: the word for another revision would be given unseen.
fn accepts(named: Option<RevisionId>, published: RevisionId) -> anyhow::Result<()> {
    let named = named.unwrap_or(published);
    ensure!(named == published, "revision {named} is not the published one: that is {published}");
    Ok(())
}
