//! What monitors read of a follower: where the machine was after the last cycle, and a few counts.

use pconf_daemon::{Durations, Exposition, Kind, Requests, Tally};
use pconf_names::RevisionId;

use crate::cycle::Outcome;

/// From files alone to services that take their time to be well.
const LIMITS: [f64; 9] = [0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What happens and is not remembered elsewhere.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Of the leader.
    pub(crate) requests: Requests,
    /// From the look at the machine until every service was well, or was not.
    pub(crate) apply: Durations,
    /// Cycles that did not get where they should: `refused`, `rolled-back`, `failed`, `no-goal`; and `report`s not taken.
    pub(crate) failures: Tally,
}

impl Default for Counts {
    fn default() -> Self {
        let reasons = ["refused", "rolled-back", "failed", "no-goal", "report"];
        Self { requests: Requests::default(), apply: Durations::new(&LIMITS), failures: Tally::new("reason", &reasons) }
    }
}

impl Counts {
    /// A cycle came to this.
    pub(crate) fn ended(&self, outcome: &Outcome) {
        self.failures.count(match outcome {
            Outcome::Refused { .. } => "refused",
            Outcome::RolledBack { .. } => "rolled-back",
            Outcome::Failed { .. } => "failed",
            Outcome::NoGoal { .. } => "no-goal",
            Outcome::Unchanged | Outcome::Running { .. } | Outcome::Suspended { .. } | Outcome::Interrupted => return,
        });
    }
}

/// The machine after the last cycle.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Position {
    pub(crate) desired: Option<RevisionId>,
    pub(crate) on_disk: Option<RevisionId>,
    pub(crate) running: Option<RevisionId>,
    pub(crate) owed: usize,
    pub(crate) drift: usize,
    pub(crate) is_suspended: bool,
    pub(crate) is_refused: bool,
    /// How far the leader's clock is ahead, in seconds.
    pub(crate) skew: Option<i64>,
    /// Seconds since the leader last gave an answer to believe.
    pub(crate) silent: Option<f64>,
}

/// One scrape.
#[allow(clippy::cast_precision_loss, reason = "numbers up to 2^53 are exact")]
pub(crate) fn scrape(counts: &Counts, at: &Position) -> String {
    let mut text = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.metric("config_follower_build_info", Kind::Gauge, "Which follower this is; always 1.").sample(&version, 1.0);
    let epoch = |revision: Option<RevisionId>| revision.map(|revision| f64::from(revision.epoch));
    let number = |revision: Option<RevisionId>| revision.map(|revision| revision.number as f64);
    let yes = |is_so: bool| Some(f64::from(u8::from(is_so)));
    let gauges = [
        ("config_follower_desired_epoch", "Epoch of the newest revision that the leader has named.", epoch(at.desired)),
        (
            "config_follower_desired_number",
            "Number of the newest revision that the leader has named.",
            number(at.desired),
        ),
        ("config_follower_on_disk_epoch", "Epoch of the revision whose files are all on disk.", epoch(at.on_disk)),
        ("config_follower_on_disk_number", "Number of the revision whose files are all on disk.", number(at.on_disk)),
        ("config_follower_running_epoch", "Epoch of the last revision that ran wholly.", epoch(at.running)),
        ("config_follower_running_number", "Number of the last revision that ran wholly.", number(at.running)),
        ("config_follower_owed_actions", "Services that have not taken a change yet.", Some(at.owed as f64)),
        ("config_follower_drift", "Files and containers that are not as they were left.", Some(at.drift as f64)),
        ("config_follower_suspended", "Whether the operator wants that nothing is touched.", yes(at.is_suspended)),
        (
            "config_follower_refused",
            "Whether a revision broke this machine and is not taken again.",
            yes(at.is_refused),
        ),
        ("config_follower_silent_seconds", "Since the last authenticated answer of the leader.", at.silent),
        (
            "config_follower_clock_skew_seconds",
            "How far the leader's clock is ahead of this one.",
            at.skew.map(|skew| skew as f64),
        ),
    ];
    for (name, help, value) in gauges {
        text.metric(name, Kind::Gauge, help);
        if let Some(value) = value {
            text.sample(&[], value);
        }
    }
    let help = "How long it took from the look at the machine until every service was well, or was not.";
    counts.apply.write(&mut text, "config_follower_apply_duration_seconds", help);
    let help = "Cycles that did not get where they should, and reports that the leader did not take.";
    counts.failures.write(&mut text, "config_follower_failures_total", help);
    counts.requests.write(&mut text, "config_follower_requests_total");
    text.into_text()
}
