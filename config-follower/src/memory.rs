//! What the follower remembers on disk: the ledger, which it acts on, and the status, which only tells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pconf_bundle::{Drift, Report, ServiceReport, Verdict};
use pconf_daemon::{Chain, StateError, from_state, to_state};
use pconf_files::{FilesError, StateFolder, read_state};
use pconf_names::RevisionId;
use pconf_plan::{Drifted, Ledger};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::warn;

use crate::leader::AUTHORITIES;

const LEDGER: &str = "ledger.json";
const STATUS: &str = "status.json";

/// The follower's memory.
#[derive(Debug)]
pub struct Memory {
    folder: Arc<StateFolder>,
    /// What is acted on.
    pub ledger: Ledger,
    /// What is told.
    pub status: Status,
    /// What was told when it was last put down.
    noted: Status,
}

/// What `config-follower status` tells besides the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Status {
    /// The newest revision that the leader has named.
    pub desired: Option<RevisionId>,
    /// What the last cycle that had something to do came to, per container.
    pub services: Vec<ServiceReport>,
    /// When the leader last gave an answer to believe (RFC 3339).
    pub last_contact: Option<String>,
    /// What went wrong in the last cycle.
    pub last_error: Option<Fault>,
    /// What the last report says, whether the leader has taken it or not.
    pub verdict: Option<Verdict>,
    /// The last report.
    #[serde(default)]
    pub told: Option<Report>,
    /// The last report, if the leader has not taken it yet.
    pub undelivered: Option<Report>,
    /// What is no longer as it was left.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// How long each container was last away for an action, in milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub took: BTreeMap<String, u64>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it was first seen (RFC 3339).
    pub since: String,
    /// What, and the way out.
    pub what: String,
}

/// The memory cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The disk's fault.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A file of it is damaged. It is not guessed at.
    #[error(
        "cannot use `{}`; moved away, the follower starts afresh: files that are as they should be are then adopted, and \
         those that left the set meanwhile have to be removed by hand", .0.display()
    )]
    Unusable(PathBuf, #[source] StateError),
    /// It cannot be said as JSON.
    #[error("cannot write `{}`", .0.display())]
    Unwritable(PathBuf, #[source] serde_json::Error),
}

impl Memory {
    /// Opens the memory for one process and reads it.
    pub fn open(folder: &Path) -> Result<Self, MemoryError> {
        let state = Arc::new(StateFolder::open(folder)?);
        let (ledger, status) = look(folder)?;
        Ok(Self { folder: state, ledger, noted: status.clone(), status })
    }

    /// Makes the ledger durable.
    pub fn save_ledger(&self) -> Result<(), MemoryError> {
        Ok(self.folder.write(LEDGER, &self.written(LEDGER, &self.ledger)?)?)
    }

    /// Puts down the status, unless there is nothing new but another word of the leader. Nothing is decided by it, so nobody
    /// waits for the disk.
    pub fn note_status(&mut self) -> Result<(), MemoryError> {
        let news = Status { last_contact: self.noted.last_contact.clone(), ..self.status.clone() };
        if news != self.noted {
            self.folder.note(STATUS, &self.written(STATUS, &self.status)?)?;
            self.noted = self.status.clone();
        }
        Ok(())
    }

    /// Keeps the certificates that are to be trusted from now on, in PEM form; whether they are others than before.
    pub(crate) fn keep_authorities(&self, pem: &str) -> Result<bool, MemoryError> {
        let is_news = self.folder.read(AUTHORITIES)?.is_none_or(|kept| kept != pem.as_bytes());
        if is_news {
            self.folder.write(AUTHORITIES, pem.as_bytes())?;
        }
        Ok(is_news)
    }

    /// The folder of all this.
    #[must_use]
    pub fn folder(&self) -> Arc<StateFolder> {
        Arc::clone(&self.folder)
    }

    fn written(&self, name: &str, content: &impl Serialize) -> Result<Vec<u8>, MemoryError> {
        to_state(content).map_err(|error| MemoryError::Unwritable(self.folder.file(name), error))
    }

    /// Notes that all is well.
    pub fn well(&mut self) {
        self.status.last_error = None;
    }

    /// Notes what is not; whether that is news.
    pub fn fault(&mut self, what: &str) -> bool {
        let is_new = self.status.last_error.as_ref().is_none_or(|fault| fault.what != what);
        if is_new {
            self.status.last_error = Some(Fault { since: now(), what: what.to_owned() });
        }
        is_new
    }

    /// Notes what is no longer as it was left; whether that is news.
    pub fn drifted(&mut self, found: Vec<Drifted>) -> bool {
        let before = std::mem::take(&mut self.status.drift);
        let since = |what: &str, how: &str| {
            before.iter().find(|known| known.what == what && known.how == how).map(|known| known.since.clone())
        };
        self.status.drift = found
            .into_iter()
            .map(|Drifted { what, how, .. }| Drift { since: since(&what, &how).unwrap_or_else(now), what, how })
            .collect();
        self.status.drift != before
    }

    /// Notes a revision that the leader has named, unless it has named a newer one.
    pub fn named(&mut self, revision: Option<RevisionId>) {
        self.status.desired = self.status.desired.max(revision);
    }

    /// Notes an answer of the leader.
    pub fn contact(&mut self) {
        self.status.last_contact = Some(now());
    }
}

/// The ledger and the status in `folder`, without taking it. Nothing is decided by the status, so one that cannot be read
/// is no reason to stop.
pub(crate) fn look(folder: &Path) -> Result<(Ledger, Status), MemoryError> {
    let status = read(&folder.join(STATUS)).or_else(|fault| match fault {
        MemoryError::Files(fault) => Err(MemoryError::Files(fault)),
        fault => {
            warn!(error = %Chain(&fault), "the status starts afresh");
            Ok(Status::default())
        }
    })?;
    Ok((read(&folder.join(LEDGER))?, status))
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, MemoryError> {
    let Some(bytes) = read_state(path)? else { return Ok(T::default()) };
    from_state(&bytes).map_err(|error| MemoryError::Unusable(path.to_owned(), error))
}

/// This moment (RFC 3339), to the second.
pub(crate) fn now() -> String {
    OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// How long ago that was (RFC 3339); no time at all where it lies ahead, because clocks are set.
pub(crate) fn since(time: &str) -> Option<Duration> {
    let then = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    Some((OffsetDateTime::now_utc() - then).try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_status_starts_afresh_and_a_damaged_ledger_is_never_guessed_at()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        for garbage in ["", "{", "[]", r#"{"version":1,"unheardOf":1}"#, r#"{"version":2}"#] {
            std::fs::write(folder.path().join(STATUS), garbage)?;
            assert_eq!(look(folder.path())?, (Ledger::default(), Status::default()));
        }
        for garbage in ["", "{", "[]", r#"{"version":1,"unheardOf":1}"#, r#"{"version":2}"#] {
            std::fs::write(folder.path().join(LEDGER), garbage)?;
            let refused = Memory::open(folder.path()).err().ok_or("it was read")?;
            assert!(matches!(refused, MemoryError::Unusable(..)), "{refused}");
        }
        Ok(())
    }
}
