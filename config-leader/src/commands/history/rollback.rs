//! `rollback`: platform.json as it was in a revision, byte for byte, to be published as a new one.
//!
//! Templates and secrets are not rolled back: the new revision is made of that platform.json and of what they are today.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use pconf_bundle::Bundle;
use pconf_history::{Named, changed};
use pconf_names::{MachineName, RelativePath};
use pconf_publish::{Publication, publish};
use serde_json::json;

use super::{found, opened};
use crate::audit::{self, Change};
use crate::folder::Folder;
use crate::history;
use crate::inputs::Reader;
use crate::orders::Actor;
use crate::publication;
use crate::secrets::Purpose;
use crate::terminal::{Failure, Said};

pub(super) fn run(
    folder: &Folder,
    named: Named,
    message: Option<String>,
    discard_edits: bool,
    actor: &Actor,
) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let history = opened(folder)?;
    let goal = found(&history, named)?;
    let platform = history.platform(&goal)?;
    let now = match std::fs::read_to_string(folder.platform()) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(anyhow::Error::from(error).context("cannot read platform.json").into()),
    };
    if now.as_ref() == Some(&platform) {
        let text = format!("platform.json is that of revision {} already: nothing was changed\n", goal.id);
        return Ok(Said { text, json: json!({ "ok": true, "to": goal.id, "publishes": false, "machines": {} }) });
    }
    let is_known = now.as_ref().is_none_or(|now| history.knows_platform(now).unwrap_or(false));
    let way_out = "publish it first, keep it elsewhere, or say --discard-edits";
    ensure_known(is_known || discard_edits, way_out)?;

    // What comes has to be good before it replaces what is there.
    let inputs = Reader::default().look_at(folder, platform.clone())?.with_secrets(folder, Purpose::Look)?;
    let published = publication::read(folder)?;
    let previous = published.as_ref().map(|published| (published.revision, published.digest));
    let epoch = previous.map_or(1, |(revision, _)| revision.epoch);
    let comes = publish(previous, epoch, inputs.evaluate()?, &inputs.looked.scene.platform().rollout);
    let coming = comes.as_ref().or(published.as_ref()).context("nothing is published")?;
    let made_of = history::made_of(folder, &inputs, None, None)?;
    let since =
        [changed(&history.templates(&goal)?, &made_of.templates), changed(&history.secrets(&goal)?, &made_of.secrets)];
    let unlike = history.unlike(&goal, &coming.machines, &history::key(folder)?)?;
    let changes = comes.as_ref().map(|comes| changes(published.as_ref(), comes)).unwrap_or_default();

    audit::append(folder, actor, "rollback", &goal.id.to_string(), Change::default())?;
    let reason = format!("rollback to {}", goal.id);
    let reason = message.map_or(reason.clone(), |message| format!("{reason}: {message}"));
    history::announce(folder, &platform, actor, reason)?;
    match &now {
        Some(now) => folder.replace_platform(now, &platform)?,
        None => drop(pconf_files::create_state(&folder.platform(), platform.as_bytes())?),
    }

    let mut text = format!("platform.json is that of revision {} again, byte for byte\n", goal.id);
    for (name, files) in &changes {
        text += &format!("{name}  {} files change: {}\n", files.len(), some_of(files));
    }
    if comes.is_none() {
        text += "every machine has these files already: no revision comes of it\n";
    }
    for (what, names) in ["templates", "secrets"].into_iter().zip(&since) {
        if !names.is_empty() {
            text += &format!("{what} changed since and are not rolled back: {}\n", names.join(", "));
        }
    }
    if !unlike.is_empty() {
        let files: usize = unlike.values().map(BTreeSet::len).sum();
        text += &format!("so {files} files of {} machines are not as they were in {}\n", unlike.len(), goal.id);
    }
    let [templates, secrets] = since;
    let json = json!({
        "ok": true,
        "to": goal.id,
        "publishes": comes.is_some(),
        "machines": changes,
        "templates": templates,
        "secrets": secrets,
        "unlike": unlike,
    });
    Ok(Said { text, json })
}

fn ensure_known(is_known: bool, way_out: &str) -> anyhow::Result<()> {
    ensure!(is_known, "platform.json is not as in any revision, so what was edited would be lost: {way_out}");
    Ok(())
}

/// The files that change, by machine; all of a machine that comes or goes.
fn changes(before: Option<&Publication>, after: &Publication) -> BTreeMap<MachineName, BTreeSet<RelativePath>> {
    let nothing = BTreeMap::new();
    let before = before.map_or(&nothing, |before| &before.machines);
    let files = |bundle: Option<&Bundle>| -> BTreeMap<RelativePath, pconf_bundle::File> {
        bundle.into_iter().flat_map(|bundle| &bundle.files).map(|file| (file.path.clone(), file.clone())).collect()
    };
    let names: BTreeSet<&MachineName> = before.keys().chain(after.machines.keys()).collect();
    let all = names.into_iter().map(|name| {
        let (mut before, after) = (files(before.get(name)), files(after.machines.get(name)));
        let differs = |(path, file): (RelativePath, pconf_bundle::File)| {
            (before.remove(&path).as_ref() != Some(&file)).then_some(path)
        };
        let mut paths: BTreeSet<RelativePath> = after.into_iter().filter_map(differs).collect();
        paths.extend(before.into_keys());
        (name.clone(), paths)
    });
    all.filter(|(_, paths)| !paths.is_empty()).collect()
}

fn some_of(files: &BTreeSet<RelativePath>) -> String {
    const FEW: usize = 4;
    let shown: Vec<&str> = files.iter().take(FEW).map(RelativePath::as_str).collect();
    let more = if files.len() > FEW { format!(" and {} more", files.len() - FEW) } else { String::new() };
    shown.join(", ") + &more
}
