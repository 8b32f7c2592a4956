//! `history`, `show`, `diff`, `rollback`, `backup`: what was published, by whom and why, and back to it.

pub(crate) mod backup;
mod diff;
mod rollback;

use anyhow::Context as _;
use pconf_history::{Comparison, History, Named, Revision};
use serde_json::{Value, json};

use crate::cli::HistoryCommand;
use crate::folder::Folder;
use crate::history::{self, rfc3339};
use crate::orders::Actor;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder, command: HistoryCommand, actor: &Actor) -> Result<Said, Failure> {
    match command {
        HistoryCommand::List { last } => list(&opened(folder)?, last),
        HistoryCommand::Show { revision } => show(&opened(folder)?, revision),
        HistoryCommand::Diff { from, to, machine, stat } => {
            diff::run(&opened(folder)?, from, to, machine.as_ref(), stat)
        }
        HistoryCommand::Rollback { revision, message, discard_edits, accept: _ } => {
            rollback::run(folder, revision, message, discard_edits, actor)
        }
    }
}

fn opened(folder: &Folder) -> anyhow::Result<History> {
    let history = history::open(folder)?;
    history.context("there is no history yet: it begins with the first revision that `config-leader serve` publishes")
}

fn found(history: &History, named: Named) -> anyhow::Result<Revision> {
    let found = history.find(named)?;
    found.with_context(|| format!("revision {named} is not in the history: `config-leader history` tells what is"))
}

fn list(history: &History, last: usize) -> Result<Said, Failure> {
    let mut revisions = history.revisions(Some(last.saturating_add(1)))?;
    let is_more = revisions.len() > last;
    revisions.truncate(last);
    let width =
        |of: &dyn Fn(&Revision) -> usize, least: usize| revisions.iter().map(of).max().unwrap_or_default().max(least);
    let number = width(&|revision| revision.id.to_string().len(), "REVISION".len());
    let who = width(&|revision| revision.actor.chars().count(), "WHO".len());
    let mut text = format!("{:number$}  {:20}  {:who$}  WHY\n", "REVISION", "WHEN", "WHO");
    for Revision { id, at, actor, reason, .. } in &revisions {
        text += &format!("{:number$}  {:20}  {actor:who$}  {reason}\n", id.to_string(), rfc3339(*at));
    }
    if is_more {
        text += "older ones: --last NUMBER\n";
    }
    let all: Vec<Value> = revisions.iter().map(described).collect();
    Ok(Said { text, json: json!({ "ok": true, "revisions": all }) })
}

fn show(history: &History, named: Named) -> Result<Said, Failure> {
    let revision = found(history, named)?;
    let trees = history.machines(&revision)?;
    let Revision { id, digest, at, actor, reason, .. } = &revision;
    let mut text = format!(
        "revision  {id}\nwhen      {}\nwho       {actor}\nwhy       {reason}\ndigest    {digest}\nmachines  {}\n",
        rfc3339(*at),
        trees.len()
    );
    match history.before(&revision)? {
        None => text += "\nIt is the oldest one that is kept.\n",
        Some(before) => {
            let comparison = history.compare(&before, &revision, None)?;
            text += &format!("\nagainst {}: {}\n{}", before.id, summary(&comparison), diff::shown(&comparison, true));
            if !comparison.platform.is_empty() {
                text += &format!("\nplatform.json\n{}", indented(&comparison.platform));
            }
        }
    }
    let mut machines = serde_json::Map::new();
    for (name, tree) in trees {
        let machine = history.machine(tree)?;
        machines.insert(name.to_string(), json!({ "role": machine.role, "files": machine.files }));
    }
    let mut json = described(&revision);
    json["ok"] = Value::Bool(true);
    json["platform"] = history.platform(&revision)?.into();
    json["templates"] = json!(history.templates(&revision)?);
    json["secrets"] = json!(history.secrets(&revision)?);
    json["machines"] = machines.into();
    Ok(Said { text, json })
}

fn described(revision: &Revision) -> Value {
    let Revision { id, digest, at, actor, reason, .. } = revision;
    json!({ "revision": id, "digest": digest, "at": rfc3339(*at), "who": actor, "why": reason })
}

fn summary(comparison: &Comparison) -> String {
    let number = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let machines = number(comparison.machines.len(), "machine", "machines");
    format!("{machines}, {}", number(comparison.files(), "file", "files"))
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |all, line| all + "  " + line + "\n")
}
