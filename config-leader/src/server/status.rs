//! What the leader heard of each machine: the truth as the followers told it, never as the leader wishes it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use pconf_bundle::{KeyId, Report, ServiceOutcome, Verdict};
use pconf_daemon::{Chain, Shutdown, StateError, from_state, to_state};
use pconf_files::StateFolder;
use pconf_names::{MachineName, RevisionId};
use pconf_platform::Policy;
use pconf_publish::{Rollout, Word, Words};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::folder::Folder;
use crate::keys::{KeyRing, Ring};
use crate::server::current::Current;
use crate::server::metrics::Counts;
use crate::server::standing::{Standing, is_there, services, since, word};
use crate::server::steady::Steady;

const STATE: &str = "machines.json";
/// Reports come in flocks after a publish; they are kept together.
const FLOCK: Duration = Duration::from_millis(500);
/// As [`FLOCK`], where somebody waits for them.
const DECISIVE_FLOCK: Duration = Duration::from_millis(20);
/// So exact is what the disk knows of contacts: a large fleet makes hundreds in a second, and all would be written each time.
const CONTACTS: Duration = Duration::from_mins(1);

/// What was heard, by machine.
pub(crate) struct StatusBoard {
    heard: Mutex<BTreeMap<MachineName, Heard>>,
    state: Arc<StateFolder>,
    changed: Notify,
    /// Whether there is anything that is not kept.
    is_stale: AtomicBool,
    /// For the one that makes revisions.
    reported: Notify,
    /// Whether something is decided by reports: a follower says a thing once, so none that was answered may be lost then.
    is_decisive: Decisive,
    /// How many reports came, and how many of them are on the disk.
    came: AtomicU64,
    kept: watch::Sender<u64>,
    time: Steady,
    counts: Arc<Counts>,
}

/// What is decided by reports.
#[derive(Default)]
struct Decisive {
    rotation: AtomicBool,
    rollout: AtomicBool,
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
    /// When it was last heard in this life of the leader, by its steady clock.
    #[serde(skip)]
    last_moment: Option<u64>,
    /// The newest revision whose files it has fetched in this life of the leader.
    #[serde(skip)]
    fetched: Option<RevisionId>,
    /// Who came too late with a string to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alarm: Option<Alarm>,
    /// What it is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wanted: Option<Wanted>,
}

/// What a machine is to run, and since when it has not, if it has not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    revision: RevisionId,
    /// RFC 3339.
    since: String,
}

/// What is known of the machines at this moment.
pub(super) struct Told<'b>(MutexGuard<'b, BTreeMap<MachineName, Heard>>);

impl Words for Told<'_> {
    fn word(&self, machine: &MachineName) -> Word<'_> {
        let Some(heard) = self.0.get(machine) else { return Word::default() };
        let last_life = || {
            let at = OffsetDateTime::parse(heard.last_contact.as_deref()?, &Rfc3339).ok()?;
            u64::try_from(at.unix_timestamp()).ok()
        };
        let verdict = heard.report.as_ref().map(|report| &report.verdict);
        Word { heard: heard.last_moment.or_else(last_life), fetched: heard.fetched, verdict }
    }
}

/// Somebody used a string to join that somebody else had used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Alarm {
    /// The version of the key in the string.
    key: u32,
    /// RFC 3339.
    at: String,
    from: IpAddr,
}

impl Decisive {
    fn by_any(&self) -> bool {
        self.rotation.load(Ordering::Relaxed) || self.rollout.load(Ordering::Relaxed)
    }
}

impl StatusBoard {
    /// The board as the last life of this leader left it.
    pub(crate) fn open(state: Arc<StateFolder>, time: Steady) -> anyhow::Result<Self> {
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
        Ok(Self {
            heard: Mutex::new(heard),
            state,
            changed: Notify::new(),
            is_stale: AtomicBool::new(false),
            reported: Notify::new(),
            is_decisive: Decisive { rotation: AtomicBool::new(true), rollout: AtomicBool::new(true) },
            came: AtomicU64::new(0),
            kept: watch::Sender::new(0),
            time,
            counts: Arc::default(),
        })
    }

