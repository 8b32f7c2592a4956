//! The commands that are granted by a follower: `once`, `retry`, `rollback`, `suspend`, `resume`.

use pconf_bundle::ServiceReport;
use serde_json::json;

use crate::commands::Ending;
use crate::config::Config;
use crate::cycle::Outcome;
use crate::terminal::{Terminal, coloured};
use crate::wish::{Answer, Wish, grant};

pub(super) async fn run(config: &Config, terminal: Terminal, wish: Wish) -> anyhow::Result<Ending> {
    let is_rollback = wish == Wish::Rollback;
    let working = terminal.working("waiting for the machine to get there");
    let answer = Box::pin(grant(config, wish)).await;
    drop(working);
    let Answer { outcome, running, services, .. } = answer?;
    let outcome = outcome.unwrap_or(Outcome::Unchanged);
    let (headline, ending) = match &outcome {
        Outcome::Unchanged | Outcome::Running { .. } => {
            (running.map_or("nothing to do".to_owned(), |revision| format!("running {revision}")), Ending::Done)
        }
        Outcome::RolledBack { revision, running, reason } => {
            let ending = if is_rollback { Ending::Done } else { Ending::RolledBack };
            (format!("rolled back: {revision} is not taken, {running} runs: {reason}"), ending)
        }
        Outcome::Suspended { reason } => (format!("suspended: {reason}"), Ending::Done),
        Outcome::Refused { revision, reason } => (format!("{revision} is refused: {reason}"), Ending::Refused),
        Outcome::Failed { reason } | Outcome::NoGoal { reason } => (reason.clone(), Ending::Failed),
        Outcome::Interrupted => ("asked to end; what is left to do is remembered".to_owned(), Ending::Failed),
    };
    let json = || json!({ "outcome": outcome, "running": running, "services": services });
    if ending == Ending::Done {
        terminal.show(&format!("{headline}\n{}", table(&services)), json);
    } else {
        terminal.show(&table(&services), json);
        terminal.complain(&headline);
    }
    Ok(ending)
}

fn table(services: &[ServiceReport]) -> String {
    let width = services.iter().map(|service| service.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for service in services {
        text += &format!("  {}  {:<width$}  {}\n", coloured(service.outcome), service.name, service.reason);
        for line in &service.log {
            text += &format!("             {:<width$}  | {line}\n", "");
        }
    }
    text
}
