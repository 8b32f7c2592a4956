//! What was published can be looked at, compared and gone back to, byte for byte, whatever happens to the leader meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, TemplateSet, eventually, read_tree};
use serde_json::{Value, json};

/// Every machine's files: bytes, owner and mode.
type Fleet = BTreeMap<String, BTreeMap<String, (Option<Vec<u8>>, String, u32)>>;

fn fleet(platform: &mut Platform) -> Result<Fleet> {
    let mut fleet = Fleet::new();
    for (name, machine) in platform.machines() {
        let tree = read_tree(&machine.root())?.into_iter();
        fleet.insert(name.to_owned(), tree.map(|(path, e)| (path, (e.content, e.owner, e.mode))).collect());
    }
    Ok(fleet)
}

/// Saves platform.json with that greeting, and with a comment that no machine ever sees.
fn say(platform: &mut Platform, greeting: &str) -> Result<()> {
    platform.set("/greeting", json!(greeting))?;
    let text = format!("// said: {greeting}\n{:#}\n/* the end */", platform.document());
    platform.write_text(&text)
}

fn asked(platform: &Platform, arguments: &[&str]) -> Result<Value> {
    let said = platform.command()?.args(arguments).args(["--output", "json"]).succeed()?;
    Ok(serde_json::from_str(&said)?)
}

/// What the history says of the newest revision, once it knows that one.
fn newest(platform: &Platform) -> Result<Value> {
    eventually("the history knows the newest revision", || {
        let said = asked(platform, &["history", "--last", "1"])?;
        let newest = said["revisions"][0].clone();
        Ok((newest["revision"] == json!(platform.revision()?)).then_some(newest))
    })
}

#[test]
fn a_rollback_brings_platform_json_back_byte_for_byte_and_the_fleet_with_it() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::with_secrets(), &["a", "b"])?;
    platform.write_secret("password", "a pass/word+of ours")?;
    platform.start()?;
    let mut seen = BTreeMap::new();
    for greeting in ["one", "two", "three", "four", "five"] {
        let revision = platform.roll_out(|platform| say(platform, greeting))?;
        newest(&platform)?;
        seen.insert(greeting, (revision, fs::read(platform.file())?, fleet(&mut platform)?));
    }
    let (revision, bytes, files) = &seen["two"];
    ensure!(*files != seen["five"].2, "nothing differs");

    let said = asked(&platform, &["rollback", revision, "--message", "five was too many"])?;
    ensure!(said["machines"] == json!({ "a": ["app/conf/app.json"], "b": ["app/conf/app.json"] }), "{said:#}");
    ensure!(said["unlike"] == json!({}), "{said:#}");
    ensure!(fs::read(platform.file())? == *bytes, "platform.json is not as it was");
    ensure!(platform.converged()? == said["revision"].as_str().context("a revision is published")?);
    ensure!(fleet(&mut platform)? == *files, "the machines are not as they were");
    let newest = newest(&platform)?;
    ensure!(newest["why"] == format!("rollback to {revision}: five was too many"), "{newest:#}");

    let diff = asked(&platform, &["diff", revision, "-0"])?;
    ensure!(diff["machines"] == json!({}) && diff["platform"] == "", "{diff:#}");
    let diff = asked(&platform, &["diff", "-1", "-0", "--machine", "b"])?;
    let shown = diff["machines"]["b"]["files"]["app/conf/app.json"]["diff"].as_str().context("a diff")?;
    ensure!(shown.contains("five") && shown.contains("two"), "{shown}");
    ensure!(diff["machines"]["a"].is_null(), "{diff:#}");
    Ok(())
}

#[test]
fn a_leader_that_is_killed_again_and_again_misses_no_revision_of_its_history() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    for round in 0..8_u32 {
        let before = platform.revision()?;
        say(&mut platform, &format!("round {round}"))?;
        // From before the leader hears of it to after the history does.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 9));
        platform.kill_leader()?;
        platform.start_leader()?;
        eventually("it is published", || Ok((platform.revision()? != before).then_some(())))?;
        newest(&platform)?;
    }
    let all = asked(&platform, &["history", "--last", "100"])?;
    let all = all["revisions"].as_array().context("a list")?;
    let numbers: Vec<&str> = all.iter().rev().filter_map(|one| one["revision"].as_str()).collect();
    let wanted: Vec<String> = (1..=numbers.len()).map(|number| format!("1.{number}")).collect();
    ensure!(numbers == wanted && numbers.len() == 9, "{numbers:?}");
    Ok(())
}

#[test]
fn a_backup_that_is_made_while_the_leader_publishes_is_a_whole_history() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::with_secrets(), &["a"])?;
    platform.write_secret("password", "a pass/word+of ours")?;
    platform.start()?;
    newest(&platform)?;
    for round in 0..4 {
        let before = platform.revision()?;
        say(&mut platform, &format!("round {round}"))?;
        let copy = platform.path(&format!("copy{round}"));
        fs::create_dir_all(copy.join("state"))?;
        let file = copy.join("state/history.db");
        platform.command()?.arg("backup").arg(&file).succeed()?;
        ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others can read the backup");
        let again = platform.command()?.arg("backup").arg(&file).end()?;
        ensure!(again.code == Some(1) && again.errors.contains("is there already"), "{again:?}");

        let program = promises::Program::ours("config-leader")?.arg("--dir").arg(&copy);
        let kept: Value = serde_json::from_str(&program.args(["show", "-0", "--output", "json"]).succeed()?)?;
        ensure!(kept["machines"]["a"]["files"]["app/conf/secret.json"]["isText"] == true, "{kept:#}");
        eventually("it is published", || Ok((platform.revision()? != before).then_some(())))?;
    }
    Ok(())
}

#[test]
fn a_history_is_as_long_as_its_leader_was_told() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.configure_leader("history", json!({ "revisions": 3 }))?;
    platform.start()?;
    for round in 0..6 {
        platform.roll_out(|platform| say(platform, &format!("round {round}")))?;
        newest(&platform)?;
    }
    eventually("the oldest are gone", || {
        let all = asked(&platform, &["history", "--last", "100"])?;
        Ok((all["revisions"].as_array().map(Vec::len) == Some(3)).then_some(()))
    })?;
    let gone = platform.command()?.args(["rollback", "1.1"]).end()?;
    ensure!(gone.code == Some(1) && gone.errors.contains("revision 1.1 is not in the history"), "{gone:?}");
    Ok(())
}