    /// What is counted of the fleet and of this leader's work.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Something may be due for machines that was not: from now on those are behind that do not run it.
    pub(crate) fn want(&self, current: &Current) {
        let now = now();
        let mut heard = self.heard();
        for machine in current.machines.keys() {
            let Some((revision, _)) = current.due(machine) else { continue };
            let Heard { report, wanted, .. } = heard.entry(machine.clone()).or_default();
            let is_behind = |wanted: &Wanted| !is_there(report.as_ref(), wanted.revision);
            match wanted {
                Some(wanted) if wanted.revision == revision => {}
                // It has missed one already, and is behind since then.
                Some(wanted) if is_behind(wanted) => wanted.revision = revision,
                _ => *wanted = Some(Wanted { revision, since: now.clone() }),
            }
        }
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// An authenticated request came.
    pub(crate) fn contact(&self, machine: &MachineName) {
        let moment = self.time.now();
        let mut heard = self.heard();
        if heard.get(machine).is_some_and(|heard| heard.last_moment == Some(moment)) {
            // Contacts are known to the second.
            return;
        }
        let entry = heard.entry(machine.clone()).or_default();
        (entry.last_moment, entry.last_contact) = (Some(moment), Some(now()));
        // After however short a silence it may be one whose turn has come: a platform says itself how long that is.
        self.reported.notify_one();
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Somebody used a string that somebody else had used; `false` where that is known of this string.
    pub(crate) fn alarm(&self, id: &KeyId, from: IpAddr) -> bool {
        let at = now();
        let mut heard = self.heard();
        let alarm = &mut heard.entry(id.machine.clone()).or_default().alarm;
        if alarm.as_ref().is_some_and(|alarm| alarm.key == id.version) {
            return false;
        }
        *alarm = Some(Alarm { key: id.version, at, from: from.to_canonical() });
        self.is_stale.store(true, Ordering::Relaxed);
        self.changed.notify_one();
        true
    }

    /// A machine was given the files of a revision.
    pub(crate) fn fetched(&self, machine: &MachineName, revision: RevisionId) {
        let before = self.heard().entry(machine.clone()).or_default().fetched.replace(revision);
        if before != Some(revision) {
            self.reported.notify_one();
        }
    }

    /// A report came. Ends when it may be answered: where something is decided by it, it is on the disk by then.
    pub(crate) async fn report(&self, machine: &MachineName, report: Report) {
        let number = self.take(machine, report);
        if self.is_decisive.by_any() {
            // Cancel-safe: a report that is not answered is sent again.
            let _ = self.kept.subscribe().wait_for(|kept| *kept >= number).await;
        }
    }

    /// A report came, which is the so-manieth.
    pub(super) fn take(&self, machine: &MachineName, report: Report) -> u64 {
        let now = now();
        self.counts.failures.count(word(&report.verdict));
        let mut heard = self.heard();
        let entry = heard.entry(machine.clone()).or_default();
        if let Some(wanted) = &mut entry.wanted
            && is_there(entry.report.as_ref(), wanted.revision)
            && !is_there(Some(&report), wanted.revision)
        {
            // It was there until now.
            wanted.since.clone_from(&now);
        }
        (entry.report, entry.reported_at) = (Some(report), Some(now));
        let number = self.came.fetch_add(1, Ordering::Relaxed) + 1;
        self.is_stale.store(true, Ordering::Relaxed);
        self.changed.notify_one();
        self.reported.notify_one();
        number
    }

    /// A push was tried.
    pub(crate) fn told(&self, machine: &MachineName, error: Option<&String>) {
        if error.is_some() {
            self.counts.failures.count("push");
        }
        self.heard().entry(machine.clone()).or_default().push_error = error.cloned();
    }

    /// What a machine is known to run, if it has reported.
    pub(crate) fn runs(&self, machine: &MachineName) -> Option<RevisionId> {
        runs(&self.heard().get(machine)?.report.as_ref()?.verdict)
    }

    /// What is known of the machines at this moment, for whoever leads a rollout. Nobody else hears anything meanwhile.
    pub(super) fn words(&self) -> Told<'_> {
        Told(self.heard())
    }

    /// Whether nothing more happens to a rollout by itself, as far as is known.
    pub(crate) fn sees_rest(&self, rollout: &Rollout) -> bool {
        rollout.rests(&self.words(), self.time.now())
    }

    /// Whether a rotation is decided by the reports to come.
    pub(crate) fn decide_by_rotation(&self, is_decisive: bool) {
        self.is_decisive.rotation.store(is_decisive, Ordering::Relaxed);
    }

    /// Whether a rollout is decided by the reports to come.
    pub(crate) fn decide_by_rollout(&self, is_decisive: bool) {
        self.is_decisive.rollout.store(is_decisive, Ordering::Relaxed);
    }

    /// Waits for the next report. Cancel-safe.
    pub(crate) async fn report_came(&self) {
        self.reported.notified().await;
    }

    /// Where every machine stands.
    pub(crate) fn standings(&self, current: &Current) -> Vec<Standing> {
        let (heard, now, unheard) = (self.heard(), OffsetDateTime::now_utc(), Heard::default());
        let machines = current.machines.keys();
        machines.map(|name| heard.get(name).unwrap_or(&unheard).standing(name, current, now)).collect()
    }

    /// Everything, as `status` tells it.
    pub(crate) fn show(&self, current: &Current, rings: &KeyRing) -> Value {
        let heard = self.heard();
        let (unheard, now) = (Heard::default(), OffsetDateTime::now_utc());
        let machines: serde_json::Map<String, Value> = current
            .machines
            .iter()
            .map(|(name, served)| {
                let heard = heard.get(name).unwrap_or(&unheard);
                let addresses = current.addresses.get(name);
                let ring = rings.of(name).map(|held| &held.ring);
                let key = ring.and_then(Ring::spoken);
                // It has been seen to when the machine was invited again, or got another key since.
                let alarm = heard.alarm.as_ref().filter(|alarm| ring.is_some_and(|ring| ring.last() <= alarm.key + 1));
                let mut value = heard.standing(name, current, now).to_json();
                let told = json!({
                    "role": served.role(),
                    "url": addresses.and_then(|addresses| addresses.follower.as_ref()),
                    "report": heard.report,
                    "reportedAt": heard.reported_at,
                    "lastContact": heard.last_contact,
                    "pushError": heard.push_error,
                    "key": key.map(|key| json!({ "version": key.version, "state": key.state.name() })),
                    "alarm": alarm,
                });
                if let (Value::Object(value), Value::Object(told)) = (&mut value, told) {
                    value.extend(told);
                }
                (name.to_string(), value)
            })
            .collect();
        json!({
            "revision": current.revision(),
            "accepted": current.published.as_ref().is_some_and(|published| published.is_accepted),
            "digest": current.published.as_ref().map(|published| published.digest),
            "rollout": current.rollout.as_deref(),
            "draft": current.draft,
            "problems": current.problems,
            "machines": machines,
        })
    }

    fn keep(&self) {
        self.is_stale.store(false, Ordering::Relaxed);
        let (machines, came) = {
            let heard = self.heard();
            (heard.clone(), self.came.load(Ordering::Relaxed))
        };
        let bytes = to_state(&Kept { machines });
        let write = |bytes: Vec<u8>| {
            if self.is_decisive.by_any() { self.state.write(STATE, &bytes) } else { self.state.note(STATE, &bytes) }
        };
        let kept = bytes.map_err(anyhow::Error::from).and_then(|bytes| Ok(write(bytes)?));
        if let Err(error) = kept {
            warn!(error = %Chain(error.as_ref()), "cannot keep what followers reported: a restart would forget it");
        }
        // What cannot be kept is answered all the same: a full disk stops nobody.
        self.kept.send_replace(came);
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<MachineName, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn standing(&self, name: &MachineName, current: &Current, now: OffsetDateTime) -> Standing {
        let report = self.report.as_ref();
        let desired = current.due(name).map(|(revision, _)| revision);
        let is_there = desired.is_some_and(|desired| is_there(report, desired));
        let wanted = self.wanted.as_ref().filter(|wanted| Some(wanted.revision) == desired);
        let silent = self.last_contact.as_ref().and_then(|at| since(at, now));
        let told = current.rollout.as_ref().map(|rollout| rollout.policy.silent_after);
        let limit = told.unwrap_or(Policy::default().silent_after);
        Standing {
            name: name.to_string(),
            role: current.machines.get(name).map(|served| served.role().to_string()).unwrap_or_default(),
            state: report.map_or("unheard", |report| word(&report.verdict)),
            desired,
            on_disk: report.and_then(|report| report.on_disk),
            running: report.and_then(|report| report.verdict.running()),
            behind: if is_there { Some(Duration::ZERO) } else { wanted.and_then(|wanted| since(&wanted.since, now)) },
            silent,
            is_silent: silent.is_none_or(|silent| silent.as_secs() >= limit.seconds),
            owed: report.map(|report| services(report, ServiceOutcome::Owed)),
            failed: report.map(|report| services(report, ServiceOutcome::Failed)),
            drift: report.map(|report| report.drift.len()),
            push_failed: self.push_error.is_some(),
        }
    }
}

/// Notes what is due whenever that changes, until `shutdown`.
pub(crate) async fn follow(
    board: Arc<StatusBoard>,
    mut newest: watch::Receiver<Arc<Current>>,
    mut shutdown: Shutdown,
) -> anyhow::Result<()> {
    loop {
        let current = Arc::clone(&newest.borrow_and_update());
        board.want(&current);
        // Both are cancel-safe.
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return Ok(()) },
            () = shutdown.requested() => return Ok(()),
        }
    }
}

