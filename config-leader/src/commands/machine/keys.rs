//! `machine approve | rotate-key | revoke`: the life of a machine's keys.

use anyhow::{Context as _, anyhow, ensure};
use pconf_names::MachineName;
use pconf_wire::{Clock, enrolment_key};
use serde_json::json;

use crate::audit::{self, Change};
use crate::folder::Folder;
use crate::keys::{self, KeyRing};
use crate::orders::Actor;
use crate::terminal::{Failure, Said};
use pconf_names::Span;

/// Lets the one enrol that waits for it.
pub(super) fn approve(folder: &Folder, name: &MachineName, actor: &Actor) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let guest = keys::change(folder, name, |ring| {
        let guest = ring.approve().with_context(|| {
            format!("nobody waits to join as `{name}`: run `config-follower join` there first, and have a string that is good")
        })?;
        audit::append(folder, actor, "machine.approve", &format!("{name} from {}", guest.from), Change::default())?;
        Ok(guest)
    })?;
    let ago = Span::between(guest.at.0, Clock::system().now().wall.0);
    let text =
        format!("machine {name}  approved: who asked {ago} ago from {} gets its key at the next try\n", guest.from);
    Ok(Said { text, json: json!({ "ok": true, "machine": name, "askedAt": guest.at.0, "askedFrom": guest.from }) })
}

/// Announces another key to a machine, or to every one that uses a key.
pub(super) fn rotate(folder: &Folder, name: Option<&MachineName>, actor: &Actor) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let now = Clock::system().now();
    let names: Vec<MachineName> = if let Some(name) = name {
        vec![name.clone()]
    } else {
        let (rings, _) = KeyRing::default().reread(folder, now);
        rings.machines().filter(|(_, held)| held.ring.is_in_use()).map(|(name, _)| name.clone()).collect()
    };
    if names.is_empty() {
        return Err(anyhow!("no machine uses a key yet").into());
    }
    let (mut text, mut announced) = (String::new(), Vec::new());
    for name in names {
        let version = keys::change(folder, &name, |ring| {
            let version = ring.rotate(enrolment_key()?, now.wall).with_context(|| {
                format!("`{name}` uses no key that could announce another one: `config-leader machine add` enrols it")
            })?;
            audit::append(folder, actor, "machine.rotate-key", &format!("{name}.{version}"), Change::default())?;
            Ok(version)
        })?;
        text += &format!("machine {name}  key {version} is announced: its follower takes it at its next look\n");
        announced.push(json!({ "machine": name, "version": version }));
    }
    Ok(Said { text, json: json!({ "ok": true, "announced": announced }) })
}

/// Ends every key of a machine at once.
pub(super) fn revoke(folder: &Folder, name: &MachineName, actor: &Actor) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let revoked = keys::change(folder, name, |ring| {
        ensure!(
            ring.keys().iter().any(|key| key.state.is_good_for_something()),
            "`{name}` has no key that could be revoked"
        );
        audit::append(folder, actor, "machine.revoke", name.as_str(), Change::default())?;
        Ok(ring.revoke())
    })?;
    let text = format!(
        "machine {name}  {revoked} {} revoked: its follower is refused from now on\n\
         What it knows it keeps: rotate the secrets of its role, too, if it fell into other hands.\n\
         `config-leader machine add {name} --role …` enrols it anew.\n",
        if revoked == 1 { "key" } else { "keys" }
    );
    Ok(Said { text, json: json!({ "ok": true, "machine": name, "revoked": revoked }) })
}
