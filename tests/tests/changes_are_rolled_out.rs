//! A change is led through the fleet: it stops at the first machine that does not take it, goes on where a killed leader was,
//! waits for a word where the platform says so, and can be taken back.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use promises::{Outcome, Platform, TemplateSet, eventually};
use serde_json::{Value, json};

/// Five machines; the setting `part` is the name of a folder on each.
const FLEET: [&str; 5] = ["canary", "m1", "m2", "m3", "m4"];

fn fleet(rollout: Value) -> Result<Platform> {
    let set = TemplateSet::little().text("app/app/{{ settings.part }}/part.json.tera", "{{ settings | json }}\n");
    let mut platform = Platform::little(&set, &FLEET)?;
    for name in FLEET {
        // Who is there is heard every second or so.
        platform.machine(name)?.configure("poll", json!(1))?;
    }
    platform.edit(|document| {
        document["settings"] = json!({ "part": "first", "greeting": "hello" });
        document["rollout"] = rollout;
    })?;
    platform.start()?;
    Ok(platform)
}

/// The machine cannot make the folder of that name: something else stands there.
fn obstruct(platform: &mut Platform, machine: &str, part: &str) -> Result<()> {
    platform.machine(machine)?.plant(&format!("app/{part}"), b"in the way")
}

/// What `rollout status` says.
fn rollout(platform: &Platform) -> Result<Value> {
    Ok(platform.status()?["rollout"].clone())
}

/// Waits for a phase.
fn phase(platform: &Platform, wanted: &str) -> Result<Value> {
    eventually(&format!("the rollout is {wanted}"), || {
        let rollout = rollout(platform)?;
        ensure!(rollout["phase"]["is"] == wanted, "{rollout:#}");
        Ok(Some(rollout))
    })
    .with_context(|| platform.logs())
}

/// Which machines have the folder of that part.
fn at(platform: &mut Platform, part: &str) -> Result<Vec<&'static str>> {
    let mut there = Vec::new();
    for name in FLEET {
        if platform.machine(name)?.root().join("app").join(part).join("part.json").exists() {
            there.push(name);
        }
    }
    Ok(there)
}

fn apply(platform: &Platform, arguments: &[&str]) -> Result<Outcome> {
    platform.command()?.arg("apply").args(arguments).end()
}

fn order(platform: &Platform, order: &str) -> Result<Outcome> {
    platform.command()?.args(["rollout", order]).end()
}

#[test]
fn what_the_canary_does_not_take_reaches_nobody_else() -> Result<()> {
    let mut platform = fleet(json!({ "canary": ["canary"], "publish": "manual" }))?;
    let before = platform.revision()?;
    obstruct(&mut platform, "canary", "second")?;
    platform.set("/part", json!("second"))?;
    let text = fs::read_to_string(platform.file())?;
    eventually("the change is a draft", || Ok((platform.status()?["draft"]["code"] == "manual").then_some(())))?;

    let ended = apply(&platform, &[])?;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    ensure!(ended.errors.contains("app/second"), "{ended:?}");
    let over = phase(&platform, "over")?;
    assert_eq!(over["course"]["is"], "back");
    // All of them say what they said before, by a newer number; nobody but the canary was told of the one between.
    let after = platform.converged()?;
    ensure!(before != after);
    assert_eq!(at(&mut platform, "first")?, FLEET);
    for name in &FLEET[1..] {
        let log = platform.machine(name)?.log()?;
        ensure!(!log.contains(&number_between(&before, &after)?), "{name} was told:\n{log}");
    }
    assert_eq!(fs::read_to_string(platform.file())?, text);

    // The same is not tried again by itself, not after a restart either; with the obstacle gone it is, at a word.
    platform.stop_leader()?;
    platform.start_leader()?;
    eventually("the change is rejected", || Ok((platform.status()?["draft"]["code"] == "rejected").then_some(())))?;
    assert_eq!(platform.revision()?, after);
    fs::remove_file(platform.machine("canary")?.root().join("app/second"))?;
    let ended = apply(&platform, &[])?;
    ensure!(ended.code == Some(0), "{ended:?}\n{}", platform.logs());
    assert_eq!(at(&mut platform, "second")?, FLEET);
    assert_eq!(order(&platform, "status")?.code, Some(0));
    Ok(())
}

