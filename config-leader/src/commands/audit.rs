//! `audit show | verify`: who did what.

use anyhow::anyhow;
use serde_json::json;

use crate::audit;
use crate::cli::AuditCommand;
use crate::folder::Folder;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder, command: &AuditCommand) -> Result<Said, Failure> {
    match command {
        AuditCommand::Show { last } => show(folder, *last),
        AuditCommand::Verify => verify(folder),
    }
}

fn show(folder: &Folder, last: Option<usize>) -> Result<Said, Failure> {
    let entries = audit::entries(folder)?;
    let entries = &entries[entries.len().saturating_sub(last.unwrap_or(usize::MAX))..];
    let width = |of: fn(&audit::Entry) -> &str, least: usize| {
        entries.iter().map(|entry| of(entry).chars().count()).max().unwrap_or_default().max(least)
    };
    let (who, what) = (width(|entry| &entry.who, 3), width(|entry| &entry.what, 4));
    let mut text = format!("{:>5}  {:20}  {:who$}  {:what$}  OBJECT\n", "SEQ", "WHEN", "WHO", "WHAT");
    for entry in entries {
        let change = match (&entry.before, &entry.after) {
            (None, None) => String::new(),
            (before, after) => {
                let shown = |digest: &Option<String>| digest.as_deref().unwrap_or("-").to_owned();
                format!("  {} → {}", shown(before), shown(after))
            }
        };
        text += &format!(
            "{:>5}  {:20}  {:who$}  {:what$}  {}{change}\n",
            entry.seq, entry.at, entry.who, entry.what, entry.object
        );
    }
    Ok(Said { text, json: json!({ "ok": true, "entries": entries }) })
}

fn verify(folder: &Folder) -> Result<Said, Failure> {
    match audit::verify(folder)? {
        Ok(entries) => Ok(Said {
            text: format!("{entries} entries, each as it was written\n"),
            json: json!({ "ok": true, "entries": entries }),
        }),
        Err(tampered) => Err(anyhow!(tampered).context("the audit log is not as it was written").into()),
    }
}
