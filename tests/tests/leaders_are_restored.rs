//! A leader that comes back from a backup knows less than its machines: they stay as they are, say why, and follow it
//! again as soon as its operator says that it is to count anew.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, TemplateSet, eventually};
use serde_json::json;

/// Copies a folder that is in use, as often as something in it comes and goes meanwhile.
fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    eventually("nothing in it changes while it is copied", || {
        let _not_there_yet = std::fs::remove_dir_all(to);
        Ok(Command::new("cp").arg("-a").arg(from).arg(to).status()?.success().then_some(()))
    })
}

/// Waits until every machine has refused that revision of the leader; why.
fn refused(platform: &Platform, revision: &str) -> Result<Vec<String>> {
    eventually("every machine refuses what the leader offers", || {
        let status = platform.status()?;
        let machines = status["machines"].as_object().context("/status lists the machines")?;
        let verdicts: Vec<_> = machines.values().map(|machine| &machine["report"]["verdict"]).collect();
        let is_refused = verdicts.iter().all(|said| said["state"] == "refused" && said["revision"] == revision);
        let reasons = verdicts.iter().filter_map(|said| said["reason"].as_str().map(str::to_owned));
        Ok(is_refused.then(|| reasons.collect()))
    })
    .with_context(|| platform.logs())
}

#[test]
fn nobody_follows_a_restored_leader_back_and_everybody_says_why() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a", "b"])?;
    platform.start()?;
    copy(&platform.path("leader"), &platform.path("backup"))?;
    for greeting in ["one", "two"] {
        platform.roll_out(|platform| platform.set("/greeting", json!(greeting)))?;
    }
    let newest = platform.revision()?;
    platform.stop_leader()?;
    std::fs::remove_dir_all(platform.path("leader"))?;
    copy(&platform.path("backup"), &platform.path("leader"))?;
    platform.start_leader()?;

    let offered = platform.revision()?;
    for reason in refused(&platform, &offered)? {
        for part in [&offered, &newest, "may have been restored from a backup", "`config-leader epoch bump`"] {
            ensure!(reason.contains(part), "{reason}");
        }
    }
    // It goes on publishing, and comes to a number that the machines know with something else in it.
    for greeting in ["three", "four"] {
        platform.publish(|platform| platform.set("/greeting", json!(greeting)))?;
    }
    ensure!(platform.revision()? == newest, "{} {newest}", platform.revision()?);
    for reason in refused(&platform, &newest)? {
        ensure!(reason.contains(&format!("is not the revision {newest} that this machine has seen")), "{reason}");
    }
    for (name, machine) in platform.machines() {
        ensure!(machine.read("app/conf/app.json")?.contains("two"), "{name} did not keep its files");
        let status = machine.command("status")?.succeed()?;
        ensure!(status.contains("`config-leader epoch bump`"), "{name} does not say why: {status}");
    }

    platform.command()?.args(["epoch", "bump"]).succeed()?;
    let revision = platform.converged()?;
    ensure!(revision.starts_with("2."), "{revision} is of the epoch before");
    for (name, machine) in platform.machines() {
        ensure!(machine.read("app/conf/app.json")?.contains("four"), "{name} is not at {revision}");
    }
    Ok(())
}
