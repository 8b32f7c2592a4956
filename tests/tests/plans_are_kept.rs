//! What `config-leader plan` says is what happens, on every machine, to files and containers, in that order; and a plan of
//! yesterday is known to be one.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, Program, TemplateSet, eventually, post};
use scripted_engine::{ScriptedEngine, State};
use serde_json::{Value, json};
use tempfile::TempDir;

const MACHINES: [&str; 3] = ["co1", "co2", "co3"];

/// So many changes are planned and then made.
const ROUNDS: usize = 16;

/// Three machines with a scripted engine each, and a leader. Followers look when they are told to.
struct Fleet {
    platform: Platform,
    engines: BTreeMap<&'static str, ScriptedEngine>,
    _sockets: TempDir,
}

impl Fleet {
    fn start(set: &TemplateSet) -> Result<Self> {
        let mut platform = Platform::little(set, &MACHINES)?;
        let sockets = tempfile::tempdir()?;
        let mut engines = BTreeMap::new();
        for name in MACHINES {
            let engine = ScriptedEngine::start(&sockets.path().join(name))?;
            let machine = platform.machine(name)?;
            machine.configure("docker", json!(engine.socket()))?;
            machine.configure("drift", json!("report"))?;
            machine.identify()?;
            engine.add("app", &[(&machine.root().join("app/conf"), "/app/conf")]);
            engine.add("web", &[(&machine.root().join("app"), "/app")]);
            engines.insert(name, engine);
        }
        platform.start_leader()?;
        let fleet = Self { platform, engines, _sockets: sockets };
        fleet.look(&MACHINES)?;
        Ok(fleet)
    }

    /// Machines look for what is new.
    fn look(&self, machines: &[&'static str]) -> Result<()> {
        machines.iter().try_for_each(|name| {
            let programs = self.engines[name].programs();
            let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
            let once = Program::ours("config-follower")?.arg("once").arg("--config");
            let file = self.platform.path(&format!("machines/{name}/config-follower.json"));
            once.arg(file).env("PATH", &path).succeed().map(drop).with_context(|| self.platform.leader_log())
        })
    }

    /// A plan, by the running leader.
    fn plan(&self, arguments: &[&str]) -> Result<Value> {
        let plan = self.platform.command()?.arg("plan").args(["--output", "json"]).args(arguments);
        Ok(serde_json::from_str(&plan.succeed()?)?)
    }

    /// A plan for another template set, by a copy of the leader that does not run: the real one would publish it.
    fn plan_with(&self, set: &TemplateSet) -> Result<Value> {
        let copy = tempfile::tempdir()?;
        copy_folder(&self.platform.path("leader"), &copy.path().join("leader"))?;
        set.write(&copy.path().join("templates"))?;
        let leader = Program::ours("config-leader")?.arg("--dir").arg(copy.path().join("leader"));
        let plan = leader.arg("--templates").arg(copy.path().join("templates"));
        Ok(serde_json::from_str(&plan.args(["plan", "--output", "json"]).succeed()?)?)
    }

    /// Has every machine take what is published, and compares that with the plan.
    fn happens(&self, plan: &Value) -> Result<()> {
        for (name, engine) in &self.engines {
            engine.forget_calls();
            self.look(&[name])?;
            let machine = &plan["machines"][name];
            let (files, groups) = match machine["outlook"]["is"].as_str() {
                Some("taken") => foreseen(&machine["outlook"]["plan"])?,
                Some("at-goal") => (Vec::new(), Vec::new()),
                other => anyhow::bail!("{name}: {other:?}"),
            };
            let mut heard = engine.calls().into_iter();
            let mut seen: Vec<Vec<String>> =
                groups.iter().map(|group| heard.by_ref().take(group.len()).collect()).collect();
            seen.extend(heard.map(|call| vec![call]));
            for group in &mut seen {
                group.sort_unstable();
            }
            ensure!(seen == groups, "{name}: {groups:?} was foreseen, and there was {seen:?}\n{plan:#}");
            if machine["outlook"]["is"] == "taken" {
                let report = &self.platform.status()?["machines"][name]["report"];
                let lists = [&report["written"], &report["removed"]].map(|list| list.as_array().cloned());
                let mut done: Vec<Value> = lists.into_iter().flatten().flatten().collect();
                done.sort_unstable_by_key(ToString::to_string);
                ensure!(done == files, "{name}: {files:?} were foreseen, and there were {done:?}\n{plan:#}");
            }
        }
        Ok(())
    }
}

/// The files that are written and removed, sorted; and what the engine hears, by groups of which each has to come before the
/// next.
fn foreseen(plan: &Value) -> Result<(Vec<Value>, Vec<Vec<String>>)> {
    let list = |name: &str| plan[name].as_array().cloned().unwrap_or_default();
    let is_file = |step: &&Value| step["do"] == "write-file" || step["do"] == "remove-file";
    let mut files: Vec<Value> = list("steps").iter().filter(is_file).map(|step| step["path"].clone()).collect();
    files.sort_unstable_by_key(ToString::to_string);
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let words = |value: &Value| {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    let mut groups: Vec<Vec<String>> = Vec::new();
    groups.extend(
        list("checks").iter().map(|check| vec![format!("try {} {}", name(check), words(&check["check"]["run"]))]),
    );
    groups.push(list("stops").iter().map(|stop| format!("stop {}", name(stop))).collect());
    let mut ranks: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for action in list("actions") {
        let (what, name) = (&action["what"], name(&action));
        let calls = match (what.as_str(), what.as_object().and_then(|what| what.iter().next())) {
            (Some("remove"), _) => vec![format!("stop {name}"), format!("remove {name}")],
            (Some("verify"), _) => Vec::new(),
            (Some(what), _) => vec![format!("{what} {name}")],
            (_, Some((what, signal))) if what == "signal" => {
                vec![format!("signal {name} {}", signal.as_str().unwrap_or_default())]
            }
            (_, Some((what, command))) if what == "exec" => vec![format!("exec {name} {}", words(command))],
            (_, Some((_, made))) => vec![format!("compose up {}", made["service"].as_str().unwrap_or_default())],
            (None, None) => anyhow::bail!("{what} is no action"),
        };
        ranks.entry(action["rank"].as_u64().context("a rank")?).or_default().extend(calls);
    }
    groups.extend(ranks.into_values());
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.retain(|group| !group.is_empty());
    Ok((files, groups))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, place): (_, PathBuf) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &place)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}

