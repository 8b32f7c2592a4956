//! `secret set`: the value that the admin brings. One that is in use already goes the way that its plan says.

use anyhow::{Context as _, ensure};
use pconf_platform::{Rotation, Secret, SecretId};
use serde_json::{Value, json};

use super::{declared, is_confirmed};
use crate::folder::Folder;
use crate::inputs::Reader;
use crate::orders::Actor;
use crate::secrets::brought::brought;
use crate::secrets::{self, Hidden, Stored};
use crate::terminal::{Failure, Said};

pub(super) fn run(
    folder: &Folder,
    values: &[(SecretId, Hidden)],
    confirm_loss: Option<&str>,
    actor: &Actor,
) -> Result<Said, Failure> {
    let set = Reader::default().only_set(folder)?;
    // All of them are judged before the first one is kept.
    let mut judged = Vec::new();
    for (id, text) in values {
        let secret = declared(&set, id)?;
        let value = brought(&secret.kind, text.as_str())
            .map_err(|fault| anyhow::anyhow!("the value for `{id}` is refused: {fault}"))?;
        judged.push((id, secret, Stored::new(value, &actor.to_string())));
    }
    let mut text = String::new();
    let mut said: Vec<Value> = Vec::new();
    for (id, secret, stored) in judged {
        let done = set_one(folder, id, secret, &stored, confirm_loss, actor)?;
        text += &format!("secret {id}  {done}\n");
        said.push(json!({ "secret": id, "done": done }));
    }
    Ok(Said { text, json: json!({ "ok": true, "secrets": said }) })
}

/// Keeps one value; what was done, in words.
fn set_one(
    folder: &Folder,
    id: &SecretId,
    secret: &Secret,
    stored: &Stored,
    confirm_loss: Option<&str>,
    actor: &Actor,
) -> Result<&'static str, Failure> {
    let Some(before) = secrets::read_one(folder, id)? else {
        let is_ours = secrets::create(folder, id, stored, actor, "secret.set")?;
        ensure_ours(id, is_ours)?;
        return Ok("set");
    };
    if before.value == stored.value && before.rotation.is_none() {
        return Ok("is that value already");
    }
    refuse_rotating(id, &before)?;
    let is_used = before.first_used.is_some();
    refuse_immutable(id, secret, &before)?;
    if is_used {
        is_confirmed(id, secret, confirm_loss, &format!("config-leader secret set {id} …"))?;
    }
    let overlaps = is_used && secret.rotation == Rotation::Overlap;
    let after = if overlaps { before.announcing(stored.value.clone(), &stored.made.by) } else { stored.clone() };
    let is_ours = secrets::replace(folder, id, &before, &after, actor, "secret.set")?;
    ensure_ours(id, is_ours)?;
    Ok(if overlaps {
        "is being rotated to that value: see `config-leader secret list`"
    } else {
        "set in place of another"
    })
}

pub(super) fn ensure_ours(id: &SecretId, is_ours: bool) -> anyhow::Result<()> {
    ensure!(is_ours, "`{id}` was changed meanwhile: nothing was done, run this again");
    Ok(())
}

pub(super) fn refuse_rotating(id: &SecretId, before: &Stored) -> anyhow::Result<()> {
    ensure!(
        before.rotation.is_none(),
        "`{id}` is being rotated: one at a time; `config-leader secret list` tells for whom it waits"
    );
    Ok(())
}

pub(super) fn refuse_immutable(id: &SecretId, secret: &Secret, before: &Stored) -> anyhow::Result<()> {
    let Some(revision) = before.first_used.filter(|_| secret.is_immutable) else { return Ok(()) };
    None.with_context(|| {
        format!("`{id}` stays as it is: it is in use since revision {revision}, and is never changed then")
    })
}
