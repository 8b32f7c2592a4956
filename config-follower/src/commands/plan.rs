//! `plan`: what a cycle would do. Nothing is touched, not even the memory.

use anyhow::Context as _;
use pconf_containers::Docker;
use pconf_plan::{places_to_look, plan};
use serde_json::json;

use crate::commands::Ending;
use crate::config::Config;
use crate::leader::{Leader, Pulled};
use crate::machine::Machine;
use crate::memory;
use crate::terminal::Terminal;

pub(super) async fn run(config: &Config, terminal: Terminal, tells_by_exit_code: bool) -> anyhow::Result<Ending> {
    let (ledger, _) = memory::look(&config.state)?;
    let Pulled::Goal(goal) = Leader::new(config)?.pull(None).await? else {
        anyhow::bail!("the leader answered that nothing is new, which it was not asked");
    };
    let machine = Machine::new(&config.root, config.docker.as_deref().map(Docker::at));
    let observed = machine.observe(places_to_look(&goal, &ledger)).await.context("cannot look at this machine")?;
    Ok(match plan(&goal, &ledger, &observed) {
        Ok(plan) => {
            terminal.show(&plan.to_string(), || json!(plan));
            if tells_by_exit_code && !plan.is_empty() { Ending::Refused } else { Ending::Done }
        }
        Err(refusal) => {
            terminal.fail(&format!("{} would be refused: {refusal}", goal.revision));
            Ending::Refused
        }
    })
}