/// The revision between two that are two apart.
fn number_between(before: &str, after: &str) -> Result<String> {
    let number = |revision: &str| -> Result<u64> { Ok(revision.rsplit('.').next().unwrap_or_default().parse()?) };
    ensure!(number(after)? == number(before)? + 2, "{before} … {after}");
    Ok(format!("revision=1.{} ", number(before)? + 1))
}

#[test]
fn a_later_machine_that_fails_stops_it_and_those_done_go_back_or_stay() -> Result<()> {
    for (policy, at_second) in [("return", &[][..]), ("stay", &["canary", "m1"][..])] {
        let mut platform = fleet(json!({ "canary": ["canary"], "batch": 1, "onFailure": policy }))?;
        obstruct(&mut platform, "m2", "second")?;
        platform.set("/part", json!("second"))?;
        if policy == "return" {
            eventually("the fleet is back", || {
                let rollout = rollout(&platform)?;
                Ok((rollout["course"]["is"] == "back" && rollout["phase"]["is"] == "over").then_some(()))
            })
            .with_context(|| platform.logs())?;
        } else {
            phase(&platform, "halted")?;
        }
        assert_eq!(at(&mut platform, "second")?, at_second);
        for name in ["m3", "m4"] {
            let log = platform.machine(name)?.log()?;
            ensure!(log.matches("revision runs").count() <= 2 && !log.contains("second"), "{log}");
        }
        let ended = order(&platform, "status")?;
        ensure!(ended.code == Some(3) && ended.errors.contains("m2"), "{ended:?}");
        if policy == "stay" {
            // Nobody went on by itself; at a word the others do, and at another one all go back.
            ensure!(order(&platform, "resume")?.code == Some(0));
            phase(&platform, "over")?;
            assert_eq!(at(&mut platform, "second")?, ["canary", "m1", "m3", "m4"]);
            let aborted = order(&platform, "abort")?;
            ensure!(aborted.code == Some(1) && aborted.errors.contains("over"), "{aborted:?}");
        }
    }
    Ok(())
}

#[test]
fn a_leader_that_is_killed_at_any_step_goes_on_there_and_no_machine_acts_twice() -> Result<()> {
    let mut platform = fleet(json!({ "canary": ["canary"], "batch": 1, "healthyFor": "1s" }))?;
    let before = platform.revision()?;
    platform.set("/part", json!("second"))?;
    eventually("another revision", || Ok((platform.revision()? != before).then_some(())))?;
    let goal = platform.revision()?;
    for done in 1..=FLEET.len() {
        let kill = |is: &str, rollout: &Value| {
            let machines = rollout["machines"].as_object().map(|machines| machines.values().cloned().collect());
            let machines: Vec<Value> = machines.unwrap_or_default();
            machines.iter().filter(|turn| turn["stage"]["is"] == is).count()
        };
        // Once with a machine on its way, once with one more done.
        for (is, count) in [("offered", 1), ("done", done)] {
            eventually("the next step", || {
                let rollout = rollout(&platform)?;
                Ok((kill(is, &rollout) >= count || rollout["phase"]["is"] == "over").then_some(()))
            })
            .with_context(|| platform.logs())?;
            platform.kill_leader()?;
            platform.start_leader()?;
            assert_eq!(platform.revision()?, goal);
        }
    }
    phase(&platform, "over")?;
    assert_eq!(platform.converged()?, goal);
    for name in FLEET {
        let log = platform.machine(name)?.log()?;
        let runs = log.lines().filter(|line| line.contains("revision runs") && line.contains(&goal)).count();
        ensure!(runs == 1, "{name} went to {goal} {runs} times:\n{log}");
    }
    Ok(())
}

