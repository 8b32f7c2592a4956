//! Whatever happens between leader and follower, the last good files stay whole.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use promises::{Mood, Platform, TemplateSet, Tunnel, eventually, post};
use serde_json::json;

/// A platform whose machine `a` reaches the leader, and is reached, through lines of ours.
fn with_lines() -> Result<(Platform, Tunnel, Tunnel)> {
    // Large enough that a line can be cut in the middle of it.
    let set = TemplateSet::little().text("app/app/conf/large.txt", &"a line of it\n".repeat(1000));
    let mut platform = Platform::little(&set, &["a"])?;
    let network = platform.network();
    let to_leader = Tunnel::open(SocketAddr::new(network.address(2).into(), 7000), platform.address())?;
    let to_follower = Tunnel::open(SocketAddr::new(network.address(3).into(), 6000), platform.machine("a")?.address())?;
    platform.configure_leader("urls", json!([format!("http://{}", to_leader.address())]))?;
    let machine = platform.machine("a")?;
    machine.configure("leader", json!(format!("http://{}", to_leader.address())))?;
    machine.configure("urls", json!([format!("http://{}", to_follower.address())]))?;
    machine.configure("poll", json!(1))?;
    platform.edit(|document| document["machines"]["a"]["url"] = json!(format!("http://{}", to_follower.address())))?;
    Ok((platform, to_leader, to_follower))
}

/// The line is in a mood while a change is published; the old files stay whole, and the new ones come when it passes.
fn survives(mood: Mood) -> Result<()> {
    let (mut platform, to_leader, _to_follower) = with_lines()?;
    platform.start()?;
    let before = platform.machine("a")?.tree()?;
    to_leader.set(mood);
    let asked = to_leader.questions().len();
    platform.publish(|platform| platform.set("/greeting", json!("changed")))?;
    eventually("the follower has asked", || Ok((to_leader.questions().len() > asked + 1).then_some(())))
        .with_context(|| platform.logs())?;
    let during = platform.machine("a")?.tree()?;
    ensure!(during == before, "the files were touched: {during:?}");
    to_leader.set(Mood::Pass);
    platform.converged()?;
    ensure!(platform.machine("a")?.read("app/conf/app.json")?.contains("changed"));
    Ok(())
}

#[test]
fn an_answer_that_is_cut_in_its_head_changes_nothing() -> Result<()> {
    survives(Mood::CutAfter(20))
}

#[test]
fn an_answer_that_is_cut_in_its_body_changes_nothing() -> Result<()> {
    survives(Mood::CutAfter(4_000))
}

#[test]
fn a_server_error_with_a_body_changes_nothing() -> Result<()> {
    let body = "{\"files\": []}";
    survives(Mood::Answer(
        format!(
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    ))
}

#[test]
fn a_success_that_the_leader_did_not_sign_changes_nothing() -> Result<()> {
    survives(Mood::Answer(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".to_vec()))
}

#[test]
fn an_unsigned_not_modified_changes_nothing() -> Result<()> {
    survives(Mood::Answer(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()))
}

#[test]
fn nonsense_changes_nothing() -> Result<()> {
    survives(Mood::Answer(vec![0xff; 4096]))
}

#[test]
fn a_leader_that_is_down_when_the_follower_starts_is_waited_for() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.machine("a")?.configure("poll", json!(1))?;
    platform.machine("a")?.start()?;
    eventually("the follower says that the leader is away", || {
        let log = platform.machine("a")?.log()?;
        Ok(log.contains("the last good files stay").then_some(()))
    })?;
    platform.start_leader()?;
    platform.converged().map(drop)
}

#[test]
fn a_follower_that_starts_again_while_the_leader_is_down_leaves_its_files_alone() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.machine("a")?.configure("poll", json!(1))?;
    platform.start()?;
    let before = platform.machine("a")?.tree()?;
    platform.stop_leader()?;
    platform.machine("a")?.kill()?;
    platform.machine("a")?.start()?;
    let address = platform.machine("a")?.address();
    eventually(
        "the follower answers",
        || Ok((promises::get(address, "/__lbheartbeat__")?.status == 200).then_some(())),
    )
    .with_context(|| platform.logs())?;
    ensure!(platform.machine("a")?.tree()? == before);
    platform.start_leader()?;
    platform.roll_out(|platform| platform.set("/greeting", json!("back")))?;
    ensure!(platform.machine("a")?.read("app/conf/app.json")?.contains("back"));
    Ok(())
}

#[test]
fn a_wrong_key_gets_nothing_and_says_what_to_do() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a", "b"])?;
    let machine = platform.machine("a")?;
    let (key, _) = machine.key()?;
    let identity = std::fs::read_to_string(machine.identity_file())?;
    std::fs::write(machine.identity_file(), identity.replace(&key, &format!("{}A", "z".repeat(42))))?;
    platform.start_leader()?;
    let outcome = platform.machine("a")?.command("once")?.end()?;
    ensure!(outcome.code != Some(0), "{outcome:?}");
    ensure!(outcome.errors.contains("key"), "it does not name the key: {}", outcome.errors);
    assert!(platform.machine("a")?.tree()?.is_empty());
    Ok(())
}

#[test]
fn a_key_opens_the_files_of_its_own_machine_only() -> Result<()> {
    let set = TemplateSet::little()
        .json(
            "web/role.json",
            &json!({
                "description": "Another role.", "topology": "cluster",
                "files": [{ "match": "**", "class": "config", "owner": "0:0", "mode": "0600" }]
            }),
        )
        .text("web/web.txt", "for web only\n");
    let mut platform = Platform::little(&set, &["a"])?;
    platform.add_machine("w", "web")?;
    platform.write()?;
    platform.start_leader()?;
    // `a` claims to be of the role of `w`.
    platform.machine("a")?.configure("role", json!("web"))?;
    let outcome = platform.machine("a")?.command("once")?.end()?;
    ensure!(outcome.code != Some(0) && outcome.errors.contains("role"), "{outcome:?}");
    assert!(platform.machine("a")?.tree()?.is_empty());
    Ok(())
}