/// What machines ran when they last reported.
pub(crate) fn last_heard(folder: &Folder) -> anyhow::Result<BTreeMap<MachineName, RevisionId>> {
    let heard = kept(folder)?.into_iter();
    Ok(heard.filter_map(|(machine, heard)| Some((machine, runs(&heard.report?.verdict)?))).collect())
}

/// The oldest revision that the machine may have files of.
fn runs(verdict: &Verdict) -> Option<RevisionId> {
    match verdict {
        // On its way from one to the other, whichever of them is the older one.
        Verdict::Unfinished { revision, running, .. } => running.map(|running| running.min(*revision)),
        Verdict::Running { .. } | Verdict::Refused { .. } | Verdict::RolledBack { .. } | Verdict::Suspended { .. } => {
            verdict.running()
        }
    }
}

/// When each machine was last heard, RFC 3339.
pub(crate) fn last_contacts(folder: &Folder) -> anyhow::Result<BTreeMap<MachineName, String>> {
    Ok(kept(folder)?.into_iter().filter_map(|(machine, heard)| Some((machine, heard.last_contact?))).collect())
}

/// What a leader that does not run had heard; nothing, where it cannot be read: nothing is decided by it.
fn kept(folder: &Folder) -> anyhow::Result<BTreeMap<MachineName, Heard>> {
    let bytes = pconf_files::read_state(&folder.state().join(STATE))?;
    Ok(bytes.and_then(|bytes| read(&bytes).ok()).unwrap_or_default())
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
    let mut contacts = tokio::time::interval(CONTACTS);
    loop {
        // Cancel-safe: a change that is not waited for is kept with the contacts, and at the end.
        let is_last = tokio::select! {
            () = shutdown.requested() => true,
            () = async {
                board.changed.notified().await;
                let is_decisive = board.is_decisive.by_any();
                tokio::time::sleep(if is_decisive { DECISIVE_FLOCK } else { FLOCK }).await;
            } => false,
            _ = contacts.tick() => {
                if !board.is_stale.load(Ordering::Relaxed) { continue }
                false
            }
        };
        let board = Arc::clone(&board);
        tokio::task::spawn_blocking(move || board.keep()).await.context("the keeper of reports broke down")?;
        if is_last {
            return Ok(());
        }
    }
}

pub(super) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pconf_wire::Clock;

    use super::*;

    #[test]
    fn what_was_reported_survives_a_restart_and_damage_to_it_stops_nobody() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let state = Arc::new(StateFolder::open(folder.path())?);
        let board = StatusBoard::open(Arc::clone(&state), Steady::new(Clock::system()))?;
        board.contact(&"co1".parse()?);
        board.keep();
        let reopened = StatusBoard::open(Arc::clone(&state), Steady::new(Clock::system()))?;
        assert!(reopened.heard()[&"co1".parse()?].last_contact.is_some());

        state.write(STATE, br#"{"version": {"lastContact": "2026-01-02T03:04:05Z", "report": null, "reportedAt": null, "pushError": null}}"#)?;
        let unversioned = StatusBoard::open(Arc::clone(&state), Steady::new(Clock::system()))?;
        assert!(unversioned.heard()[&"version".parse()?].last_contact.is_some());

        state.write(STATE, b"{\"co1\": 5}")?;
        assert!(StatusBoard::open(state, Steady::new(Clock::system()))?.heard().is_empty());
        Ok(())
    }
}
