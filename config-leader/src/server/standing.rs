//! Where each machine stands, by what it last told: what it is to run, what lies on its disk, what it runs, and since when
//! that has not been the same. It never says more than was heard, and says how old that is.

use std::time::Duration;

use pconf_bundle::{Report, ServiceOutcome, Verdict};
use pconf_names::RevisionId;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where a machine stands.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) role: String,
    /// One of `running`, `refused`, `rolled-back`, `unfinished`, `suspended` and `unheard`.
    pub(crate) state: &'static str,
    pub(crate) desired: Option<RevisionId>,
    pub(crate) on_disk: Option<RevisionId>,
    pub(crate) running: Option<RevisionId>,
    /// For how long it has not run what it is to run; `None` where that is not known.
    pub(crate) behind: Option<Duration>,
    /// Since its last authenticated request.
    pub(crate) silent: Option<Duration>,
    /// Whether that is so long that it may be anywhere by now (`silentAfter`).
    pub(crate) is_silent: bool,
    pub(crate) owed: Option<usize>,
    pub(crate) failed: Option<usize>,
    pub(crate) drift: Option<usize>,
    pub(crate) push_failed: bool,
}

/// Whether the machine told that it runs this revision, wholly.
pub(crate) fn is_there(report: Option<&Report>, desired: RevisionId) -> bool {
    report.is_some_and(|report| report.verdict == Verdict::Running { revision: desired })
}

/// What a machine's last verdict is, in one word.
pub(crate) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Running { .. } => "running",
        Verdict::Refused { .. } => "refused",
        Verdict::RolledBack { .. } => "rolled-back",
        Verdict::Unfinished { .. } => "unfinished",
        Verdict::Suspended { .. } => "suspended",
    }
}

/// How many services a report tells of with that outcome.
pub(crate) fn services(report: &Report, outcome: ServiceOutcome) -> usize {
    report.services.iter().filter(|service| service.outcome == outcome).count()
}

/// How long ago a time (RFC 3339) was; no time at all where it lies ahead, because clocks are set.
pub(crate) fn since(time: &str, now: OffsetDateTime) -> Option<Duration> {
    let then = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    Some((now - then).try_into().unwrap_or(Duration::ZERO))
}

impl Standing {
    /// What `status` tells of it besides what was heard.
    pub(crate) fn to_json(&self) -> Value {
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
        json!({
            "state": self.state,
            "desired": self.desired,
            "onDisk": self.on_disk,
            "running": self.running,
            // Rounded up: who has been behind for a moment is behind.
            "behindSeconds": self.behind.map(|behind| behind.as_millis().div_ceil(1000)),
            "silentSeconds": seconds(self.silent),
            "isSilent": self.is_silent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_of_a_clock_that_was_set_back_is_now() -> anyhow::Result<()> {
        let now = OffsetDateTime::parse("2026-01-02T03:04:05Z", &Rfc3339)?;
        assert_eq!(since("2026-01-02T03:03:05.5Z", now), Some(Duration::from_millis(59_500)));
        assert_eq!(since("2026-01-02T03:04:06Z", now), Some(Duration::ZERO));
        assert_eq!(since("yesterday", now), None);
        Ok(())
    }
}
