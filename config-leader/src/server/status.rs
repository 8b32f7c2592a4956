//! What the leader heard of each machine: the truth as the followers told it, never as the leader wishes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use pconf_bundle::Report;
use pconf_daemon::{Chain, Shutdown, StateError, from_state, to_state};
use pconf_files::StateFolder;
use pconf_names::{MachineName, RevisionId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;
use tracing::warn;

use crate::folder::Folder;
use crate::server::current::Current;

const STATE: &str = "machines.json";
/// Reports come in flocks after a publish; they are kept together.
const FLOCK: Duration = Duration::from_millis(500);

/// What was heard, by machine.
pub(crate) struct StatusBoard {
    heard: Mutex<BTreeMap<MachineName, Heard>>,
    state: Arc<StateFolder>,
    changed: Notify,
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    machines: BTreeMap<MachineName, Heard>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Heard {
    /// The last authenticated request, RFC 3339.
    last_contact: Option<String>,
    /// The last report and when it came.
    report: Option<Report>,
    reported_at: Option<String>,
    /// Why the last push did not reach it.
    push_error: Option<String>,
}

impl StatusBoard {
    /// The board as the last life of this leader left it.
    pub(crate) fn open(state: Arc<StateFolder>) -> anyhow::Result<Self> {
        let heard = match state.read(STATE)? {
            None => BTreeMap::new(),
            // Nothing is decided by what was heard, so a damaged file is no reason to serve nobody.
            Some(bytes) => read(&bytes).unwrap_or_else(|error| {
                let file = state.file(STATE);
                let error = Chain(&error);
                warn!(%error, file = %file.display(), "what followers reported cannot be read and starts afresh");
                BTreeMap::new()
            }),
        };
        Ok(Self { heard: Mutex::new(heard), state, changed: Notify::new() })
    }

    /// An authenticated request came.
    pub(crate) fn contact(&self, machine: &MachineName) {
        let now = now();
        self.heard().entry(machine.clone()).or_default().last_contact = Some(now);
    }

    /// A report came.
    pub(crate) fn report(&self, machine: &MachineName, report: Report) {
        let now = now();
        let mut heard = self.heard();
        let entry = heard.entry(machine.clone()).or_default();
        (entry.report, entry.reported_at) = (Some(report), Some(now));
        self.changed.notify_one();
    }

    /// A push was tried.
    pub(crate) fn told(&self, machine: &MachineName, error: Option<&String>) {
        self.heard().entry(machine.clone()).or_default().push_error = error.cloned();
    }

    /// Everything, as `status` tells it.
    pub(crate) fn show(&self, current: &Current) -> Value {
        let heard = self.heard();
        let unheard = Heard::default();
        let machines: serde_json::Map<String, Value> = current
            .published
            .iter()
            .flat_map(|published| &published.machines)
            .map(|(name, served)| {
                let heard = heard.get(name).unwrap_or(&unheard);
                let addresses = current.addresses.get(name);
                let value = json!({
                    "role": served.role,
                    "url": addresses.and_then(|addresses| addresses.follower.as_ref()),
                    "desired": current.revision(),
                    "report": heard.report,
                    "reportedAt": heard.reported_at,
                    "lastContact": heard.last_contact,
                    "pushError": heard.push_error,
                });
                (name.to_string(), value)
            })
            .collect();
        json!({
            "revision": current.revision(),
            "accepted": current.published.as_ref().is_some_and(|published| published.is_accepted),
            "digest": current.published.as_ref().map(|published| published.digest),
            "problems": current.problems,
            "machines": machines,
        })
    }

    fn keep(&self) {
        let bytes = to_state(&Kept { machines: self.heard().clone() });
        let kept = bytes.map_err(anyhow::Error::from).and_then(|bytes| Ok(self.state.note(STATE, &bytes)?));
        if let Err(error) = kept {
            warn!(error = %Chain(error.as_ref()), "cannot keep what followers reported: a restart would forget it");
        }
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<MachineName, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The revisions that machines ran when they last reported, in no order.
pub(crate) fn last_heard(folder: &Folder) -> anyhow::Result<Vec<RevisionId>> {
    let Some(bytes) = pconf_files::read_state(&folder.state().join(STATE))? else { return Ok(Vec::new()) };
    let heard = read(&bytes).unwrap_or_default();
    Ok(heard.values().filter_map(|heard| heard.report.as_ref()?.verdict.running()).collect())
}

/// What was kept; before there were versions it was kept by machine, without anything around it.
fn read(bytes: &[u8]) -> Result<BTreeMap<MachineName, Heard>, StateError> {
    match from_state(bytes) {
        Ok(Kept { machines }) => Ok(machines),
        Err(fault @ StateError::Foreign { .. }) => Err(fault),
        Err(fault) => serde_json::from_slice(bytes).map_err(|_| fault),
    }
}

/// Keeps reports on disk as they come, until `shutdown`.
pub(crate) async fn keep(board: Arc<StatusBoard>, mut shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        // Cancel-safe: a change that is not waited for is kept at the end.
        let is_last = tokio::select! {
            () = shutdown.requested() => true,
            () = async { board.changed.notified().await; tokio::time::sleep(FLOCK).await } => false,
        };
        let board = Arc::clone(&board);
        tokio::task::spawn_blocking(move || board.keep()).await.context("the keeper of reports broke down")?;
        if is_last {
            return Ok(());
        }
    }
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reported_survives_a_restart_and_damage_to_it_stops_nobody() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let state = Arc::new(StateFolder::open(folder.path())?);
        let board = StatusBoard::open(Arc::clone(&state))?;
        board.contact(&"co1".parse()?);
        board.keep();
        let reopened = StatusBoard::open(Arc::clone(&state))?;
        assert!(reopened.heard()[&"co1".parse()?].last_contact.is_some());

        state.write(STATE, br#"{"version": {"lastContact": "2026-01-02T03:04:05Z", "report": null, "reportedAt": null, "pushError": null}}"#)?;
        let unversioned = StatusBoard::open(Arc::clone(&state))?;
        assert!(unversioned.heard()[&"version".parse()?].last_contact.is_some());

        state.write(STATE, b"{\"co1\": 5}")?;
        assert!(StatusBoard::open(state)?.heard().is_empty());
        Ok(())
    }
}
