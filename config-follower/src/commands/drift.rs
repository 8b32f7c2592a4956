//! `drift`: what is no longer as it was left, seen now.

use pconf_containers::Docker;
use serde_json::json;

use crate::commands::Ending;
use crate::config::Config;
use crate::machine::{Machine, states};
use crate::memory;
use crate::terminal::Terminal;

pub(super) async fn run(config: &Config, terminal: Terminal) -> anyhow::Result<Ending> {
    let (ledger, status) = memory::look(&config.state)?;
    let machine = Machine::new(&config.root, config.docker.as_deref().map(Docker::at));
    let disk = machine.look(ledger.places_of_ours()).await?;
    let containers = machine.glimpses().await?;
    let found = ledger.drift(&disk, containers.as_ref().map(states).as_ref());
    let since = |what: &str| status.drift.iter().find(|known| known.what == what).map(|known| known.since.clone());
    let width = found.iter().map(|drifted| drifted.what.len()).max().unwrap_or(0);
    let mut text = if found.is_empty() { "everything is as it was left\n".to_owned() } else { String::new() };
    for drifted in &found {
        let since = since(&drifted.what).map(|since| format!("  since {since}")).unwrap_or_default();
        text += &format!("{:<width$}  {}{since}\n", drifted.what, drifted.how);
    }
    let json = || {
        let found = found
            .iter()
            .map(|drifted| json!({ "what": drifted.what, "how": drifted.how, "since": since(&drifted.what) }));
        json!({ "drift": found.collect::<Vec<_>>() })
    };
    terminal.show(&text, json);
    Ok(if found.is_empty() { Ending::Done } else { Ending::Differs })
}
