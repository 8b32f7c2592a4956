//! The status for people: one line per machine, and below it why a machine is not where it should be.

use pconf_bundle::{Drift, Report, ServiceOutcome, ServiceReport, Verdict};
use pconf_names::RevisionId;
use serde::Deserialize as _;
use serde_json::Value;

use crate::commands::rollout;
use crate::terminal;

/// So many of a failed service's last lines are shown; `--output json` has them all.
const LAST_LINES: usize = 5;

/// What `GET /status` gave, as a table.
pub(super) fn table(status: &Value) -> String {
    let columns = ["MACHINE", "ROLE", "DESIRED", "ON DISK", "RUNNING", "BEHIND", "LAST CONTACT", "STATE"];
    let mut rows = vec![columns.map(str::to_owned)];
    let mut reports = Vec::new();
    for (name, machine) in status["machines"].as_object().into_iter().flatten() {
        let report = Report::deserialize(&machine["report"]).ok();
        rows.push([
            name.clone(),
            text(&machine["role"]),
            text(&machine["desired"]),
            text(&machine["onDisk"]),
            text(&machine["running"]),
            behind(&machine["behindSeconds"]),
            // Seconds are enough for a person.
            text(&machine["lastContact"]).split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned(),
            report.as_ref().map_or("has not reported yet".to_owned(), state) + &silence(machine),
        ]);
        let alarm = alarm(&machine["alarm"]);
        let lines: Vec<String> = alarm.into_iter().chain(report.iter().flat_map(details)).collect();
        reports.push((name, lines));
    }
    let width = rows.iter().map(|row| row[0].len()).max().unwrap_or_default();
    let accepted = if status["accepted"] == Value::Bool(true) { ", accepted" } else { "" };
    let mut shown = format!("revision {}{accepted}\n", text(&status["revision"]));
    shown += &rollout::in_short(&status["rollout"]).map(|text| format!("rollout of {text}")).unwrap_or_default();
    if let Some(draft) = status["draft"].as_object() {
        let said = |field: &str| draft.get(field).map(text).unwrap_or_default();
        shown += &format!("saved and not published: {}; {}\n", said("message"), said("help"));
    }
    shown.push('\n');
    shown += &terminal::table(&rows);
    for (name, lines) in reports {
        let mut label = name.as_str();
        for line in lines {
            // A blank line goes before the first one of a machine.
            let before = if label.is_empty() { "" } else { "\n" };
            shown += before;
            shown += format!("{label:width$}  {line}").trim_end();
            shown.push('\n');
            label = "";
        }
    }
    match status["problems"].as_array().map_or(0, Vec::len) {
        0 => {}
        count => shown += &format!("\nthe inputs are broken ({count}): `config-leader check` tells where\n"),
    }
    shown
}

/// What has changed from one status to the next, in a line each; times that only go on are no change.
pub(super) fn changes(before: &Value, now: &Value) -> Vec<String> {
    let mut changes = Vec::new();
    if before["revision"] != now["revision"] || before["accepted"] != now["accepted"] {
        let accepted = if now["accepted"] == Value::Bool(true) { ", accepted" } else { "" };
        changes.push(format!("revision {}{accepted}", text(&now["revision"])));
    }
    let problems = |status: &Value| status["problems"].as_array().map_or(0, Vec::len);
    if problems(before) != problems(now) {
        changes.push(match problems(now) {
            0 => "the inputs are good again".to_owned(),
            count => format!("the inputs are broken ({count})"),
        });
    }
    let known = ["role", "desired", "onDisk", "running", "isSilent", "report", "alarm"];
    for (name, machine) in now["machines"].as_object().into_iter().flatten() {
        let was = &before["machines"][name];
        if known.iter().any(|field| was[field] != machine[field]) {
            let state =
                Report::deserialize(&machine["report"]).ok().as_ref().map_or("has not reported yet".to_owned(), state);
            let (desired, on_disk) = (text(&machine["desired"]), text(&machine["onDisk"]));
            changes.push(format!("{name}  desired {desired}, on disk {on_disk}, {state}{}", silence(machine)));
        }
    }
    for (name, _) in before["machines"].as_object().into_iter().flatten() {
        if now["machines"][name].is_null() {
            changes.push(format!("{name}  is no machine of this platform any more"));
        }
    }
    changes
}

/// For how long a machine has not run what it is to run.
fn behind(seconds: &Value) -> String {
    match seconds.as_u64() {
        None => "?".to_owned(),
        Some(0) => "-".to_owned(),
        Some(seconds) => span(seconds),
    }
}

