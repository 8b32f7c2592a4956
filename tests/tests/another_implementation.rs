//! Leader and follower talk to programs that share nothing with them but the description of the wire: `tests/peer`, in
//! Python, with its standard library alone. What such a leader says wrongly changes no file.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use promises::{Daemon, Outcome, Platform, Program, TemplateSet, Tree, eventually, get, post, repository};
use serde_json::{Value, json};

/// The program in the other language.
fn peer() -> Program {
    // Nothing is left in the repository.
    Program::named("/usr/bin/python3").arg("-B").arg(repository().join("tests/peer/peer.py"))
}

/// A follower in the other language, with the key of a machine.
struct OtherFollower {
    leader: String,
    key: String,
    /// How many seconds its clock is ahead.
    ahead: i64,
}

impl OtherFollower {
    fn of(platform: &mut Platform, machine: &str) -> Result<Self> {
        let leader = format!("http://{}", platform.address());
        Ok(Self { leader, key: key_of(platform, machine)?, ahead: 0 })
    }

    /// The same one with another key.
    fn with_key(&self, key: String) -> Self {
        Self { key, leader: self.leader.clone(), ahead: self.ahead }
    }

    fn try_ask(&self, verb: &str, arguments: &[&str]) -> Result<Outcome> {
        let program = peer().arg(verb).arg(&self.leader).args(arguments);
        program.env("PEER_KEY", &self.key).env("PEER_AHEAD", self.ahead.to_string()).end()
    }

    /// Asks; the answer was found to be signed by the leader for this question.
    fn ask(&self, verb: &str, arguments: &[&str]) -> Result<Value> {
        let outcome = self.try_ask(verb, arguments)?;
        ensure!(outcome.code == Some(0), "{verb} {arguments:?}: {outcome:?}");
        Ok(serde_json::from_str(&outcome.output)?)
    }
}

/// A machine's key as the program takes it: which, and its text.
fn key_of(platform: &mut Platform, machine: &str) -> Result<String> {
    let (key, version) = platform.machine(machine)?.key()?;
    Ok(format!("{machine}.{version} {key}"))
}

#[test]
fn a_follower_in_another_language_is_served() -> Result<()> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let set = TemplateSet::little().file("app/app/conf/every.bin", every_byte);
    let mut platform = Platform::little(&set, &["a"])?;
    platform.set("/greeting", json!("é {{ x }}"))?;
    let rendered = platform.render("rendered")?.join("a");
    platform.start_leader()?;
    let follower = OtherFollower::of(&mut platform, "a")?;

    let answer = follower.ask("pull", &["app"])?;
    for (path, bytes) in files_of(&answer["bundle"])? {
        ensure!(fs::read(rendered.join(&path))? == bytes, "{path} is another");
    }
    let tag = answer["tag"].as_str().context("an answer has a tag")?;
    let revision = answer["bundle"]["revision"].as_str().context("a bundle has a revision")?;
    assert_eq!(revision, platform.revision()?);
    let again = follower.ask("pull", &["app", tag])?;
    assert_eq!((&again["status"], &again["bundle"]), (&json!(304), &Value::Null));

    assert_eq!(follower.ask("report", &[revision])?["status"], json!(204));
    assert_eq!(
        platform.status()?["machines"]["a"]["report"]["verdict"],
        json!({ "state": "running", "revision": revision })
    );
    Ok(())
}

/// Path and bytes of every file of a bundle.
fn files_of(bundle: &Value) -> Result<Vec<(String, Vec<u8>)>> {
    let files = bundle["files"].as_array().context("a bundle has files")?;
    ensure!(files.len() == 2, "{bundle}");
    let content = |file: &Value| match file["text"].as_str() {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => decoded(file["base64"].as_str().context("a file has a content")?),
    };
    files.iter().map(|file| Ok((file["path"].as_str().unwrap_or_default().to_owned(), content(file)?))).collect()
}

fn decoded(base64: &str) -> Result<Vec<u8>> {
    let program = "import sys, base64, json; print(json.dumps(list(base64.b64decode(sys.argv[1]))))";
    let bytes = Program::named("/usr/bin/python3").args(["-c", program, base64]).succeed()?;
    Ok(serde_json::from_str(&bytes)?)
}

