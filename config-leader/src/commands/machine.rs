//! `machine …`: who belongs to the platform, and with which keys.

pub(crate) mod identity;
mod join;
mod keys;
mod list;

use anyhow::{Context as _, anyhow};
use pconf_names::{MachineName, RoleName};
use pconf_platform::{EditError, add_machine, remove_machine};
use serde_json::{Map, Value, json};

use crate::audit::{self, Change};
use crate::cli::MachineCommand;
use crate::folder::Folder;
use crate::history;
use crate::inputs::{Reader, read_platform};
use crate::keys::{Approval, change};
use crate::orders::Actor;
use crate::snapshots;
use crate::terminal::{Failure, Said};
use join::Terms;

pub(crate) fn run(folder: &Folder, command: MachineCommand, actor: &Actor) -> Result<Said, Failure> {
    match command {
        MachineCommand::Add { name, role, approve, ttl, url, fields } => {
            let approval = if approve { Approval::Awaited } else { Approval::NotNeeded };
            add(folder, &name, &role, Terms { approval, span: ttl }, url.as_deref(), &fields, actor)
        }
        MachineCommand::Approve { name } => keys::approve(folder, &name, actor),
        MachineCommand::List => list::list(folder),
        MachineCommand::Identity { name, .. } => identity::issue(folder, &name, actor),
        MachineCommand::RotateKey { name, .. } => keys::rotate(folder, name.as_ref(), actor),
        MachineCommand::Revoke { name } => keys::revoke(folder, &name, actor),
        MachineCommand::Remove { name } => remove(folder, &name, actor),
    }
}

fn add(
    folder: &Folder,
    name: &MachineName,
    role: &RoleName,
    terms: Terms,
    url: Option<&str>,
    fields: &[String],
    actor: &Actor,
) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let text = read_platform(folder)?;
    let (edited, declared) = match add_machine(&text, name, role, url, &parse_fields(fields)?) {
        Ok(edited) => (edited, true),
        Err(EditError::AlreadyThere(_)) => (text.clone(), false),
        Err(error) => return Err(error.into()),
    };
    // The edited text has to be good before it replaces the admin's.
    let scene = Reader::default().look_at(folder, edited.clone())?.scene;
    let machine = scene.machines().get(name).context("the machine was declared and is not")?;
    let there = &machine.role;
    if there != role {
        return Err(anyhow!("machine `{name}` is declared already, with the role {there}: remove it first").into());
    }
    audit::append(folder, actor, "machine.add", name.as_str(), Change::default())?;
    let said = join::invite(folder, name, machine, terms, declared)?;
    if declared {
        history::announce(folder, &edited, actor, format!("machine {name} added"))?;
        folder.replace_platform(&text, &edited)?;
    }
    Ok(said)
}

fn remove(folder: &Folder, name: &MachineName, actor: &Actor) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let text = read_platform(folder)?;
    let edited = remove_machine(&text, name)?;
    Reader::default().look_at(folder, edited.clone())?;
    audit::append(folder, actor, "machine.remove", name.as_str(), Change::default())?;
    change(folder, name, |ring| Ok(ring.revoke()))?;
    history::announce(folder, &edited, actor, format!("machine {name} removed"))?;
    folder.replace_platform(&text, &edited)?;
    snapshots::forget(folder, name)?;
    let text = format!(
        "machine {name}  removed from platform.json; its follower is refused from now on\n\
         Its files stay where they are; stop its follower with ./stop-config-follower.\n"
    );
    Ok(Said { text, json: json!({ "ok": true, "machine": name }) })
}

/// `ip=203.0.113.23` or `bindIp=null`: a value that reads as JSON is JSON, any other is text.
fn parse_fields(fields: &[String]) -> anyhow::Result<Map<String, Value>> {
    let parse = |field: &String| {
        let (name, value) = field.split_once('=').with_context(|| format!("`{field}` is no FIELD=VALUE"))?;
        Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
    };
    fields.iter().map(parse).collect()
}
