//! `diff`: what machines got in one revision and get in another.

use std::collections::BTreeMap;

use pconf_history::{Change, Comparison, History, MachineChange, Named};
use pconf_names::MachineName;
use serde_json::json;

use super::{found, indented, summary};
use crate::terminal::{Failure, Said};

/// Machines that are named where many change in the same way.
const NAMED: usize = 5;

pub(super) fn run(
    history: &History,
    from: Named,
    to: Option<Named>,
    only: Option<&MachineName>,
    is_stat: bool,
) -> Result<Said, Failure> {
    let (from, to) = (found(history, from)?, found(history, to.unwrap_or(Named::Before(0)))?);
    if let Some(only) = only {
        let is_known = history.machines(&from)?.contains_key(only) || history.machines(&to)?.contains_key(only);
        if !is_known {
            return Err(anyhow::anyhow!("no machine was called `{only}` in {} or {}", from.id, to.id).into());
        }
    }
    let mut comparison = history.compare(&from, &to, only)?;
    let mut text = format!("{} → {}: {}\n{}", from.id, to.id, summary(&comparison), shown(&comparison, is_stat));
    if !comparison.platform.is_empty() && !is_stat {
        text += &format!("\nplatform.json\n{}", indented(&comparison.platform));
    }
    if is_stat {
        comparison.platform.clear();
        for machine in comparison.machines.values_mut() {
            machine.files.values_mut().for_each(|file| file.diff.clear());
            machine.rules.clear();
        }
    }
    let mut json = json!({ "ok": true, "from": from.id, "to": to.id });
    for (name, value) in json!(comparison).as_object().into_iter().flatten() {
        json[name] = value.clone();
    }
    Ok(Said { text, json })
}

/// What differs: the inputs, then each machine; machines that change in the same way together.
pub(super) fn shown(comparison: &Comparison, is_stat: bool) -> String {
    let mut text = String::new();
    for (what, names) in [("templates", &comparison.templates), ("secrets", &comparison.secrets)] {
        if !names.is_empty() {
            text += &format!("{what} that changed: {}\n", names.join(", "));
        }
    }
    if is_stat && !comparison.platform.is_empty() {
        text += "platform.json changed\n";
    }
    let mut alike: BTreeMap<String, Vec<&MachineName>> = BTreeMap::new();
    for (name, change) in &comparison.machines {
        alike.entry(machine(change, is_stat)).or_default().push(name);
    }
    let mut groups: Vec<(String, Vec<&MachineName>)> = alike.into_iter().collect();
    groups.sort_by(|(_, one), (_, other)| one.cmp(other));
    for (change, names) in groups {
        let named: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
        let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
        text += &format!("\n{}{more}{change}", named.join(", "));
    }
    text
}

fn machine(change: &MachineChange, is_stat: bool) -> String {
    let mut text = match change.change {
        Change::Added => "  is new\n".to_owned(),
        Change::Removed => "  is gone\n".to_owned(),
        Change::Changed | Change::Secret | Change::Attributes => "\n".to_owned(),
    };
    for (path, file) in &change.files {
        text += &format!("  {} {path}\n", file.change.sign());
        if !is_stat {
            text += &indented(&indented(&file.diff));
        }
    }
    if !change.rules.is_empty() {
        text += "  ~ directories, or what is said about services\n";
        if !is_stat {
            text += &indented(&indented(&change.rules));
        }
    }
    text
}
