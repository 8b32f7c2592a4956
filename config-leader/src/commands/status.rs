//! `status`: what the running leader of this folder heard of every machine.

mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::Shutdown;
use serde_json::Value;

use crate::folder::Folder;
use crate::now;
use crate::orders::{Order, give};
use crate::terminal::{Failure, Said, Terminal};

/// How often a watched status is asked for again.
const WATCH: Duration = Duration::from_secs(1);

/// With `detailed`: some machine is not known to run what it is to run.
const DIFFERS: u8 = 5;

/// The status that the leader holds, as it is told.
pub(crate) fn said(status: Value) -> Said {
    Said { text: table::table(&status), json: status }
}

/// Shows it once, or until somebody ends it.
pub(crate) fn run(folder: &Folder, terminal: &Terminal, watches: bool, detailed: bool) -> Result<ExitCode, Failure> {
    if watches {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let ended = runtime.block_on(watch(folder, terminal));
        // A leader that does not answer must not hold up the end.
        runtime.shutdown_background();
        return ended.map(|()| ExitCode::SUCCESS);
    }
    let said = give(folder, Order::Status)?;
    terminal.show(&said);
    let differs = detailed && !is_everybody_there(&said.json);
    Ok(if differs { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

/// Shows the status again whenever it changes: on a terminal in the place of the one before, elsewhere what has changed,
/// line by line. A leader that goes away after the first time is waited for.
async fn watch(folder: &Folder, terminal: &Terminal) -> Result<(), Failure> {
    let mut shutdown = Shutdown::by_signals().context("cannot listen for signals")?;
    let mut before: Option<Said> = None;
    loop {
        let asking = tokio::task::spawn_blocking({
            let folder = folder.clone();
            move || give(&folder, Order::Status)
        });
        // Cancel-safe: asking changes nothing.
        let asked = tokio::select! {
            asked = asking => asked.context("the question broke down")?,
            () = shutdown.requested() => return Ok(()),
        };
        match asked {
            Ok(now) => {
                show(terminal, before.as_ref(), &now);
                before = Some(now);
            }
            Err(failure) if before.is_none() => return Err(failure),
            Err(failure) => terminal.fail(&failure),
        }
        // Both are cancel-safe: nothing is under way.
        tokio::select! {
            () = tokio::time::sleep(WATCH) => {}
            () = shutdown.requested() => return Ok(()),
        }
    }
}

fn show(terminal: &Terminal, before: Option<&Said>, now: &Said) {
    let Some(before) = before else { return terminal.show_in_place(now) };
    let changes = table::changes(&before.json, &now.json);
    if terminal.is_redrawn() {
        if before.text != now.text {
            terminal.show_in_place(now);
        }
    } else if !changes.is_empty() {
        let time = now::to_the_second();
        let lines: Vec<String> = changes.iter().map(|change| format!("{time}  {change}\n")).collect();
        let text = lines.concat();
        terminal.show(&Said { text, json: now.json.clone() });
    }
}

/// Whether every machine is known to run what it is to run: it told so, and was heard lately.
fn is_everybody_there(status: &Value) -> bool {
    let machines = status["machines"].as_object().into_iter().flatten();
    machines.map(|(_, machine)| machine).all(|machine| machine["behindSeconds"] == 0 && machine["isSilent"] == false)
}
