//! `once`: one cycle, for scripts and for the first time.

use pconf_containers::Docker;
use pconf_daemon::Shutdown;
use serde_json::json;

use crate::commands::Ending;
use crate::config::Config;
use crate::cycle::{Follower, Outcome};
use crate::leader::Leader;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::terminal::{Terminal, coloured};

pub(super) async fn run(config: &Config, terminal: Terminal) -> anyhow::Result<Ending> {
    let memory = Memory::open(&config.state)?;
    let machine = Machine::new(&config.root, config.docker.as_deref().map(Docker::at));
    let mut follower = Follower::new(Leader::new(config)?, machine, memory);
    let mut shutdown = Shutdown::by_signals()?;
    let outcome = follower.cycle(&mut shutdown).await;
    let memory = follower.memory();
    let running = memory.ledger.running();
    Ok(match outcome {
        Outcome::Unchanged | Outcome::Running(_) => {
            // Otherwise they are of an earlier cycle.
            let services = if outcome == Outcome::Unchanged { &[][..] } else { &memory.status.services };
            let mut text = running.map(|revision| format!("running {revision}\n")).unwrap_or_default();
            for service in services {
                text += &format!("  {}  {}  {}\n", coloured(service.outcome), service.name, service.reason);
            }
            terminal.show(&text, || json!({ "running": running, "services": services }));
            Ending::Done
        }
        Outcome::Refused { revision, reason } => {
            terminal.fail(&format!("{revision} is refused: {reason}"));
            Ending::Refused
        }
        Outcome::Failed { reason } | Outcome::NoGoal { reason } => {
            terminal.fail(&reason);
            Ending::Failed
        }
        Outcome::Interrupted => {
            terminal.fail(&"asked to end; what is left to do is remembered");
            Ending::Failed
        }
    })
}
