//! `status`: the machine as its follower last saw it, from its memory.

use std::fmt::Write as _;

use pconf_names::RevisionId;
use pconf_plan::Ledger;
use serde_json::json;

use crate::commands::Ending;
use crate::config::Config;
use crate::memory::{self, Status};
use crate::terminal::{Terminal, coloured};

pub(super) fn run(config: &Config, terminal: Terminal) -> anyhow::Result<Ending> {
    let (ledger, status) = memory::look(&config.state)?;
    let json = || {
        json!({
            "machine": config.keys.id().machine,
            "role": config.role,
            "leader": config.leader.to_string(),
            "desired": status.desired,
            "onDisk": ledger.on_disk(),
            "running": ledger.running(),
            "services": status.services,
            "owed": ledger.owed,
            "lastContact": status.last_contact,
            "lastError": status.last_error,
            "isReported": status.undelivered.is_none(),
        })
    };
    terminal.show(&text(config, &ledger, &status), json);
    Ok(Ending::Done)
}

fn text(config: &Config, ledger: &Ledger, status: &Status) -> String {
    let revision = |revision: Option<RevisionId>| revision.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<8}  {value}");
    };
    line("machine", format!("{} ({})", config.keys.id().machine, config.role));
    line("desired", revision(status.desired));
    line("on disk", revision(ledger.on_disk()));
    line("running", revision(ledger.running()));
    let contact = status.last_contact.as_deref().map_or("never heard".to_owned(), |at| format!("last heard {at}"));
    line("leader", format!("{}, {contact}", config.leader));
    if let Some(fault) = &status.last_error {
        line("error", format!("since {}: {}", fault.since, fault.what));
    }
    if status.undelivered.is_some() {
        line("report", "not taken by the leader yet".to_owned());
    }
    let width = status.services.iter().map(|service| service.name.len()).max().unwrap_or(0);
    for service in &status.services {
        line("service", format!("{:<width$}  {}  {}", service.name, coloured(service.outcome), service.reason));
    }
    text
}
