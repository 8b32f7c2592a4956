//! `secret rotate`: another value, in one revision or with an overlap.

use std::sync::Arc;

use anyhow::Context as _;
use pconf_platform::{Rotation, SecretId, SecretKind};
use serde_json::json;

use super::set::{ensure_ours, refuse_immutable, refuse_rotating};
use super::{declared, is_confirmed};
use crate::folder::Folder;
use crate::inputs::Reader;
use crate::orders::Actor;
use crate::secrets::{self, Purpose};
use crate::terminal::{Failure, Said};

pub(super) fn run(folder: &Folder, id: &SecretId, confirm_loss: Option<&str>, actor: &Actor) -> Result<Said, Failure> {
    let inputs = Reader::default().read(folder, Purpose::Look)?;
    let set = Arc::clone(&inputs.looked.set);
    let secret = declared(&set, id)?;
    let what_instead = match &secret.kind {
        SecretKind::External => Some(format!("bring the new value: `config-leader secret set {id} --from-file FILE`")),
        SecretKind::Derived { from, .. } => Some(format!("it follows `{from}`: rotate that one")),
        SecretKind::DiffieHellman { .. } => Some("the parameters are those of RFC 7919".to_owned()),
        _ => None,
    };
    if let Some(instead) = what_instead {
        return Err(anyhow::anyhow!("`{id}` is not rotated: {instead}").into());
    }
    let (Some(wanted), Some(before)) =
        (inputs.looked.wanted.iter().find(|wanted| wanted.id == *id), inputs.kept.get(id).cloned())
    else {
        return Err(anyhow::anyhow!("`{id}` has no value yet: there is nothing to rotate").into());
    };
    refuse_rotating(id, &before)?;
    refuse_immutable(id, secret, &before)?;
    is_confirmed(id, secret, confirm_loss, &format!("config-leader secret rotate {id}"))?;
    if matches!(secret.kind, SecretKind::Certificate { .. }) && before.leaf.is_none() {
        let help = format!("bring another: `config-leader secret set {id} --from-file FILE`");
        return Err(anyhow::anyhow!("`{id}` was brought: {help}").into());
    }
    let next = secrets::another(folder, &wanted.kind, actor)?.context("nothing makes a value of this kind")?;
    let overlaps = secret.rotation == Rotation::Overlap && before.first_used.is_some();
    let after = if overlaps { before.announcing(next.value, &next.made.by) } else { next };
    // A value that breaks a file is not taken.
    inputs.with(id, &after)?.evaluate()?;
    ensure_ours(id, secrets::replace(folder, id, &before, &after, actor, "secret.rotate")?)?;
    let lost = secret.loss.as_ref().map(|loss| format!("Lost with the old value: {loss}\n")).unwrap_or_default();
    let text = if overlaps {
        format!(
            "secret {id}  is being rotated: both values are accepted first, then the new one is used, then the old one \
             goes; each step waits for every machine that reads it\nSee `config-leader secret list`.\n"
        )
    } else {
        format!("secret {id}  replaced; the next revision has it\n{lost}")
    };
    Ok(Said { text, json: json!({ "ok": true, "secret": id, "overlap": overlaps, "lost": secret.loss }) })
}