#[test]
fn every_refusal_of_a_known_key_is_signed_and_no_other_one_is() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start_leader()?;
    let follower = OtherFollower::of(&mut platform, "a")?;
    follower.ask("pull", &["app"])?;
    let told = |verb: &str, arguments: &[&str]| -> Result<(Value, Value)> {
        let answer = follower.ask(verb, arguments)?;
        Ok((answer["status"].clone(), answer["code"].clone()))
    };
    assert_eq!(told("pull", &["web"])?, (json!(403), json!("role_forbidden")));
    assert_eq!(told("ask", &["GET", "/conf/app?all"])?.0, json!(406));
    assert_eq!(told("ask", &["GET", "/nowhere"])?, (json!(404), json!("not_found")));
    assert_eq!(told("ask", &["PUT", "/conf/app"])?, (json!(405), json!("method_not_allowed")));
    assert_eq!(told("ask", &["POST", "/reports"])?, (json!(400), json!("bad_request")));

    let (_, secret) = follower.key.split_once(' ').context("a key has two parts")?;
    let flipped = if secret.starts_with('A') { "B" } else { "A" };
    for key in [format!("a.1 {flipped}{}", &secret[1..]), format!("a.99 {secret}"), format!("b.1 {secret}")] {
        let outcome = follower.with_key(key).try_ask("pull", &["app"])?;
        ensure!(outcome.code == Some(1) && outcome.errors.contains("no signature"), "{outcome:?}");
    }
    Ok(())
}

#[test]
fn clocks_one_hour_apart_agree_after_one_signed_answer() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start_leader()?;
    let follower = OtherFollower::of(&mut platform, "a")?;
    for ahead in [3600, -3600] {
        let answer = OtherFollower { ahead, ..follower.with_key(follower.key.clone()) }.ask("pull", &["app"])?;
        assert_eq!((&answer["status"], &answer["askedAgain"]), (&json!(200), &json!(["clock_skew"])));
    }
    Ok(())
}

/// The join string that `machine add` prints.
fn join_string(platform: &Platform, machine: &str) -> Result<String> {
    let printed = platform.command()?.args(["machine", "add", machine, "--role", "app"]).succeed()?;
    let line =
        printed.split(|c: char| c.is_whitespace() || "'\"`".contains(c)).find(|word| word.starts_with("pconf1:"));
    line.map(str::to_owned).with_context(|| format!("no join string: {printed}"))
}

#[test]
fn a_machine_joins_in_another_language_and_takes_its_next_key() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start_leader()?;
    let leader = format!("http://{}", platform.address());
    let line = join_string(&platform, "b")?;
    let nobody = OtherFollower { leader, key: String::new(), ahead: 0 };
    let join = |line: &str, seed: &str| -> Result<Value> {
        let outcome = peer().args(["join", line, seed]).end()?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        Ok(serde_json::from_str(&outcome.output)?)
    };
    let joined = join(&line, "mine")?;
    assert_eq!(joined["status"], json!(200), "{joined}");
    // The answer may have been lost: the same machine asks again and gets the same key, another one gets none.
    assert_eq!(join(&line, "mine")?["enrolled"]["key"], joined["enrolled"]["key"]);
    let thief = join(&line, "theirs")?;
    assert_eq!((&thief["status"], &thief["code"]), (&json!(401), &json!("enrolment_spent")));

    let key = |identity: &Value| -> Result<String> {
        Ok(format!("b.{} {}", identity["version"], identity["key"].as_str().context("a key")?))
    };
    let first = nobody.with_key(key(&joined["enrolled"])?);
    let pulled = first.ask("pull", &["app"])?;
    assert_eq!(pulled["bundle"]["machine"], json!("b"));
    // The token is good for nothing any more.
    let spent = join(&line, "mine");
    ensure!(spent.as_ref().map_or(true, |answer| answer["status"] != json!(200)), "{spent:?}");

    platform.command()?.args(["machine", "rotate-key", "b"]).succeed()?;
    let tag = pulled["tag"].as_str().context("a tag")?;
    let rotated = first.ask("pull", &["app", tag])?;
    let second = nobody.with_key(key(&rotated["bundle"]["control"]["nextKey"])?);
    assert_eq!(rotated["bundle"]["revision"], pulled["bundle"]["revision"], "a new key is no new revision");
    ensure!(second.key != first.key);
    for follower in [&first, &second, &first] {
        assert_eq!(follower.ask("pull", &["app"])?["status"], json!(200));
    }
    platform.command()?.args(["machine", "revoke", "b"]).succeed()?;
    for follower in [&first, &second] {
        let answer = follower.ask("pull", &["app"])?;
        assert_eq!((&answer["status"], &answer["code"]), (&json!(403), &json!("key_revoked")));
    }
    Ok(())
}