#[test]
fn a_change_waits_for_a_word_and_goes_to_whom_it_is_meant_for_and_back_unless_it_is_confirmed() -> Result<()> {
    let mut platform = fleet(json!({ "maxAffected": 2, "batch": 2 }))?;
    let before = platform.revision()?;
    platform.set("/part", json!("second"))?;
    let held = eventually("the change is held back", || {
        let draft = platform.status()?["draft"].clone();
        Ok((draft["code"] == "too-many-machines").then_some(draft))
    })?;
    assert_eq!(held["message"], "it changes 5 of 5 machines, and `maxAffected` lets 2 pass");
    assert_eq!(platform.revision()?, before);
    let refused = apply(&platform, &[])?;
    ensure!(refused.code == Some(1) && refused.errors.contains("--accept"), "{refused:?}");

    // To one machine, then to all.
    let ended = apply(&platform, &["--accept", "--machine", "m3"])?;
    ensure!(ended.code == Some(0) && ended.output.contains("m3 only"), "{ended:?}");
    assert_eq!(at(&mut platform, "second")?, ["m3"]);
    let unknown = apply(&platform, &["--machine", "m9"])?;
    ensure!(unknown.code == Some(1) || unknown.output.contains("nothing to apply"), "{unknown:?}");
    ensure!(order(&platform, "resume")?.code == Some(0));
    phase(&platform, "over")?;
    assert_eq!(at(&mut platform, "second")?, FLEET);
    let nothing = apply(&platform, &[])?;
    ensure!(nothing.code == Some(0) && nothing.output.contains("nothing to apply"), "{nothing:?}");

    // Back, unless it is confirmed.
    platform.set("/part", json!("third"))?;
    let ended = apply(&platform, &["--accept", "--confirm-within", "2s"])?;
    ensure!(ended.code == Some(0) && ended.output.contains("rollout confirm"), "{ended:?}");
    eventually("it was not confirmed", || Ok((at(&mut platform, "second")?.len() == 5).then_some(())))
        .with_context(|| platform.logs())?;
    platform.set("/part", json!("fourth"))?;
    ensure!(apply(&platform, &["--accept", "--confirm-within", "1h"])?.code == Some(0));
    ensure!(order(&platform, "confirm")?.code == Some(0));
    phase(&platform, "over")?;
    assert_eq!(at(&mut platform, "fourth")?, FLEET);

    // What is aborted goes back.
    platform.set("/part", json!("fifth"))?;
    let ended = apply(&platform, &["--accept", "--role", "app", "--confirm-within", "1h"])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    ensure!(order(&platform, "abort")?.code == Some(0));
    eventually("it was aborted", || Ok((at(&mut platform, "fourth")?.len() == 5).then_some(())))
        .with_context(|| platform.logs())?;
    Ok(())
}

#[test]
fn a_plan_that_does_not_hold_any_more_is_not_applied() -> Result<()> {
    let mut platform = fleet(json!({ "publish": "manual" }))?;
    let before = platform.revision()?;
    let plan = |platform: &Platform| -> Result<String> {
        let said: Value = serde_json::from_str(&platform.command()?.args(["plan", "--output", "json"]).succeed()?)?;
        Ok(said["hash"].as_str().context("a plan has a hash")?.to_owned())
    };
    platform.set("/part", json!("second"))?;
    let stale = plan(&platform)?;
    platform.set("/greeting", json!("good day"))?;
    let refused = apply(&platform, &["--plan", &stale])?;
    ensure!(refused.code == Some(1) && refused.errors.contains("settings moved since"), "{refused:?}");
    assert_eq!(platform.revision()?, before);
    assert_eq!(platform.status()?["problems"], json!([]));
    let no_hash = apply(&platform, &["--plan", "yesterday"])?;
    ensure!(no_hash.code == Some(1) && no_hash.errors.contains("is no hash of a plan"), "{no_hash:?}");

    let fresh = plan(&platform)?;
    let ended = apply(&platform, &["--plan", &fresh])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    assert_eq!(at(&mut platform, "second")?, FLEET);
    Ok(())
}

#[test]
fn a_silent_machine_holds_nobody_up_and_gets_its_turn_when_it_comes_back() -> Result<()> {
    let mut platform = fleet(json!({ "canary": ["canary"], "batch": 1, "silentAfter": "6s" }))?;
    platform.machine("canary")?.kill()?;
    platform.machine("m2")?.kill()?;
    platform.set("/part", json!("second"))?;
    eventually("the others are done", || Ok((at(&mut platform, "second")? == ["m1", "m3", "m4"]).then_some(())))
        .with_context(|| platform.logs())?;
    eventually("the status tells who is silent", || {
        let status = platform.status()?;
        let is_silent = |machine: &str| status["machines"][machine]["isSilent"] == true;
        Ok((is_silent("canary") && is_silent("m2")).then_some(()))
    })?;
    // A day of changes later.
    for part in ["third", "fourth"] {
        platform.set("/part", json!(part))?;
        eventually("the others are done", || Ok((at(&mut platform, part)?.len() == 3).then_some(())))
            .with_context(|| platform.logs())?;
    }
    platform.machine("m2")?.start()?;
    platform.machine("canary")?.start()?;
    platform.converged()?;
    assert_eq!(at(&mut platform, "fourth")?, FLEET);
    phase(&platform, "over")?;
    Ok(())
}
