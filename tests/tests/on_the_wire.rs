//! Somebody who reads all that passes between leader and follower learns no secret, and somebody who spoils it changes no
//! file and stops nothing for longer than he stays.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use promises::{Daemon, Deed, Kind, Platform, Program, TemplateSet, Wiretap, eventually, key_bytes, shows};
use serde_json::{Value, json};

/// The two lines of one machine: to the leader, and from it.
struct Lines {
    machine: String,
    to_leader: Wiretap,
    to_follower: Wiretap,
}

/// A platform all of whose machines reach the leader, and are reached, through lines of ours.
fn tapped(set: &TemplateSet, machines: &[&str]) -> Result<(Platform, Vec<Lines>)> {
    let mut platform = Platform::little(set, machines)?;
    let (network, leader) = (platform.network(), platform.address());
    let mut lines = Vec::new();
    for (number, name) in (100..).zip(machines) {
        let address = platform.machine(name)?.address();
        let tap = |port, to| Wiretap::open(SocketAddr::new(network.address(number).into(), port), to);
        let (to_leader, to_follower) = (tap(7000, leader)?, tap(6000, address)?);
        let machine = platform.machine(name)?;
        machine.configure("leader", json!(to_leader.url()))?;
        machine.configure("urls", json!([to_follower.url()]))?;
        machine.configure("poll", json!(1))?;
        platform.edit(|document| document["machines"][*name]["url"] = json!(to_follower.url()))?;
        lines.push(Lines { machine: (*name).to_owned(), to_leader, to_follower });
    }
    let urls: Vec<String> = lines.iter().map(|line| line.to_leader.url()).collect();
    platform.configure_leader("urls", json!(urls))?;
    Ok((platform, lines))
}

/// A machine that joins by the line that the leader prints, and whose every word is recorded.
struct Joining {
    platform: Platform,
    lines: Lines,
    /// Who reads along may get hold of it later.
    string: String,
    folder: PathBuf,
    _follower: Daemon,
}

impl Joining {
    fn new() -> Result<Self> {
        let mut platform = Platform::little(&TemplateSet::with_secrets(), &[])?;
        let (network, leader) = (platform.network(), platform.address());
        let listen = SocketAddr::new(network.address(10).into(), 6000);
        let to_leader = Wiretap::open(SocketAddr::new(network.address(100).into(), 7000), leader)?;
        let to_follower = Wiretap::open(SocketAddr::new(network.address(100).into(), 6000), listen)?;
        platform.configure_leader("urls", json!([to_leader.url()]))?;
        platform.edit(|document| document["machines"]["a"] = json!({ "role": "app", "url": to_follower.url() }))?;
        let password = platform.path("password");
        fs::write(&password, "a pass/word+of ours\n")?;
        platform.command()?.args(["secret", "set", "password", "--from-file"]).arg(&password).succeed()?;
        platform.start_leader()?;
        let printed = platform.command()?.args(["machine", "add", "a", "--role", "app"]).succeed()?;
        let mut words = printed.split(|c: char| c.is_whitespace() || "'\"`".contains(c));
        let string = words.rfind(|word| word.starts_with("pconf1:")).context("a join string")?.to_owned();

        let folder = platform.path("machines/a");
        fs::create_dir_all(folder.join("root"))?;
        let command = |name: &str| -> Result<Program> {
            Ok(Program::ours("config-follower")?.arg(name).arg("--config").arg(folder.join("config-follower.json")))
        };
        let join = command("join")?.arg(&string).arg("--listen").arg(listen.to_string());
        join.arg("--root").arg(folder.join("root")).args(["--docker", "none"]).succeed()?;
        let follower = Daemon::start(command("run")?, &folder.join("log"))?;
        let lines = Lines { machine: "a".to_owned(), to_leader, to_follower };
        Ok(Self { platform, lines, string, folder, _follower: follower })
    }

    /// The keys of its identity, as they are now.
    fn keys(&self) -> Result<Vec<String>> {
        let identity: Value = serde_json::from_slice(&fs::read(self.folder.join("state/identity.json"))?)?;
        let keys = identity["keys"].as_array().context("an identity has keys")?;
        Ok(keys.iter().filter_map(|key| key["key"].as_str().map(str::to_owned)).collect())
    }

    fn secrets(&self) -> Result<Vec<String>> {
        let file: Value = serde_json::from_slice(&fs::read(self.folder.join("root/app/conf/secret.json"))?)?;
        ["token", "password"]
            .map(|name| file[name].as_str().map(str::to_owned).context("a secret"))
            .into_iter()
            .collect()
    }
}