/// A leader in the other language, in the place of the real one.
struct OtherLeader {
    _daemon: Daemon,
    address: std::net::SocketAddr,
    bundle: PathBuf,
}

impl OtherLeader {
    fn of(platform: &mut Platform, machine: &str) -> Result<Self> {
        let key = key_of(platform, machine)?;
        let (address, bundle) = (platform.address(), platform.path("bundle.json"));
        let program = peer().arg("serve").arg(address.to_string()).arg(&bundle);
        let program = program.env("PEER_KEY", key);
        let daemon = Daemon::start(program, &platform.path("other-leader.log"))?;
        eventually("the other leader listens", || Ok(get(address, "/__heard__").ok()))?;
        Ok(Self { _daemon: daemon, address, bundle })
    }

    /// Serves one file of that text at that revision from now on.
    fn publish(&self, revision: &str, text: &str) -> Result<()> {
        self.serve(&bundle(revision, "app/conf/app.json", text))
    }

    fn serve(&self, bundle: &Value) -> Result<()> {
        Ok(fs::write(&self.bundle, bundle.to_string())?)
    }

    /// Every lie that it knows.
    fn lies(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_slice(&post(self.address, "/__lie__", "", "")?.body)?)
    }

    fn tell(&self, lie: &str) -> Result<()> {
        let answer = post(self.address, "/__lie__", "", lie)?;
        ensure!(answer.status == 200, "there is no lie `{lie}`");
        Ok(())
    }

    fn heard(&self) -> Result<Value> {
        get(self.address, "/__heard__")?.json()
    }
}

fn bundle(revision: &str, path: &str, text: &str) -> Value {
    let owner = format!("{}:{}", rustix::process::geteuid(), rustix::process::getegid());
    json!({
        "revision": revision, "machine": "a", "role": "app", "directories": [],
        "files": [{ "path": path, "class": "config", "owner": owner, "mode": "0640", "text": text }]
    })
}

/// A machine that follows a leader in the other language.
fn under_another_leader() -> Result<(Platform, OtherLeader)> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    let leader = OtherLeader::of(&mut platform, "a")?;
    leader.publish("1.1", "{\"greeting\":\"first\"}\n")?;
    Ok((platform, leader))
}

fn once(platform: &mut Platform) -> Result<Outcome> {
    platform.machine("a")?.command("once")?.end()
}

#[test]
fn the_follower_obeys_a_leader_in_another_language() -> Result<()> {
    let (mut platform, leader) = under_another_leader()?;
    for (revision, text) in [("1.1", "{\"greeting\":\"first\"}\n"), ("1.2", "{\"greeting\":\"é\"}\n")] {
        leader.publish(revision, text)?;
        let outcome = once(&mut platform)?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        assert_eq!(platform.machine("a")?.read("app/conf/app.json")?, text);
    }
    // What it has already is not sent again.
    ensure!(once(&mut platform)?.code == Some(0));
    let heard = leader.heard()?;
    assert_eq!(
        questions(&heard),
        [
            "GET /conf/app",
            "POST /reports",
            "POST /snapshots",
            "GET /conf/app",
            "POST /reports",
            "POST /snapshots",
            "GET /conf/app",
            // A process that has just started does not know what the leader took from the one before.
            "POST /snapshots"
        ]
    );
    let ran: Vec<&Value> = heard["snapshots"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|told| &told["ledger"]["applied"]["revision"])
        .collect();
    assert_eq!(json!(ran), json!(["1.1", "1.2", "1.2"]), "{heard:#}");
    let verdicts: Vec<&Value> =
        heard["reports"].as_array().into_iter().flatten().map(|report| &report["verdict"]).collect();
    assert_eq!(
        json!(verdicts),
        json!([{ "state": "running", "revision": "1.1" }, { "state": "running", "revision": "1.2" }])
    );
    Ok(())
}

/// What was asked, in order.
fn questions(heard: &Value) -> Vec<&str> {
    heard["questions"].as_array().into_iter().flatten().filter_map(|said| said["question"].as_str()).collect()
}

