//! `secret list`: all about the secrets of the platform but their values.

use std::collections::BTreeMap;

use pconf_names::{MachineName, RevisionId};
use pconf_platform::SecretKind;
use pconf_publish::WantedSecret;
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::inputs::Reader;
use crate::secrets::{self, Phase, Stored, rotation};
use crate::server::last_heard;
use crate::terminal::{Failure, Said, table};

const HEAD: [&str; 7] = ["SECRET", "KIND", "READERS", "SINCE", "FIRST USED", "LENGTH", "STATE"];

pub(super) fn run(folder: &Folder) -> Result<Said, Failure> {
    let looked = Reader::default().look(folder)?;
    let kept = secrets::read(folder, &looked.wanted)?;
    let heard = last_heard(folder)?;
    let mut lines = vec![HEAD.map(str::to_owned)];
    let mut said: Vec<Value> = Vec::new();
    for wanted in &looked.wanted {
        let Some(secret) = looked.set.secrets().secrets.get(&wanted.id.name) else { continue };
        let stored = kept.get(&wanted.id);
        let state = state(wanted, stored, &heard);
        let length = stored.map(|stored| stored.value.confidential().len());
        let readers: Vec<&str> = wanted.readers.iter().map(MachineName::as_str).collect();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        lines.push([
            wanted.id.to_string(),
            secret.kind.name().to_owned(),
            readers.join(" "),
            or_none(stored.map(|stored| stored.made.at.clone())),
            or_none(stored.and_then(|stored| stored.first_used).map(|revision| revision.to_string())),
            or_none(length.map(|length| length.to_string())),
            state.clone(),
        ]);
        let rotating = stored.and_then(|stored| stored.rotation.as_ref());
        let waits_for =
            stored.and_then(|stored| rotation::waits_for(stored, &wanted.readers, |name| heard.get(name).copied()));
        said.push(json!({
            "secret": wanted.id,
            "kind": secret.kind.name(),
            "description": secret.description,
            "introducedIn": secret.introduced_in,
            "roles": secret.roles,
            "readers": wanted.readers,
            "since": stored.map(|stored| &stored.made.at),
            "by": stored.map(|stored| &stored.made.by),
            "firstUsed": stored.and_then(|stored| stored.first_used),
            "length": length,
            "state": state,
            "rotation": rotating.map(|rotating| json!({
                "phase": rotating.phase,
                "gate": rotating.gate,
                "waitsFor": waits_for,
            })),
        }));
    }
    Ok(Said { text: table(&lines), json: json!({ "ok": true, "secrets": said }) })
}

fn state(wanted: &WantedSecret, stored: Option<&Stored>, heard: &BTreeMap<MachineName, RevisionId>) -> String {
    let Some(stored) = stored else {
        return match &wanted.kind {
            SecretKind::External => format!("missing: `config-leader secret set {}`", wanted.id),
            SecretKind::Derived { from, .. } => format!("follows {from}"),
            SecretKind::DiffieHellman { .. } => "public".to_owned(),
            _ => "made with the next revision".to_owned(),
        };
    };
    let Some(rotating) = &stored.rotation else { return "steady".to_owned() };
    let phase = match rotating.phase {
        Phase::Announce => "rotating (1 of 3): both accepted, the old one used",
        Phase::Switch => "rotating (2 of 3): both accepted, the new one used",
    };
    match rotation::waits_for(stored, &wanted.readers, |name| heard.get(name).copied()) {
        None => format!("{phase}; waits for its revision"),
        Some(machines) => {
            let machines: Vec<&str> = machines.into_iter().map(MachineName::as_str).collect();
            format!(
                "{phase}; waits for {}",
                if machines.is_empty() { "the leader".to_owned() } else { machines.join(" ") }
            )
        }
    }
}