#[test]
fn who_reads_every_byte_of_a_machines_life_learns_no_secret() -> Result<()> {
    let mut joining = Joining::new()?;
    joining.platform.converged()?;
    let (mut secrets, mut keys) = (joining.secrets()?, joining.keys()?);
    for number in 0..10 {
        joining.platform.roll_out(|platform| platform.set("/greeting", json!(format!("the {number}th"))))?;
    }
    joining.platform.command()?.args(["machine", "rotate-key", "a"]).succeed()?;
    eventually("the machine has its next key", || {
        Ok((joining.keys()?.iter().any(|key| !keys.contains(key))).then_some(()))
    })
    .with_context(|| joining.platform.logs())?;
    keys.extend(joining.keys()?);
    joining.platform.roll_out(|platform| platform.set("/greeting", json!("under the next key")))?;
    let invitation: Value = serde_json::from_slice(&key_bytes(joining.string.trim_start_matches("pconf1:"))?)?;
    keys.push(invitation["token"].as_str().context("an invitation has a token")?.to_owned());
    secrets.extend(joining.secrets()?);

    let Lines { to_leader, to_follower, .. } = &joining.lines;
    ensure!(to_leader.questions("POST /enroll") >= 1 && to_leader.questions(FILES) >= 11);
    let recorded = [to_leader.recorded(), to_follower.recorded()].concat().concat();
    for text in secrets.iter().chain(&keys).chain([&joining.string]) {
        assert_eq!(shows(&recorded, text.as_bytes()), None, "{text}");
    }
    for key in &keys {
        assert_eq!(shows(&recorded, &key_bytes(key)?), None, "the bytes of {key}");
    }
    // What is public is seen: the search sees something. The token, the first key and the next one were all used.
    ensure!(shows(&recorded, b"/conf/app").is_some());
    for version in 1..=3 {
        ensure!(shows(&recorded, format!("keyid=\"a.{version}\"").as_bytes()).is_some(), "a.{version} was not used");
    }
    Ok(())
}

/// Where a message is spoilt, which one, and how.
type Mischief = (Where, Kind, &'static str, Deed);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    ToLeader,
    ToFollower,
}

const FILES: &str = "GET /conf/";
const REPORT: &str = "POST /reports";
const NOTIFY: &str = "POST /notify";

/// Every message that there is, spoilt in every way; `Flip` in the first line, in the headers and in the body.
fn mischief() -> Vec<Mischief> {
    let most = [
        Deed::Withhold,
        Deed::Twice,
        Deed::Earlier,
        Deed::Cut(300),
        Deed::Flip(9),
        Deed::Flip(400),
        Deed::FlipFromEnd(0),
    ];
    let more = [Deed::Cut(20), Deed::Flip(0), Deed::Flip(60), Deed::Flip(200), Deed::FlipFromEnd(1_000)];
    let mut all = Vec::new();
    for (place, question) in [(Where::ToLeader, FILES), (Where::ToLeader, REPORT), (Where::ToFollower, NOTIFY)] {
        let more = if question == FILES { &more[..] } else { &[] };
        for deed in most.iter().chain(more) {
            all.push((place, Kind::Question, question, *deed));
            // Of two answers to one question the second is another question's: that is `Earlier`.
            if *deed != Deed::Twice {
                all.push((place, Kind::Answer, question, *deed));
            }
        }
    }
    all
}

#[test]
fn a_spoilt_message_changes_no_file_and_stops_nothing() -> Result<()> {
    // Several machines, so that several messages are spoilt at a time.
    const MACHINES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let set = TemplateSet::little().text("app/app/conf/large.txt.tera", "{{ settings.large | verbatim }}");
    let large = |round: usize| format!("{round:06}\n").repeat(700);
    let (mut platform, lines) = tapped(&set, &MACHINES)?;
    platform.set("/large", json!(large(0)))?;
    platform.start()?;
    let mischief = mischief();
    for (round, deeds) in (1..).zip(mischief.chunks(MACHINES.len())) {
        let before: Vec<usize> = lines.iter().map(|line| line.to_leader.spoilt() + line.to_follower.spoilt()).collect();
        for (line, (place, kind, question, deed)) in lines.iter().zip(deeds) {
            let tap = if *place == Where::ToLeader { &line.to_leader } else { &line.to_follower };
            tap.spoil(*kind, question, *deed);
        }
        platform.publish(|platform| platform.set("/large", json!(large(round))))?;
        eventually("every message was spoilt", || {
            for line in &lines {
                let text = platform.machine(&line.machine)?.read("app/conf/large.txt")?;
                ensure!(text == large(round) || text == large(round - 1), "{deeds:?}: a file is neither old nor new");
            }
            let after = lines.iter().map(|line| line.to_leader.spoilt() + line.to_follower.spoilt());
            Ok(before.iter().zip(after).take(deeds.len()).all(|(before, after)| *before < after).then_some(()))
        })
        .with_context(|| format!("{deeds:?}"))?;
        platform.converged().with_context(|| format!("{deeds:?}"))?;
        for line in &lines {
            assert_eq!(platform.machine(&line.machine)?.read("app/conf/large.txt")?, large(round));
        }
    }
    Ok(())
}

#[test]
fn a_report_that_comes_late_does_not_replace_a_newer_one() -> Result<()> {
    let (mut platform, lines) = tapped(&TemplateSet::little(), &["a"])?;
    let line = lines[0].to_leader.questions(REPORT);
    platform.start()?;
    let tap = &lines[0].to_leader;
    ensure!(tap.questions(REPORT) > line);
    tap.spoil(Kind::Question, REPORT, Deed::Keep);
    platform.publish(|platform| platform.set("/greeting", json!("kept back")))?;
    eventually("the report was kept back", || Ok((tap.spoilt() > 0).then_some(())))?;
    // Reports are dated by the second.
    std::thread::sleep(Duration::from_millis(1_100));
    let newest = platform.roll_out(|platform| platform.set("/greeting", json!("newer")))?;
    tap.deliver()?;
    assert_eq!(platform.status()?["machines"]["a"]["report"]["verdict"]["revision"], json!(newest));
    Ok(())
}
