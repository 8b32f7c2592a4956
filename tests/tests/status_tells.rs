//! The status tells what machines said, how old that is, and by its exit code whether all are where they should be.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use promises::{Daemon, Platform, TemplateSet, eventually};
use serde_json::json;

/// The exit code of `status --detailed-exitcode`.
fn detailed(platform: &Platform) -> Result<Option<i32>> {
    Ok(platform.command()?.args(["status", "--detailed-exitcode"]).end()?.code)
}

#[test]
fn a_machine_that_is_away_is_behind_and_not_said_to_run_what_it_does_not() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a", "b"])?;
    platform.start()?;
    let before = platform.revision()?;
    assert_eq!(detailed(&platform)?, Some(0));
    platform.machine("b")?.stop()?;
    let after = platform.publish(|platform| platform.set("/greeting", json!("b is away")))?;
    eventually("a has it", || Ok((platform.status()?["machines"]["a"]["running"] == *after).then_some(())))?;
    assert_eq!(detailed(&platform)?, Some(5));
    // Time has to pass before it is behind by a second.
    let away = eventually("b is seen to be behind", || {
        let away = platform.status()?["machines"]["b"].clone();
        Ok(away["behindSeconds"].as_u64().is_some_and(|seconds| seconds > 0).then_some(away))
    })?;
    assert_eq!((&away["desired"], &away["onDisk"], &away["running"]), (&json!(after), &json!(before), &json!(before)));
    let there = platform.status()?["machines"]["a"].clone();
    assert_eq!(
        (&there["onDisk"], &there["running"], &there["behindSeconds"]),
        (&json!(after), &json!(after), &json!(0))
    );
    // Without the flag a status that was told is a success.
    assert_eq!(platform.command()?.arg("status").end()?.code, Some(0));
    platform.machine("b")?.start()?;
    platform.converged()?;
    assert_eq!(detailed(&platform)?, Some(0));
    Ok(())
}

#[test]
fn a_watched_status_tells_changes_line_by_line_and_ends_when_asked() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    let log = platform.path("watched");
    let watching = Daemon::start(platform.command()?.args(["status", "--watch"]), &log)?;
    let read = || fs::read_to_string(&log).unwrap_or_default();
    eventually("the table is shown", || Ok(read().contains("MACHINE").then_some(())))?;
    let revision = platform.roll_out(|platform| platform.set("/greeting", json!("watched")))?;
    let line = format!("  a  desired {revision}, on disk {revision}, running {revision}\n");
    eventually("the change is told", || Ok(read().contains(&line).then_some(()))).with_context(read)?;
    // What does not change is not told again.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(read().matches(&line).count(), 1, "{}", read());
    assert_eq!(watching.end()?, Some(0));
    Ok(())
}