/// That nobody knows how a machine is by now.
fn silence(machine: &Value) -> String {
    match (machine["isSilent"].as_bool(), machine["silentSeconds"].as_u64()) {
        (Some(true), Some(seconds)) => format!(", silent for {}", span(seconds)),
        _ => String::new(),
    }
}

/// A span of time in one number.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// A machine's state in a few words; the reason comes below the table.
fn state(report: &Report) -> String {
    let still =
        |running: &Option<RevisionId>| running.map(|running| format!(", running {running}")).unwrap_or_default();
    let mut state = match &report.verdict {
        Verdict::Running { revision } => format!("running {revision}"),
        Verdict::Refused { revision, running, .. } => format!("refused {revision}{}", still(running)),
        Verdict::RolledBack { revision, running, .. } => format!("rolled back {revision}, running {running}"),
        Verdict::Unfinished { revision, running, .. } => format!("unfinished {revision}{}", still(running)),
        Verdict::Suspended { running, .. } => format!("suspended{}", still(running)),
    };
    match report.drift.len() {
        0 => {}
        count => state += &format!(", drift: {count}"),
    }
    state
}

/// Somebody has used a machine's string to join after somebody else.
fn alarm(alarm: &Value) -> Option<String> {
    let (at, from) = (alarm["at"].as_str()?, alarm["from"].as_str()?);
    Some(format!("ALARM: somebody at {from} used its string to join at {at}, which was used before: who has enrolled?"))
}

/// Why a machine is not where it should be, line by line.
fn details(report: &Report) -> Vec<String> {
    let reason = match &report.verdict {
        Verdict::Running { .. } => "",
        Verdict::Refused { reason, .. }
        | Verdict::RolledBack { reason, .. }
        | Verdict::Unfinished { reason, .. }
        | Verdict::Suspended { reason, .. } => reason,
    };
    let mut lines: Vec<String> = reason.lines().map(str::to_owned).collect();
    lines.extend(report.services.iter().flat_map(service));
    lines.extend(report.drift.iter().map(|Drift { what, how, since }| format!("{what}: {how}, since {since}")));
    lines
}