/// A template set by what was changed in it so far.
#[derive(Default)]
struct Drafts {
    files: BTreeMap<usize, usize>,
    on_change: Option<Value>,
    rule: Option<Value>,
    services: BTreeMap<usize, usize>,
}

impl Drafts {
    fn set(&self) -> Result<TemplateSet> {
        let mut set = TemplateSet::little();
        for (number, version) in &self.files {
            set = set.text(&format!("app/app/conf/f{number}.txt"), &format!("version {version}\n"));
        }
        if let Some(on_change) = &self.on_change {
            set = set.on_change("app", "app/conf/f*", on_change)?;
        }
        if let Some(rule) = &self.rule {
            set = set.service("app", rule)?;
        }
        if !self.services.is_empty() {
            let service = |(number, version): (&usize, &usize)| {
                format!(
                    "  s{number}:\n    image: x:{version}\n    container_name: s{number}\n    volumes:\n      - ./app/conf:/c\n"
                )
            };
            let text = format!("services:\n{}", self.services.iter().map(service).collect::<String>());
            set = set.text("app/pryv.yml", &text).compose("app", "pryv.yml", "p")?;
        }
        Ok(set)
    }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap_or(1)).unwrap_or_default()
    }
}

#[test]
fn what_a_plan_of_the_fleet_says_is_what_happens_on_every_machine() -> Result<()> {
    let seed = std::env::var("PCONF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_0032);
    let mut dice = Dice(seed);
    let mut drafts = Drafts::default();
    let mut fleet = Fleet::start(&drafts.set()?)?;
    for round in 0..ROUNDS {
        // Something happens on a machine, and its follower tells.
        let name = MACHINES[dice.roll(3)];
        let engine = &fleet.engines[name];
        match dice.roll(4) {
            0 => engine.set_state("app", State::Exited(0)),
            1 => engine.set_state("app", State::Running),
            2 => fleet.platform.machine(name)?.plant("app/conf/app.json", b"by hand")?,
            _ => engine.remove("s0"),
        }
        fleet.look(&[name])?;
        let before = fleet.platform.revision()?;
        let plan = match dice.roll(6) {
            0 | 1 => {
                let mut document = fleet.platform.document().clone();
                document["settings"]["greeting"] = json!(format!("hello {round}"));
                let file = fleet.platform.path("candidate.json");
                fs::write(&file, document.to_string())?;
                let plan = fleet.plan(&["--file", &file.display().to_string()])?;
                fleet.platform.edit(|it| *it = document)?;
                plan
            }
            kind => {
                match kind {
                    2 => drop(drafts.files.insert(dice.roll(3), round)),
                    3 if drafts.files.len() > 1 => drop(drafts.files.pop_first()),
                    4 => {
                        let ways = [
                            json!("none"),
                            json!("stop-first"),
                            json!({ "reload": "SIGHUP" }),
                            json!({ "exec": ["r"] }),
                        ];
                        drafts.on_change = Some(ways[dice.roll(4)].clone());
                        drafts.files.insert(0, round);
                    }
                    _ if dice.roll(2) == 0 => {
                        drafts.rule = Some(json!({ "match": "web", "after": ["app"], "check": { "run": ["t"] } }));
                        drafts.files.insert(1, round);
                    }
                    _ => drop(drafts.services.insert(dice.roll(2), round)),
                }
                let set = drafts.set()?;
                let plan = fleet.plan_with(&set)?;
                fleet.platform.write_set(&set)?;
                plan
            }
        };
        if plan["isNew"] == true {
            let promised = plan["revision"].clone();
            eventually("what was planned is published", || {
                let revision = fleet.platform.revision()?;
                Ok((revision != before && json!(revision) == promised).then_some(()))
            })
            .with_context(|| fleet.platform.logs())?;
        }
        fleet.happens(&plan).with_context(|| format!("PCONF_SEED={seed} round {round}"))?;
    }
    Ok(())
}

#[test]
fn a_plan_holds_until_anything_that_it_follows_from_has_moved() -> Result<()> {
    let set = TemplateSet::little();
    let mut fleet = Fleet::start(&set)?;
    let parts = |fleet: &Fleet| -> Result<Vec<String>> {
        let hash = fleet.plan(&[])?["hash"].as_str().context("a hash")?.to_owned();
        Ok(hash.split('-').map(str::to_owned).collect())
    };
    // Which of the five parts of the hash is another one.
    let moved = |before: &[String], after: &[String]| -> Vec<usize> {
        (0..5).filter(|part| before[*part] != after[*part]).collect()
    };
    let mut last = parts(&fleet)?;
    assert_eq!(moved(&last, &parts(&fleet)?), [0; 0]);
    let mut expect = |fleet: &Fleet, what: &str, expected: &[usize]| -> Result<()> {
        let now = parts(fleet)?;
        ensure!(moved(&last, &now) == expected, "{what}: {:?}", moved(&last, &now));
        ensure!(parts(fleet)? == now, "{what}: nothing has moved");
        last = now;
        Ok(())
    };
    fleet.platform.write_text(&format!("// a word\n{:#}\n", fleet.platform.document()))?;
    expect(&fleet, "a setting, or a word about it", &[0])?;

    fleet.platform.write_set(&set.clone().text("README.md", "Another text.\n"))?;
    expect(&fleet, "the template set", &[1])?;

    fleet.engines["co2"].set_state("app", State::Exited(0));
    fleet.look(&["co2"])?;
    expect(&fleet, "a container that was stopped", &[4])?;

    fleet.platform.machine("co3")?.plant("app/conf/app.json", b"by hand")?;
    fleet.look(&["co3"])?;
    expect(&fleet, "a file that was changed by hand", &[4])?;

    let plan = fleet.plan(&["--machine", "co3"])?;
    let remarks = plan["machines"]["co3"]["remarks"].clone();
    assert_eq!(remarks, json!(["`app/conf/app.json` is not as it was left: changed"]));

    // Secrets that would be made are made for nobody, and move nothing.
    let with_secret = TemplateSet::with_secrets().edit("secrets.json", |secrets| {
        secrets["password"]["kind"] = json!("random");
    })?;
    let (one, other) = (fleet.plan_with(&with_secret)?, fleet.plan_with(&with_secret)?);
    assert_eq!(one["hash"], other["hash"]);
    assert_eq!(
        one["secrets"],
        json!([{ "id": "password", "isRenewed": false }, { "id": "token", "isRenewed": false }])
    );

    let before = fleet.platform.publish(|platform| platform.write_set(&with_secret))?;
    fleet.look(&MACHINES)?;
    expect(&fleet, "a revision that brings two secrets", &[1, 2, 3, 4])?;
    let token = fleet.platform.read_secret("token")?;
    let shown = fleet.platform.command()?.arg("plan").succeed()?;
    assert!(shown.starts_with(&format!("revision {before}: nothing changes\n")), "{shown}");

    fleet.platform.publish(|platform| platform.command()?.args(["secret", "rotate", "token"]).succeed().map(drop))?;
    expect(&fleet, "a secret", &[2, 3])?;

    // What a plan shows of the files of a secret, and what machines told, have nothing of it.
    let shown = fleet.platform.command()?.arg("plan").succeed()?;
    let now = fleet.platform.read_secret("token")?;
    for secret in [token, now] {
        assert_eq!(promises::shows(shown.as_bytes(), secret.as_bytes()), None, "{shown}");
        for name in MACHINES {
            let told = fs::read_to_string(fleet.platform.path(&format!("leader/state/snapshots/{name}")))?;
            assert_eq!(promises::shows(told.as_bytes(), secret.as_bytes()), None, "{told}");
        }
    }
    Ok(())
}

#[test]
fn a_plan_over_the_network_is_the_same_plan_and_for_nobody_without_a_token() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a", "b"])?;
    let admin = SocketAddr::new(platform.address().ip(), 7001);
    platform.configure_leader("admin", json!({ "listen": admin }))?;
    platform.start()?;
    let mut candidate = platform.document().clone();
    candidate["settings"]["greeting"] = json!("good morning");
    let file = platform.path("candidate.json");
    fs::write(&file, candidate.to_string())?;
    let by_command = |words: &[&str]| -> Result<Value> {
        let plan = platform.command()?.arg("plan").args(["--output", "json"]).args(words);
        Ok(serde_json::from_str(&plan.succeed()?)?)
    };
    let create = ["token", "create", "--name", "ci", "--scope", "read", "--ttl", "1h", "--output", "json"];
    let token: Value = serde_json::from_str(&platform.command()?.args(create).succeed()?)?;
    let token = token["token"].as_str().context("it is shown once")?.to_owned();
    let ask = |token: &str, body: &str| post(admin, "/plan", &format!("Authorization: Bearer {token}\r\n"), body);

    // What a machine tells of itself between the two is in the second plan alone.
    let same = |body: &str, words: &[&str]| {
        eventually("both plans are the same", || {
            let answer = ask(&token, body)?;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
            let told = answer.json()?["json"].clone();
            Ok((told == by_command(words)?).then_some(told))
        })
    };
    assert_eq!(same(&candidate.to_string(), &["--file", &file.display().to_string()])?["isNew"], true);
    // Without a body it is what is saved.
    assert_eq!(same("", &[])?["isNew"], false);
    let answer = ask(&token, "{ \"kind\": \"little\" }")?;
    let problem = answer.json()?["json"]["problems"][0]["code"].clone();
    assert_eq!((answer.status, problem), (422, json!("missing-key")), "{}", answer.text());

    platform.command()?.args(["token", "revoke", "ci"]).succeed()?;
    for answer in [ask(&token, "")?, ask("made up", "")?, post(admin, "/plan", "", "")?] {
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{}", answer.text());
    }
    // Where followers ask nobody plans.
    assert_eq!(post(platform.address(), "/plan", &format!("Authorization: Bearer {token}\r\n"), "")?.status, 401);
    assert_eq!(platform.revision()?, "1.1", "planning publishes nothing");
    Ok(())
}
