//! A change that is more likely a slip than a wish waits for a word, at the leader or on the machine.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, TemplateSet, eventually};
use serde_json::{Value, json};

/// Many times as long as the usual greeting.
fn long() -> Value {
    json!("x".repeat(5000))
}

/// Waits until a machine has said of that revision what its state is; the reason.
fn reason(platform: &Platform, machine: &str, state: &str, revision: &str) -> Result<String> {
    eventually(&format!("{machine} says `{state}` of {revision}"), || {
        let verdict = &platform.status()?["machines"][machine]["report"]["verdict"];
        let says = verdict["state"] == state && verdict["revision"] == revision;
        Ok(says.then(|| verdict["reason"].as_str().unwrap_or_default().to_owned()))
    })
    .with_context(|| platform.logs())
}

#[test]
fn a_revision_that_grows_a_file_suspiciously_is_taken_when_the_admin_accepts_it_and_the_next_one_is_not() -> Result<()>
{
    let mut platform = Platform::little(&TemplateSet::little(), &["a", "b"])?;
    platform.start()?;
    let before = platform.machine("a")?.read("app/conf/app.json")?;

    // Told before it is published …
    let text = fs::read_to_string(platform.file())?;
    platform.stop_leader()?;
    platform.set("/greeting", long())?;
    let checked = platform.check()?;
    ensure!(checked.code == Some(0), "{checked:?}");
    for machine in ["a", "b"] {
        let warning = format!("warning: {machine}: `app/conf/app.json` grows from {} to ", before.len());
        ensure!(checked.output.contains(&warning), "{checked:?}");
    }
    platform.write_text(&text)?;
    platform.start_leader()?;

    // … held back where it is, and told why …
    let held = platform.publish(|platform| platform.set("/greeting", long()))?;
    for machine in ["a", "b"] {
        let reason = reason(&platform, machine, "refused", &held)?;
        ensure!(reason.contains("app/conf/app.json") && reason.contains("accept"), "{reason}");
        assert_eq!(platform.machine(machine)?.read("app/conf/app.json")?, before);
    }
    let shown = platform.command()?.arg("status").succeed()?;
    ensure!(shown.contains(&format!("refused {held}")) && shown.contains("`app/conf/app.json`"), "{shown}");

    // … and taken at one word, with the number that it has.
    let refused = platform.command()?.args(["accept", "1.99"]).end()?;
    ensure!(refused.code == Some(1) && refused.errors.contains(&held), "{refused:?}");
    platform.command()?.args(["accept", &held]).succeed()?;
    assert_eq!(platform.converged()?, held);
    ensure!(platform.machine("b")?.read("app/conf/app.json")?.len() > 5000);

    // The word outlives the leader, and is for that revision alone.
    platform.stop_leader()?;
    platform.start_leader()?;
    assert_eq!(platform.status()?["accepted"], json!(true));
    let next = platform.publish(|platform| platform.set("/more", json!("y".repeat(20_000))))?;
    assert_eq!(platform.status()?["accepted"], json!(false));
    reason(&platform, "a", "refused", &next)?;
    Ok(())
}

#[test]
fn what_was_published_can_be_accepted_while_the_inputs_are_broken() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    let held = platform.publish(|platform| platform.set("/greeting", long()))?;
    reason(&platform, "a", "refused", &held)?;
    platform.write_text("{")?;
    platform.wait_for_problems(true)?;
    platform.command()?.arg("accept").succeed()?;
    assert_eq!(platform.converged()?, held);
    Ok(())
}
