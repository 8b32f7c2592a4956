//! `apply` and `rollout`: a change on its way through the fleet, as it is told.

use std::time::Duration;

use pconf_names::RevisionId;
use pconf_platform::Policy;
use pconf_publish::{Course, Phase, Rollout, Stage};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::orders::{Order, give};
use crate::terminal::{Failure, Said, Terminal};

/// So often a rollout is looked at that somebody waits for.
const LOOK: Duration = Duration::from_millis(200);

/// How far a rollout is. `rests` says that nothing more happens by itself.
pub(crate) fn said(rollout: Option<&Rollout>, rests: bool) -> Said {
    let Some(rollout) = rollout else {
        let text = "nothing was rolled out yet\n".to_owned();
        return Said { text, json: json!({ "ok": true, "rollout": null, "rests": true }) };
    };
    Said { text: text(rollout, rests), json: json!({ "ok": true, "rollout": rollout, "rests": rests }) }
}

/// What is saved is what is published.
pub(crate) fn nothing_to_apply(revision: Option<RevisionId>) -> Said {
    let shown = revision.map(|revision| format!("revision {revision}  ")).unwrap_or_default();
    Said {
        text: format!("{shown}says what is saved already: nothing to apply\n"),
        json: json!({ "ok": true, "revision": revision, "rollout": null, "rests": true }),
    }
}

/// Publishes what is saved, and tells how it goes until it rests.
pub(super) fn apply(folder: &Folder, order: Order, is_followed: bool, terminal: &Terminal) -> Result<Said, Failure> {
    let mut said = give(folder, order)?;
    let mut shown = String::new();
    while is_followed && said.json["rests"] != Value::Bool(true) {
        if said.text != shown {
            terminal.progress(said.text.lines().next().unwrap_or_default());
            shown.clone_from(&said.text);
        }
        std::thread::sleep(LOOK);
        said = give(folder, Order::RolloutStatus)?;
    }
    terminal.progress("");
    judged(said)
}

/// A rollout that did not get where it should is a failure for whoever waits for it.
pub(super) fn judged(said: Said) -> Result<Said, Failure> {
    let rollout = &said.json["rollout"];
    let is_back = rollout["course"]["is"] == "back";
    let is_halted = rollout["phase"]["is"] == "halted";
    if is_back || is_halted { Err(Failure::Stopped(said)) } else { Ok(said) }
}

/// What `status` says of a rollout; nothing, where there is nothing to say.
pub(super) fn in_short(rollout: &Value) -> Option<String> {
    let rollout = Rollout::deserialize(rollout).ok()?;
    let is_done = rollout.phase == Phase::Over && rollout.course == Course::Forward;
    // Where every machine gets every revision at once, what each of them says is all there is to say.
    let is_led = rollout.policy != Policy::at_once();
    (is_led && !is_done).then(|| text(&rollout, false))
}

fn text(rollout: &Rollout, rests: bool) -> String {
    let count = |is: fn(&Stage) -> bool| rollout.machines.values().filter(|turn| is(&turn.stage)).count();
    let done = count(|stage| *stage == Stage::Done);
    let going = count(|stage| matches!(stage, Stage::Offered { .. }));
    let waiting = count(|stage| *stage == Stage::Waiting);
    let failed = rollout.failures().count();
    let mut parts = vec![format!("{done} of {} machines done", rollout.machines.len())];
    for (number, what) in [(going, "on their way"), (waiting, "wait"), (failed, "failed")] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    let phase = match &rollout.phase {
        Phase::Going if rests => "going, waits for machines that are silent or suspended".to_owned(),
        Phase::Going => "going".to_owned(),
        Phase::Paused { reason } => format!("paused: {reason}"),
        Phase::Halted { .. } => "halted".to_owned(),
        Phase::Unconfirmed => "waits for `config-leader rollout confirm`".to_owned(),
        Phase::Over => "over".to_owned(),
    };
    let mut text = format!("revision {}  {}  {phase}\n", rollout.goal, parts.join(", "));
    if let Course::Back { from, reason } = &rollout.course {
        text += &format!("  says what was before {from}: {reason}\n");
    }
    let width = rollout.failures().map(|(name, _)| name.as_str().len()).max().unwrap_or_default();
    for (name, reason) in rollout.failures() {
        text += &format!("  {:width$}  {reason}\n", name.as_str());
    }
    if matches!(rollout.phase, Phase::Halted { .. }) {
        text += "  `config-leader rollout resume` goes on all the same, `config-leader rollout abort` goes back\n";
    }
    text
}
