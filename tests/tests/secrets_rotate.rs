//! A secret that two machines share is rotated without a moment in which one uses what the other does not accept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use promises::{Platform, TemplateSet, eventually};
use serde_json::{Value, json};

/// What one look at both machines may see, told apart by what it found wrong.
fn watch(roots: &[PathBuf], is_over: &AtomicBool) -> Result<usize> {
    let read = |root: &Path, name: &str| fs::read_to_string(root.join("app").join(name)).unwrap_or_default();
    let mut looks = 0;
    while !is_over.load(Ordering::Relaxed) {
        for (user, verifier) in roots.iter().flat_map(|user| roots.iter().map(move |verifier| (user, verifier))) {
            let before = read(verifier, "accepts.json");
            let used = read(user, "uses.json");
            // What was accepted both before and after was accepted when the user was looked at.
            if before.is_empty() || used.is_empty() || read(verifier, "accepts.json") != before {
                continue;
            }
            let accepted: Vec<String> = serde_json::from_str(&before)?;
            let used: String = serde_json::from_str(&used)?;
            let place = accepted.iter().position(|one| *one == used);
            ensure!(place.is_some(), "a machine uses what another does not accept");
            looks += 1;
        }
    }
    Ok(looks)
}

#[test]
fn a_shared_secret_is_rotated_under_way_of_a_leader_that_is_killed_in_every_phase() -> Result<()> {
    let secret = json!({ "token": { "description": "x", "kind": "random", "rotation": "overlap", "roles": ["app"] } });
    let set = TemplateSet::little()
        .json("secrets.json", &secret)
        .text("app/app/uses.json.tera", "{{ secrets.token | json }}\n")
        .text("app/app/accepts.json.tera", "{{ accepted.token | json }}\n");
    let mut platform = Platform::little(&set, &["a", "b"])?;
    platform.start_leader()?;
    let mut follow = |platform: &mut Platform, machine: &str| -> Result<()> {
        let outcome = platform.machine(machine)?.command("once")?.end()?;
        ensure!(outcome.code == Some(0), "{outcome:?}{}", platform.logs());
        Ok(())
    };
    eventually("the first revision is there", || Ok(platform.revision().ok()))?;
    for machine in ["a", "b"] {
        follow(&mut platform, machine)?;
    }
    let old = platform.read_secret("token")?;

    let roots = vec![platform.machine("a")?.root(), platform.machine("b")?.root()];
    let is_over = AtomicBool::new(false);
    let looks = thread::scope(|scope| -> Result<usize> {
        let watching = scope.spawn(|| watch(&roots, &is_over));
        let rotated = rotate(&mut platform, &mut follow);
        is_over.store(true, Ordering::Relaxed);
        let looks = watching.join().map_err(|_| anyhow!("the watch broke down"))??;
        rotated.map(|()| looks)
    })?;
    ensure!(looks > 10, "{looks}");

    let new = platform.read_secret("token")?;
    ensure!(new != old);
    let read = |platform: &mut Platform, path: &str| platform.machine("b")?.read(path);
    assert_eq!(serde_json::from_str::<Value>(&read(&mut platform, "app/accepts.json")?)?, json!([new]));
    for file in fs::read_dir(platform.path("leader/state"))?.chain(fs::read_dir(platform.path("leader/secrets"))?) {
        let file = file?.path();
        let content = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        ensure!(!text.contains(&old) && !text.contains(&new), "{} holds a secret in clear", file.display());
    }
    ensure!(!platform.leader_log().contains(&new) && !platform.leader_log().contains(&old));
    Ok(())
}

/// Announce, switch, retire; in each phase the leader is killed while it waits for the second machine.
fn rotate(platform: &mut Platform, follow: &mut impl FnMut(&mut Platform, &str) -> Result<()>) -> Result<()> {
    let mut served =
        platform.publish(|platform| platform.command()?.args(["secret", "rotate", "token"]).succeed().map(drop))?;
    for phase in ["1 of 3", "2 of 3"] {
        follow(platform, "a")?;
        platform.kill_leader()?;
        platform.start_leader()?;
        let state = || platform.command()?.args(["secret", "list"]).succeed();
        eventually("the leader waits for the other machine", || {
            let state = state()?;
            Ok((state.contains(phase) && state.contains("waits for b")).then_some(()))
        })
        .with_context(|| state().unwrap_or_default() + &platform.logs())?;
        ensure!(platform.revision()? == served, "the leader did not wait");
        served = {
            follow(platform, "b")?;
            eventually("the next phase begins", || Ok(Some(platform.revision()?).filter(|now| *now != served)))
                .with_context(|| platform.logs())?
        };
    }
    for machine in ["a", "b"] {
        follow(platform, machine)?;
    }
    let state = platform.command()?.args(["secret", "list"]).succeed()?;
    ensure!(state.contains("steady"), "{state}");
    Ok(())
}
