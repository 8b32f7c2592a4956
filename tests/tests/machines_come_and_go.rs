//! A machine is declared with one command, and gone with another.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use promises::{Platform, Program, TemplateSet};
use serde_json::Value;

const COMMENTED: &str = r#"{
  // the platform of a test
  "kind": "little",
  "settings": { "greeting": "hello" }, // said by all
  "machines": {
    "a": { "role": "app" }, // the first
  },
}
"#;

#[test]
fn a_machine_that_is_added_keeps_the_comments_and_can_follow_at_once() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.write_text(COMMENTED)?;
    platform.start_leader()?;
    let url = format!("http://{}:6000", platform.network().address(20));
    let added = platform
        .command()?
        .args(["machine", "add", "b", "--role", "app", "--url", &url, "--output", "json"])
        .succeed()?;
    let text = fs::read_to_string(platform.file())?;
    for comment in ["// the platform of a test", "// said by all", "// the first"] {
        ensure!(text.contains(comment), "`{comment}` is gone: {text}");
    }
    // What it printed is all that the machine needs, but for where its files go in this test.
    let added: Value = serde_json::from_str(&added)?;
    let string = added["join"].as_str().context("the line holds a string")?;
    let folder = platform.path("b");
    let file = folder.join("config-follower.json");
    Program::ours("config-follower")?
        .args(["join", string, "--docker", "none", "--config"])
        .arg(&file)
        .arg("--root")
        .arg(folder.join("root"))
        .succeed()?;
    let follow = || -> Result<_> { Program::ours("config-follower")?.arg("once").arg("--config").arg(&file).end() };
    promises::eventually("the new machine gets its files", || Ok((follow()?.code == Some(0)).then_some(())))
        .with_context(|| platform.logs())?;
    assert_eq!(fs::read_to_string(folder.join("root/app/conf/app.json"))?, "{\"greeting\":\"hello\"}\n");

    let listed = platform.command()?.args(["machine", "list"]).succeed()?;
    ensure!(listed.contains("a ") && listed.contains(&url), "{listed}");

    platform.command()?.args(["machine", "remove", "b"]).succeed()?;
    assert_eq!(fs::read_to_string(platform.file())?, COMMENTED);
    promises::eventually("the removed machine is refused", || Ok((follow()?.code != Some(0)).then_some(())))?;
    // What it has, it keeps.
    assert_eq!(fs::read_to_string(folder.join("root/app/conf/app.json"))?, "{\"greeting\":\"hello\"}\n");
    Ok(())
}

#[test]
fn machines_that_are_added_at_the_same_time_are_all_declared() -> Result<()> {
    let platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.write_text(COMMENTED)?;
    let added = ["b", "c", "d", "e", "f", "g", "h", "i"];
    let mut adding = Vec::new();
    for name in added {
        let command = platform.command()?.args(["machine", "add", name, "--role", "app", "--output", "json"]);
        adding.push(thread::spawn(move || command.succeed()));
    }
    // Each was told another string.
    let mut keys = BTreeSet::new();
    for adding in adding {
        let printed = adding.join().map_err(|_| anyhow!("the command was not started"))??;
        let printed: Value = serde_json::from_str(&printed)?;
        let key = printed["join"].as_str().context("a string to join with is printed")?.to_owned();
        keys.insert(key);
    }
    assert_eq!(keys.len(), added.len());
    let listed = platform.command()?.args(["machine", "list"]).succeed()?;
    for name in added {
        ensure!(listed.lines().any(|line| line.starts_with(&format!("{name} "))), "`{name}` is lost: {listed}");
    }
    let text = fs::read_to_string(platform.file())?;
    for comment in ["// the platform of a test", "// said by all", "// the first"] {
        ensure!(text.contains(comment), "`{comment}` is gone: {text}");
    }
    Ok(())
}

#[test]
fn a_key_that_others_can_read_is_not_used() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start_leader()?;
    let machine = platform.machine("a")?;
    machine.identify()?;
    fs::set_permissions(machine.identity_file(), fs::Permissions::from_mode(0o644))?;
    let outcome = machine.command("once")?.end()?;
    ensure!(outcome.code != Some(0) && outcome.errors.contains("chmod 600"), "{outcome:?}");
    assert!(machine.tree()?.is_empty());
    Ok(())
}

#[test]
fn status_tells_what_runs_here() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    let revision = platform.revision()?;
    let status = platform.machine("a")?.command("status")?.succeed()?;
    ensure!(status.contains(&revision), "{status}");
    Ok(())
}

#[test]
fn both_programs_end_politely() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    assert_eq!(platform.machine("a")?.stop()?, Some(0));
    assert_eq!(platform.stop_leader()?, Some(0));
    Ok(())
}
