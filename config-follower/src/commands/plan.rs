//! `plan`: what a cycle would do. Nothing is touched, not even the memory.

use std::collections::BTreeMap;

use anyhow::Context as _;
use pconf_bundle::{Bundle, Changed, Masks, masked_diff};
use pconf_containers::Docker;
use pconf_files::Root;
use pconf_names::RelativePath;
use pconf_plan::{Foreseen, Plan, foresee, places_to_look};
use serde_json::json;

use crate::commands::Ending;
use crate::config::Config;
use crate::identity::Identity;
use crate::leader::{Leader, Pulled};
use crate::machine::Machine;
use crate::memory;
use crate::store;
use crate::terminal::Terminal;

pub(super) async fn run(config: &Config, terminal: Terminal, tells_by_exit_code: bool) -> anyhow::Result<Ending> {
    let (ledger, _) = memory::look(&config.state)?;
    let Pulled::Goal(goal) = Leader::new(config, Identity::to_look(&config.ring))?.pull(None).await? else {
        anyhow::bail!("the leader answered that nothing is new, which it was not asked");
    };
    let goal = goal.bundle;
    let machine = Machine::new(&config.root, config.docker.as_deref().map(Docker::at));
    let observed = machine.observe(places_to_look(&goal, &ledger)).await.context("cannot look at this machine")?;
    let plan = match foresee(&goal, &ledger, &config.limits, &observed) {
        Foreseen::Taken(plan) => plan,
        Foreseen::Refused(refusal) => {
            terminal.fail(&format!("{} would be refused: {refusal}", goal.revision));
            return Ok(Ending::Refused);
        }
        Foreseen::Quarantined(reason) => {
            let way_out = "`config-follower retry` takes it once more";
            terminal.fail(&format!("{} is not taken: {reason}; {way_out}", goal.revision));
            return Ok(Ending::Refused);
        }
    };
    let applied = ledger.applied.as_ref().and_then(|applied| store::look(config, applied).ok());
    let masks = applied.map_or_else(|| goal.masks.clone(), |applied| goal.masks.and(&applied.masks));
    let diffs = diffs(config, &goal, &plan, &masks)?;
    let text = || {
        let diffs = diffs.iter().map(|(path, diff)| format!("\n{path}\n{diff}"));
        format!("{plan}{}", diffs.collect::<String>())
    };
    terminal.show(&text(), || {
        let mut json = json!(plan);
        json["diffs"] = json!(diffs);
        json
    });
    Ok(if tells_by_exit_code && !plan.is_empty() { Ending::Differs } else { Ending::Done })
}

/// What changes in each file, without any secret.
fn diffs(config: &Config, goal: &Bundle, plan: &Plan, masks: &Masks) -> anyhow::Result<BTreeMap<RelativePath, String>> {
    /// Nobody reads more than that, and no configuration is longer.
    const LONGEST: u64 = 1024 * 1024;
    // Where there is no root yet, nothing is replaced.
    let root = Root::open(&config.root).ok();
    let on_disk = |path: &RelativePath| match &root {
        Some(root) => root.read(path, LONGEST),
        None => Ok(None),
    };
    let mut diffs = BTreeMap::new();
    for path in plan.written() {
        let file = goal.files.iter().find(|file| file.path == *path);
        let after = file.map(|file| file.content.as_bytes());
        diffs.insert(path.clone(), masked_diff(&Changed { before: on_disk(path)?.as_deref(), after }, masks));
    }
    for path in plan.removed() {
        diffs.insert(path.clone(), masked_diff(&Changed { before: on_disk(path)?.as_deref(), after: None }, masks));
    }
    Ok(diffs)
}
