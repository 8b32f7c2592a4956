//! `status`: what is wanted, what is on disk and what runs, each looked up where it is true.

use std::fmt::Write as _;
use std::time::Duration;

use pconf_containers::Docker;
use pconf_daemon::{Shutdown, ask};
use pconf_names::RevisionId;
use pconf_plan::{Ledger, Standing};
use serde_json::{Value, json};

use crate::commands::Ending;
use crate::config::Config;
use crate::machine::Machine;
use crate::memory::{self, Status};
use crate::terminal::Terminal;
use crate::wish::{Answer, Wish, socket};

/// A daemon that is busy answers when its cycle is over; until then its files tell.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often a watched status is looked up again.
const WATCH: Duration = Duration::from_secs(1);

/// Everything that is told.
struct Told {
    ledger: Ledger,
    status: Status,
    standing: Vec<Standing>,
    /// The revision whose files are all there, as seen now.
    on_disk: Option<RevisionId>,
    /// What is seen of them where no cycle has seen it yet.
    drift: Option<&'static str>,
    /// Why the engine could not be asked.
    blind: Option<String>,
}

pub(super) async fn run(config: &Config, terminal: Terminal, watches: bool) -> anyhow::Result<Ending> {
    if !watches {
        let told = look(config).await?;
        terminal.show(&text(config, &told), || as_json(config, &told));
        return Ok(Ending::Done);
    }
    let mut shutdown = Shutdown::by_signals()?;
    let mut before = None;
    while !shutdown.is_requested() {
        let told = look(config).await?;
        let now = as_json(config, &told);
        if before.as_ref() != Some(&now) {
            terminal.show_again(&text(config, &told), || now.clone());
            before = Some(now);
        }
        // Both are cancel-safe: nothing is under way.
        tokio::select! {
            () = tokio::time::sleep(WATCH) => {}
            () = shutdown.requested() => {}
        }
    }
    Ok(Ending::Done)
}

async fn look(config: &Config) -> anyhow::Result<Told> {
    let (ledger, status) = memory::look(&config.state)?;
    // The daemon knows when it last heard of the leader; it does not put that down each time.
    let status = match ask::<Wish, Answer>(&socket(&config.state), &Wish::Tell, PATIENCE).await {
        Ok(Some(answer)) => answer.status,
        Ok(None) | Err(_) => status,
    };
    let machine = Machine::new(&config.root, config.docker.as_deref().map(Docker::at));
    let (containers, blind) = match machine.containers().await {
        Ok(containers) => (containers.unwrap_or_default(), None),
        Err(error) => (Vec::new(), Some(pconf_daemon::Chain(&error).to_string())),
    };
    // What was written may have been changed since, and no cycle have seen it yet.
    let disk = machine.look(ledger.places_of_ours()).await;
    let is_as_left = disk.is_ok_and(|disk| ledger.drift(&disk, None).is_empty());
    let on_disk = ledger.on_disk().filter(|_| is_as_left);
    let mut standing = ledger.standing(status.desired, &containers);
    for each in &mut standing {
        each.on_disk = on_disk;
    }
    let drift = (on_disk != ledger.on_disk()).then_some("files are not as they were left: see `config-follower drift`");
    Ok(Told { ledger, status, standing, on_disk, drift, blind })
}

fn as_json(config: &Config, told: &Told) -> Value {
    let Told { ledger, status, standing, on_disk, drift, blind } = told;
    json!({
        "machine": config.ring.machine(),
        "role": config.role,
        "leader": config.leader.to_string(),
        "desired": status.desired,
        "onDisk": on_disk,
        "running": ledger.running(),
        "gap": ledger.gap(status.desired).or(drift.map(str::to_owned)),
        "standing": standing,
        "services": status.services,
        "owed": ledger.owed,
        "drift": status.drift,
        "suspended": ledger.suspended,
        "refused": ledger.quarantined.as_ref().map(|known| json!({ "revision": known.revision.revision, "reason": known.reason })),
        "lastContact": status.last_contact,
        "lastError": status.last_error,
        "engine": blind,
        "isReported": status.undelivered.is_none(),
    })
}

fn text(config: &Config, told: &Told) -> String {
    let Told { ledger, status, standing, on_disk, drift, blind } = told;
    let revision = |revision: Option<RevisionId>| revision.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<9}  {value}");
    };
    line("machine", format!("{} ({})", config.ring.machine(), config.role));
    line("desired", revision(status.desired));
    line("on disk", revision(*on_disk));
    line("running", revision(ledger.running()));
    let contact = status.last_contact.as_deref().map_or("never heard".to_owned(), |at| format!("last heard {at}"));
    line("leader", format!("{}, {contact}", config.leader));
    if let Some(suspended) = &ledger.suspended {
        line("suspended", format!("since {}: {}", suspended.since, suspended.reason));
    }
    if let Some(known) = &ledger.quarantined {
        line("refused", format!("{}: {}", known.revision.revision, known.reason));
    }
    if let Some(fault) = &status.last_error {
        line("error", format!("since {}: {}", fault.since, fault.what));
    }
    if let Some(blind) = blind {
        line("engine", blind.clone());
    }
    if let Some(drift) = drift.filter(|_| status.drift.is_empty()) {
        line("drift", drift.to_owned());
    }
    for drift in &status.drift {
        line("drift", format!("{}  {} since {}", drift.what, drift.how, drift.since));
    }
    if status.undelivered.is_some() {
        line("report", "not taken by the leader yet".to_owned());
    }
    if standing.is_empty() {
        return text;
    }
    let width = standing.iter().map(|each| each.service.len()).max().unwrap_or(0).max("SERVICE".len());
    let _ = writeln!(text, "\n{:<width$}  {:<8}  {:<8}  {:<8}  WHY", "SERVICE", "DESIRED", "ON DISK", "RUNNING");
    for each in standing {
        let Standing { service, desired, on_disk, running, reason } = each;
        let (desired, on_disk, running) = (revision(*desired), revision(*on_disk), revision(*running));
        let reason = reason.as_deref().unwrap_or_default();
        let row = format!("{service:<width$}  {desired:<8}  {on_disk:<8}  {running:<8}  {reason}");
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}