#[test]
fn the_follower_takes_the_key_that_a_leader_in_another_language_hands_out() -> Result<()> {
    let (mut platform, leader) = under_another_leader()?;
    ensure!(once(&mut platform)?.code == Some(0));
    let first = leader.heard()?["questions"][0]["key"].clone();
    let mut with_key = bundle("1.1", "app/conf/app.json", "{\"greeting\":\"first\"}\n");
    let handed_out = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s";
    with_key["control"] = json!({ "serial": 7, "nextKey": { "version": 9, "key": handed_out } });
    leader.serve(&with_key)?;
    for _ in 0..2 {
        ensure!(once(&mut platform)?.code == Some(0));
    }
    leader.publish("1.2", "{\"greeting\":\"second\"}\n")?;
    ensure!(once(&mut platform)?.code == Some(0));
    assert_eq!(platform.machine("a")?.read("app/conf/app.json")?, "{\"greeting\":\"second\"}\n");
    let heard = leader.heard()?;
    let keys: Vec<&Value> = heard["questions"].as_array().into_iter().flatten().map(|said| &said["key"]).collect();
    assert_eq!((keys.first(), keys.last()), (Some(&&first), Some(&&json!("a.9"))), "{heard:#}");
    ensure!(keys.iter().all(|key| !key.is_null()), "a question was not signed well: {heard:#}");
    Ok(())
}

#[test]
fn no_lie_on_the_wire_touches_a_file() -> Result<()> {
    let (mut platform, leader) = under_another_leader()?;
    let lies = leader.lies()?;
    ensure!(lies.len() >= 20, "{lies:?}");
    let nothing = platform.machine("a")?.tree()?;
    leader.tell("unsigned_bundle")?;
    ensure!(once(&mut platform)?.code == Some(1));
    unchanged(&mut platform, &nothing, "unsigned_bundle on an empty machine")?;
    leader.tell("none")?;
    ensure!(once(&mut platform)?.code == Some(0));
    let good = platform.machine("a")?.tree()?;
    // There is something to be had: only that it is offered with a lie keeps it from the disk.
    leader.publish("1.2", "{\"greeting\":\"changed\"}\n")?;
    for lie in &lies {
        leader.tell(lie)?;
        let outcome = once(&mut platform)?;
        ensure!(outcome.code == Some(1), "{lie}: {outcome:?}");
        unchanged(&mut platform, &good, lie)?;
    }
    let heard = leader.heard()?["questions"].to_string();
    ensure!(!heard.contains("elsewhere"), "a redirect was followed: {heard}");
    leader.tell("none")?;
    ensure!(once(&mut platform)?.code == Some(0));
    assert_eq!(platform.machine("a")?.read("app/conf/app.json")?, "{\"greeting\":\"changed\"}\n");
    Ok(())
}

fn unchanged(platform: &mut Platform, before: &Tree, lie: &str) -> Result<()> {
    ensure!(platform.machine("a")?.tree()? == *before, "{lie}: the files were touched");
    Ok(())
}

#[test]
fn a_leader_with_the_right_key_cannot_go_back_or_leave_the_root() -> Result<()> {
    let (mut platform, leader) = under_another_leader()?;
    leader.publish("1.5", "{\"greeting\":\"fifth\"}\n")?;
    ensure!(once(&mut platform)?.code == Some(0));
    let good = platform.machine("a")?.tree()?;
    let canary = platform.path("machines/a/canary");
    fs::write(&canary, "as it was")?;

    let (mut said, app) = (String::new(), "app/conf/app.json");
    let older = bundle("1.4", app, "{\"greeting\":\"fourth\"}\n");
    let same_number = bundle("1.5", app, "{\"greeting\":\"another fifth\"}\n");
    let older_epoch = bundle("0.9", app, "{}\n");
    let outside = ["../canary", "/etc/pconf-canary", "app/../../canary", "app//x", "app/./x", "", "app/\u{0}x"];
    let outside = outside.map(|path| bundle("1.6", path, "out\n"));
    for hostile in [older, same_number, older_epoch].into_iter().chain(outside) {
        leader.serve(&hostile)?;
        let outcome = once(&mut platform)?;
        ensure!(matches!(outcome.code, Some(1 | 3)), "{hostile}: {outcome:?}");
        unchanged(&mut platform, &good, &hostile.to_string())?;
        said += &format!("{} {:?}: {:?}\n", hostile["revision"], hostile["files"][0]["path"], outcome.errors);
    }
    assert_eq!(fs::read_to_string(&canary)?, "as it was");
    for word in ["1.4", "epoch"] {
        ensure!(said.contains(word), "{said}");
    }
    leader.publish("1.6", "{\"greeting\":\"sixth\"}\n")?;
    ensure!(once(&mut platform)?.code == Some(0));
    Ok(())
}