/// A container that did not get where it should be.
fn service(service: &ServiceReport) -> Vec<String> {
    let what = match service.outcome {
        ServiceOutcome::Failed => "failed",
        ServiceOutcome::Owed => "owed",
        ServiceOutcome::Stopped => "stopped by its operator",
        ServiceOutcome::Untouched
        | ServiceOutcome::Reloaded
        | ServiceOutcome::Restarted
        | ServiceOutcome::Recreated
        | ServiceOutcome::Removed => return Vec::new(),
    };
    let skipped = service.log.len().saturating_sub(LAST_LINES);
    let log = service.log.iter().skip(skipped).map(|line| format!("  | {line}"));
    [format!("{} {what}: {}", service.name, service.reason)].into_iter().chain(log).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(verdict: &Value, services: &Value, drift: &Value) -> Value {
        json!({
            "verdict": verdict, "written": [], "removed": [], "readByNothing": [], "services": services, "drift": drift,
        })
    }

    fn machine(role: &str, report: &Value) -> Value {
        let verdict = &report["verdict"];
        let is_there = verdict["state"] == "running";
        let running = if is_there { &verdict["revision"] } else { &verdict["running"] };
        json!({
            "role": role, "desired": "1.8", "lastContact": "2026-01-02T03:04:05.678Z", "report": report, "running": running,
            "onDisk": running, "behindSeconds": if is_there { 0 } else { 61 }, "silentSeconds": 5, "isSilent": false,
        })
    }

    #[test]
    fn the_table_tells_desired_and_running_apart_and_below_it_stands_why() {
        let broken = json!([
            { "name": "nginx", "outcome": "untouched", "reason": "" },
            { "name": "web", "outcome": "failed", "reason": "it exited with code 1",
              "log": ["1", "2", "reading web.json", "4", "5", "web.json: no greeting"] },
            { "name": "api", "outcome": "owed", "reason": "web has to work first" },
        ]);
        let differs = json!([{ "what": "core/conf/core.yml", "how": "changed", "since": "2026-01-02T03:00:00Z" }]);
        let none = json!([]);
        let at = |verdict: Value| report(&verdict, &none, &none);
        let status = json!({
            "revision": "1.8",
            "accepted": true,
            "problems": [{}],
            "machines": {
                "co1": machine("core", &at(json!({ "state": "running", "revision": "1.8" }))),
                "co2": machine("core", &report(&json!({ "state": "running", "revision": "1.8" }), &none, &differs)),
                "co3": machine("core", &report(
                    &json!({ "state": "rolled-back", "revision": "1.8", "running": "1.7", "reason": "web is not healthy" }),
                    &broken, &none)),
                "co4": machine("core", &at(
                    json!({ "state": "unfinished", "revision": "1.8", "running": null, "reason": "docker does not answer" }))),
                "co5": machine("core", &at(
                    json!({ "state": "suspended", "running": "1.7", "reason": "moving the disks" }))),
                "reg-slave": machine("reg-slave", &at(
                    json!({ "state": "refused", "revision": "1.8", "running": "1.7", "reason": "`nginx -t` failed:\n[emerg] no" }))),
                "web": {
                    "role": "static", "desired": "1.8", "lastContact": null, "report": null,
                    "alarm": { "key": 1, "at": "2026-01-02T03:04:05Z", "from": "10.8.0.66" },
                },
            },
        });
        assert_eq!(
            table(&status),
            "revision 1.8, accepted\n\n\
             MACHINE    ROLE       DESIRED  ON DISK  RUNNING  BEHIND  LAST CONTACT         STATE\n\
             co1        core       1.8      1.8      1.8      -       2026-01-02T03:04:05  running 1.8\n\
             co2        core       1.8      1.8      1.8      -       2026-01-02T03:04:05  running 1.8, drift: 1\n\
             co3        core       1.8      1.7      1.7      1 min   2026-01-02T03:04:05  rolled back 1.8, running 1.7\n\
             co4        core       1.8      -        -        1 min   2026-01-02T03:04:05  unfinished 1.8\n\
             co5        core       1.8      1.7      1.7      1 min   2026-01-02T03:04:05  suspended, running 1.7\n\
             reg-slave  reg-slave  1.8      1.7      1.7      1 min   2026-01-02T03:04:05  refused 1.8, running 1.7\n\
             web        static     1.8      -        -        ?       -                    has not reported yet\n\
             \n\
             co2        core/conf/core.yml: changed, since 2026-01-02T03:00:00Z\n\
             \n\
             co3        web is not healthy\n           \
                        web failed: it exited with code 1\n           \
                        \u{20} | 2\n           \
                        \u{20} | reading web.json\n           \
                        \u{20} | 4\n           \
                        \u{20} | 5\n           \
                        \u{20} | web.json: no greeting\n           \
                        api owed: web has to work first\n\
             \n\
             co4        docker does not answer\n\
             \n\
             co5        moving the disks\n\
             \n\
             reg-slave  `nginx -t` failed:\n           \
                        [emerg] no\n\
             \n\
             web        ALARM: somebody at 10.8.0.66 used its string to join at 2026-01-02T03:04:05Z, which was used before: who has enrolled?\n\
             \n\
             the inputs are broken (1): `config-leader check` tells where\n"
        );
    }

    #[test]
    fn what_changes_is_told_in_a_line_and_the_passing_of_time_is_no_change() {
        let none = json!([]);
        let running = |revision: &str| report(&json!({ "state": "running", "revision": revision }), &none, &none);
        let status = |machine: Value| json!({ "revision": "1.8", "problems": [], "machines": { "co1": machine } });
        let there = status(machine("core", &running("1.8")));
        let mut later = there.clone();
        later["machines"]["co1"]["silentSeconds"] = json!(59);
        later["machines"]["co1"]["lastContact"] = json!("2026-01-02T03:05:05Z");
        assert_eq!(changes(&there, &later), Vec::<String>::new());
        later["machines"]["co1"]["silentSeconds"] = json!(7300);
        later["machines"]["co1"]["isSilent"] = json!(true);
        assert_eq!(changes(&there, &later), ["co1  desired 1.8, on disk 1.8, running 1.8, silent for 2 h"]);
        let mut other = status(machine("core", &running("1.7")));
        other["machines"]["co2"] = json!({ "role": "core", "desired": "1.9" });
        other["revision"] = json!("1.9");
        other["problems"] = json!([{}]);
        assert_eq!(
            changes(&there, &other),
            [
                "revision 1.9",
                "the inputs are broken (1)",
                "co1  desired 1.8, on disk 1.7, running 1.7",
                "co2  desired 1.9, on disk -, has not reported yet",
            ]
        );
        assert_eq!(changes(&other, &there)[3], "co2  is no machine of this platform any more");
    }
}
