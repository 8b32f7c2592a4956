//! What monitors read of the leader: revisions and machines out of what is served and what was heard, and a few counts.

use pconf_daemon::{Durations, Exposition, Kind, Requests, Tally};
use pconf_names::RevisionId;
use pconf_publish::{Phase, Rollout};

use crate::server::current::Current;
use crate::server::standing::Standing;

/// From 5 ms, which a small platform takes, to what a large one must not.
const LIMITS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What happens and is not remembered elsewhere.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Of followers, on every listener.
    pub(crate) requests: Requests,
    /// From inputs to files.
    pub(crate) render: Durations,
    /// From the look at changed inputs to the moment in which everybody can have what came of them.
    pub(crate) publish: Durations,
    /// What did not go well: `inputs`, `refused`, `rolled-back`, `unfinished`, `push`.
    pub(crate) failures: Tally,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: Requests::default(),
            render: Durations::new(&LIMITS),
            publish: Durations::new(&LIMITS),
            failures: Tally::new("reason", &["inputs", "refused", "rolled-back", "unfinished", "push"]),
        }
    }
}

/// One scrape.
pub(crate) fn scrape(counts: &Counts, current: &Current, machines: &[Standing], waiting: usize) -> String {
    let mut text = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.metric("config_leader_build_info", Kind::Gauge, "Which leader this is; always 1.").sample(&version, 1.0);
    let published = current.revision();
    text.metric("config_leader_revision_epoch", Kind::Gauge, "Epoch of the newest published revision.");
    if let Some(revision) = published {
        text.sample(&[], revision.epoch.into());
    }
    text.metric("config_leader_revision_number", Kind::Gauge, "Number of the newest published revision.");
    if let Some(revision) = published {
        text.sample(&[], number(revision));
    }
    text.gauge(
        "config_leader_problems",
        "What is wrong with the inputs as they are now.",
        count(current.problems.len()),
    );
    text.gauge("config_leader_waiters", "Followers that wait for news at this moment.", count(waiting));
    text.metric("config_leader_rollout_phase", Kind::Gauge, "How far the rollout is, if there is one; always 1.");
    if let Some(rollout) = &current.rollout {
        text.sample(&[("phase", phase(rollout))], 1.0);
    }
    of_machines(&mut text, machines);
    counts.render.write(
        &mut text,
        "config_leader_render_duration_seconds",
        "How long it took to render and judge all files.",
    );
    let help = "How long it took from the look at changed inputs until a new revision was served.";
    counts.publish.write(&mut text, "config_leader_publish_duration_seconds", help);
    let help = "What did not go well: inputs that are wrong, reports of revisions that do not run, followers that were not told.";
    counts.failures.write(&mut text, "config_leader_failures_total", help);
    counts.requests.write(&mut text, "config_leader_requests_total");
    text.into_text()
}

/// A number of one machine; nothing where that is not known.
type Value = fn(&Standing) -> Option<f64>;

fn of_machines(text: &mut Exposition, machines: &[Standing]) {
    text.metric(
        "config_leader_machine_state",
        Kind::Gauge,
        "Role and state of each machine, as it last told; always 1.",
    );
    for machine in machines {
        text.sample(&[("machine", &machine.name), ("role", &machine.role), ("state", machine.state)], 1.0);
    }
    let gauges: [(&'static str, &str, Value); 12] = [
        ("config_leader_machine_desired_epoch", "Epoch of the revision that the machine is to run.", |machine| {
            machine.desired.map(|revision| revision.epoch.into())
        }),
        ("config_leader_machine_desired_number", "Number of the revision that the machine is to run.", |machine| {
            machine.desired.map(number)
        }),
        ("config_leader_machine_on_disk_epoch", "Epoch of the revision whose files are all on its disk.", |machine| {
            machine.on_disk.map(|revision| revision.epoch.into())
        }),
        (
            "config_leader_machine_on_disk_number",
            "Number of the revision whose files are all on its disk.",
            |machine| machine.on_disk.map(number),
        ),
        (
            "config_leader_machine_running_epoch",
            "Epoch of the revision that the machine last said it runs.",
            |machine| machine.running.map(|revision| revision.epoch.into()),
        ),
        (
            "config_leader_machine_running_number",
            "Number of the revision that the machine last said it runs.",
            |machine| machine.running.map(number),
        ),
        (
            "config_leader_machine_behind_seconds",
            "For how long it has not run what it is to run; 0 when it does.",
            |machine| machine.behind.map(|behind| behind.as_secs_f64()),
        ),
        ("config_leader_machine_silent_seconds", "Since its last authenticated request.", |machine| {
            machine.silent.map(|silent| silent.as_secs_f64())
        }),
        ("config_leader_machine_owed_actions", "Services whose turn has not come, by its last report.", |machine| {
            machine.owed.map(count)
        }),
        ("config_leader_machine_failed_services", "Services that are not well, by its last report.", |machine| {
            machine.failed.map(count)
        }),
        (
            "config_leader_machine_drift",
            "Files and containers that are not as they were left, by its last report.",
            |machine| machine.drift.map(count),
        ),
        ("config_leader_machine_push_failed", "Whether the last word to look did not reach it.", |machine| {
            Some(f64::from(u8::from(machine.push_failed)))
        }),
    ];
    for (name, help, value) in gauges {
        text.metric(name, Kind::Gauge, help);
        for machine in machines {
            if let Some(value) = value(machine) {
                text.sample(&[("machine", &machine.name)], value);
            }
        }
    }
}

fn phase(rollout: &Rollout) -> &'static str {
    match rollout.phase {
        Phase::Going => "going",
        Phase::Paused { .. } => "paused",
        Phase::Halted { .. } => "halted",
        Phase::Unconfirmed => "unconfirmed",
        Phase::Over => "over",
    }
}

#[allow(clippy::cast_precision_loss, reason = "numbers up to 2^53 are exact")]
fn number(revision: RevisionId) -> f64 {
    revision.number as f64
}

#[allow(clippy::cast_precision_loss, reason = "numbers up to 2^53 are exact")]
fn count(many: usize) -> f64 {
    many as f64
}