#[test]
fn a_replayed_or_unsigned_notification_wakes_nobody() -> Result<()> {
    let (mut platform, to_leader, to_follower) = with_lines()?;
    platform.machine("a")?.configure("poll", json!(3600))?;
    platform.start()?;
    platform.roll_out(|platform| platform.set("/greeting", json!("second")))?;
    let mut asked = (questions_for_files(&to_leader), Instant::now());
    // A word that came during a cycle is followed by another one.
    eventually("the follower has nothing to ask any more", || {
        let now = questions_for_files(&to_leader);
        if now != asked.0 {
            asked = (now, Instant::now());
        }
        Ok((asked.1.elapsed() > Duration::from_millis(500)).then_some(()))
    })?;
    // One connection carries many; the last one was the good one.
    let line = String::from_utf8(to_follower.questions().concat())?;
    let (_, notification) = line.rsplit_once("POST /notify ").context("the leader has notified")?;
    let follower = platform.machine("a")?.address();
    let (head, body) = notification.split_once("\r\n\r\n").context("an HTTP request")?;
    let replayed = promises::repeat(follower, &format!("POST /notify {head}"), body)?;
    assert_eq!(replayed.status, 401, "{}", replayed.text());
    // As good as the one that was taken, but for having been taken.
    ensure!(platform.machine("a")?.log()?.contains("rejection=Replayed"), "{}", platform.logs());
    let unsigned = post(follower, "/notify", "", "")?;
    assert_eq!(unsigned.status, 401, "{}", unsigned.text());
    // A real one comes after them: whatever they had caused would have been asked by then, too.
    platform.roll_out(|platform| platform.set("/greeting", json!("third")))?;
    assert_eq!(questions_for_files(&to_leader), asked.0 + 1, "{}", platform.logs());
    Ok(())
}

/// How often the follower asked for its files on that line; what it reports is not counted.
fn questions_for_files(line: &Tunnel) -> usize {
    let question = b"GET /conf/";
    line.questions().iter().map(|bytes| bytes.windows(question.len()).filter(|part| part == question).count()).sum()
}

#[test]
fn two_changes_in_a_row_end_with_the_second() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a", "b"])?;
    platform.start()?;
    for round in 0..5 {
        platform.set("/greeting", json!(format!("first {round}")))?;
        platform.set("/greeting", json!(format!("second {round}")))?;
        eventually("both machines have the second", || {
            let mut all = true;
            for (_, machine) in platform.machines() {
                all &= machine.read("app/conf/app.json")?.contains(&format!("second {round}"));
            }
            Ok(all.then_some(()))
        })
        .with_context(|| platform.logs())?;
    }
    platform.converged().map(drop)
}

/// A file system that is nearly full, for as long as it lives.
struct Full {
    place: std::path::PathBuf,
}

impl Full {
    /// Mounts 256 KiB at `place`; only root may.
    fn at(place: &std::path::Path) -> Result<Self> {
        std::fs::create_dir_all(place)?;
        promises::Program::named("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(place).succeed()?;
        Ok(Self { place: place.to_owned() })
    }

    /// Leaves no room.
    fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::create(self.place.join("ballast"))?;
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok() {}
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.place.join("ballast"))?)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = promises::Program::named("umount").arg("--lazy").arg(&self.place).end();
    }
}

#[test]
fn a_full_disk_leaves_the_last_good_files_whole_and_says_so() -> Result<()> {
    let set = TemplateSet::little().text("app/app/conf/large.txt.tera", "{{ settings.greeting | verbatim }}");
    let mut platform = Platform::little(&set, &["a"])?;
    let disk = Full::at(&platform.machine("a")?.root())?;
    platform.machine("a")?.configure("poll", json!(1))?;
    // Not so much shorter than what comes that it would be taken for a slip.
    platform.set("/greeting", json!("y".repeat(30_000)))?;
    platform.start()?;
    let before = platform.machine("a")?.tree()?;
    disk.fill()?;
    platform.publish(|platform| platform.set("/greeting", json!("x".repeat(50_000))))?;
    let revision = platform.revision()?;
    let reason = eventually("the machine says that the revision is unfinished", || {
        let verdict = platform.status()?["machines"]["a"]["report"]["verdict"].clone();
        Ok((verdict["state"] == "unfinished" && verdict["revision"] == *revision).then(|| verdict["reason"].clone()))
    })
    .with_context(|| platform.logs())?;
    let reason = reason.as_str().unwrap_or_default().to_owned();
    ensure!(reason.contains("space"), "it does not say what to do: {reason}");
    disk.make_room()?;
    // The draft that did not fit is gone, the files are those of before, until the new ones come whole.
    eventually("the change arrives once there is room", || {
        let text = platform.machine("a")?.read("app/conf/large.txt")?;
        ensure!(text.len() == 30_000 || text.len() == 50_000, "a half file: {} bytes", text.len());
        Ok((text.len() == 50_000).then_some(()))
    })
    .with_context(|| platform.logs())?;
    platform.converged()?;
    let after: Vec<_> = platform.machine("a")?.tree()?.into_keys().collect();
    assert_eq!(after, before.into_keys().collect::<Vec<_>>());
    Ok(())
}
