//! `machine list`: who is declared, with which keys, and who is silent.

use std::collections::BTreeMap;

use pconf_names::MachineName;
use pconf_wire::Clock;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::folder::Folder;
use crate::inputs::Reader;
use crate::keys::{Held, KeyRing, KeyVersion, State};
use crate::server::last_contacts;
use crate::terminal::{Failure, Said, table};
use pconf_names::Span;

pub(super) fn list(folder: &Folder) -> Result<Said, Failure> {
    let scene = Reader::default().look(folder)?.scene;
    let now = Clock::system().now();
    let (rings, _) = KeyRing::default().reread(folder, now);
    let contacts: BTreeMap<MachineName, String> = last_contacts(folder)?;
    let mut rows = vec![["MACHINE", "ROLE", "KEY", "STATE", "AGE", "SILENT FOR", "URL"].map(str::to_owned)];
    let mut machines = Vec::new();
    for (name, machine) in scene.machines() {
        let held = rings.of(name);
        let keys: Vec<&KeyVersion> =
            held.iter().flat_map(|held| held.ring.keys().iter().filter(|key| !held.is_over(key, now))).collect();
        let shown = held.and_then(|held| telling(held, &keys));
        let contact = contacts.get(name);
        let silent = contact.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok()).map(|at| {
            let at = u64::try_from(at.unix_timestamp()).unwrap_or_default();
            Span::between(at, now.wall.0)
        });
        let dash = || "-".to_owned();
        rows.push([
            name.to_string(),
            machine.role.to_string(),
            shown.map_or_else(dash, |key| key.version.to_string()),
            shown.map_or_else(|| "not enrolled".to_owned(), |key| key.state.name().to_owned()),
            shown.map_or_else(dash, |key| Span::between(key.made.0, now.wall.0).to_string()),
            silent.map_or_else(dash, |silent| silent.to_string()),
            machine.text("url").unwrap_or("-").to_owned(),
        ]);
        let keys: Vec<Value> = keys.into_iter().map(json_of).collect();
        machines.push(json!({
            "machine": name, "role": machine.role, "url": machine.text("url"), "keys": keys, "lastContact": contact,
        }));
    }
    Ok(Said { text: table(&rows), json: json!({ "ok": true, "machines": machines }) })
}

/// The version that says most about a machine: the one that it is spoken to with, else the newest.
fn telling<'k>(held: &Held, keys: &[&'k KeyVersion]) -> Option<&'k KeyVersion> {
    let spoken = held.ring.spoken().map(|key| key.version);
    keys.iter().copied().find(|key| Some(key.version) == spoken).or_else(|| keys.last().copied())
}

fn json_of(key: &KeyVersion) -> Value {
    let mut value = json!({ "version": key.version, "state": key.state.name(), "made": key.made.0 });
    if let Some(term) = key.state.term() {
        value["until"] = term.until.0.into();
    }
    if let State::Enrolling(invitation) = &key.state
        && let Some(guest) = &invitation.guest
    {
        value["askedAt"] = guest.at.0.into();
        value["askedFrom"] = guest.from.to_string().into();
    }
    value
}
