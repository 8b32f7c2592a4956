//! A revision that breaks one service of eight: the machine is as it was before, it says so everywhere, it does not try
//! again, and the next revision goes through.
#![allow(clippy::print_stderr, reason = "how long it took is worth telling")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use promises::{Engine, Outcome, Platform, TemplateSet, eventually, get};
use serde_json::{Value, json};

/// The limit of the gate that has to be waited for, in seconds.
const LIMIT: u64 = 5;

/// The limit of a gate that nobody has to wait for, as what breaks is seen to break.
const FAR_LIMIT: u64 = 60;

/// What the whole way back may take beyond the gate's limit.
const BEYOND: Duration = Duration::from_secs(2);

/// What four containers that are stopped and started side by side may take longer on a busy machine.
const BUSY: Duration = Duration::from_secs(4);

/// Quoted by the service that fails.
const SECRET: &str = "s3cr3t-t0ken-0f-the-machine";

/// One breaks; one waits for it; the rest read what changes beside it, or what does not.
const SERVICES: [&str; 8] = ["breaks", "waits", "changed", "added", "removed", "mode", "still", "other"];

/// The starts of each on the way there and back.
fn both_ways(engine: &Engine) -> BTreeMap<String, usize> {
    ["added", "breaks", "changed", "removed"].map(|name| (format!("{}{name}", engine.prefix()), 2)).into()
}

/// How the service breaks.
#[derive(Clone, Copy)]
struct Break {
    /// What its file says then.
    word: &'static str,
    /// How it is made.
    options: &'static [&'static str],
    /// Whether it is made of the image with a HEALTHCHECK.
    has_healthcheck: bool,
    /// How its health is seen.
    health: Option<&'static str>,
    /// What is told of it.
    reason: &'static str,
    /// The limit of its gate, in seconds.
    limit: u64,
}

struct Machine {
    platform: Platform,
    /// Dropped after the follower.
    engine: Engine,
}

/// The files of the set; `word` is what breaks a service, in the second revision only.
fn set(engine: &Engine, broken: &Break, word: Option<&str>) -> Result<TemplateSet> {
    let is_second = word.is_some();
    let content = |name: &str| format!("{name} {}\n", if is_second { "second" } else { "first" });
    let mut set = TemplateSet::little()
        .json("secrets.json", &json!({ "token": { "description": "A token.", "kind": "external", "roles": ["app"] } }))
        .text("app/changed/service.conf", &content("changed"))
        .text("app/changed/more.conf", &content("more"))
        .text("app/waits/service.conf", &content("waits"))
        .text("app/breaks/service.conf.tera", &format!("{{{{ secrets.token | json }}}}\n{}\n", word.unwrap_or("fine")))
        .text("app/added/service.conf", "added stays\n")
        .text("app/removed/service.conf", "removed stays\n")
        .text("app/mode/service.conf", "mode stays\n")
        .text("app/still/service.conf", "still\n")
        .text("app/other/service.conf", "other\n");
    set = if is_second {
        set.text("app/added/deep/more.conf", "there is more\n").edit("app/role.json", |role| {
            if let Some(files) = role["files"].as_array_mut() {
                files.push(json!({ "match": "mode/**", "mode": "0600" }));
            }
        })?
    } else {
        set.text("app/removed/old.conf", "this goes\n")
    };
    let name = |service: &str| format!("{}{service}", engine.prefix());
    let mut rule = json!({ "match": name("breaks"), "limit": broken.limit });
    if let Some(health) = broken.health {
        rule["health"] = serde_json::from_str(health)?;
    }
    set.edit("app/role.json", |role| {
        // Whoever breaks is seen in its own way; the others are well when they run.
        let others = SERVICES[1..].iter();
        let mut rules: Vec<_> = others.map(|each| json!({ "match": name(each), "health": { "running": 0 } })).collect();
        rules.push(rule);
        rules.push(json!({ "match": name("waits"), "after": [name("breaks")] }));
        role["services"] = json!(rules);
    })
}

impl Machine {
    fn with(broken: &Break) -> Result<Self> {
        let engine = Engine::here()?;
        let mut platform = Platform::little(&set(&engine, broken, None)?, &["a"])?;
        platform.machine("a")?.configure("docker", json!("/var/run/docker.sock"))?;
        platform.write_secret("token", SECRET)?;
        platform.start()?;
        let checked = "HEALTHCHECK --interval=300ms --retries=2 CMD [\"/standin\", \"health\"]";
        let image = engine.build("checked", checked)?;
        for service in SERVICES {
            let folder = platform.machine("a")?.root().join(service);
            let mount = format!("{}:/app/conf:ro", folder.display());
            let mut options = vec!["--volume", &mount];
            let is_it = service == "breaks";
            options.extend(broken.options.iter().filter(|_| is_it));
            let image = if is_it && broken.has_healthcheck { image.as_str() } else { "pconf/standin" };
            engine.run_image(service, image, &options, &[])?;
        }
        platform.machine("a")?.stop()?;
        Ok(Self { platform, engine })
    }

    fn once(&mut self) -> Result<Outcome> {
        self.platform.machine("a")?.command("once")?.end()
    }

    /// Every path with content, owner and mode, and every container but for its start.
    fn picture(&mut self) -> Result<(BTreeMap<String, String>, Vec<String>)> {
        let tree = self.platform.machine("a")?.tree()?;
        let tree = tree.into_iter().map(|(path, entry)| (path, format!("{entry:?}"))).collect();
        let containers = SERVICES.iter().map(|service| {
            let name = format!("{}{service}", self.engine.prefix());
            let told =
                self.engine.inspect(&name, "{{ .Id }} {{ .State.Status }} {{ json .Mounts }} {{ json .Config }}")?;
            Ok(told + &get(self.engine.standin(&name)?, "/files/app/conf/service.conf")?.text())
        });
        Ok((tree, containers.collect::<Result<_>>()?))
    }

    fn verdict(&self) -> Result<Value> {
        Ok(self.platform.status()?["machines"]["a"]["report"]["verdict"].clone())
    }
}

fn goes_back_and_on(broken: &Break) -> Result<()> {
    let mut machine = Machine::with(broken)?;
    let (good, before) = (machine.platform.revision()?, machine.picture()?);
    let second = set(&machine.engine, broken, Some(broken.word))?;
    let bad = machine.platform.publish(|platform| platform.write_set(&second))?;

    let (since, begun) = (machine.engine.moment()?, Instant::now());
    let once = machine.once()?;
    let took = begun.elapsed();
    assert_eq!(once.code, Some(4), "{once:?}{}", machine.platform.logs());
    let name = format!("{}breaks", machine.engine.prefix());
    let starts = machine.engine.starts_since(since)?;
    // From the start that the gate judges to the end of the way back.
    let took = took.saturating_sub(machine.engine.first_start(&name, since)?);
    eprintln!("`{}`: back {} ms after its start, with a limit of {} s", broken.reason, took.as_millis(), broken.limit);
    let limit = Duration::from_secs(LIMIT);
    ensure!(took < limit + BEYOND + BUSY, "{took:?}");
    ensure!(took >= limit || broken.limit == FAR_LIMIT, "{took:?}");
    assert_eq!(machine.picture()?, before, "{once:?}");
    let mut expected = both_ways(&machine.engine);
    if broken.options.contains(&"always") {
        // The engine starts it by itself meanwhile.
        let own = starts.get(&name).copied().unwrap_or_default();
        ensure!(own >= 2, "{starts:?}");
        expected.insert(name.clone(), own);
    }
    assert_eq!(starts, expected, "whoever is not concerned was never restarted: {once:?}");

    // It is told: to the leader, at the machine, with the last words of who failed, and without the secret in them.
    let verdict = machine.verdict()?;
    let told = (&verdict["state"], &verdict["revision"], &verdict["running"]);
    assert_eq!(told, (&json!("rolled-back"), &json!(bad), &json!(good)), "{verdict:#}");
    ensure!(verdict["reason"].as_str().is_some_and(|reason| reason.contains(broken.reason)), "{verdict:#}");
    let at_the_leader = machine.platform.command()?.arg("status").end()?;
    let here = machine.platform.machine("a")?.command("status")?.end()?;
    for text in [&at_the_leader.output, &here.output, &once.errors] {
        ensure!(text.contains(&bad) && text.contains(&good) && text.contains(broken.reason), "{text}");
    }
    let words = if broken.word == "standin:crash" { "asks for a crash" } else { "booted with 1 files" };
    for text in [&at_the_leader.output, &once.output] {
        ensure!(text.contains(words), "no last words in {text}");
    }
    let all = format!("{at_the_leader:?}{here:?}{once:?}{}{}", machine.platform.status()?, machine.platform.logs());
    ensure!(!all.contains(SECRET), "a secret is shown: {all}");

    // Neither another process nor a poll nor a notification tries it again.
    let since = machine.engine.moment()?;
    assert_ne!(machine.once()?.code, Some(0));
    machine.platform.machine("a")?.configure("poll", json!(1))?;
    machine.platform.machine("a")?.start()?;
    let heard = || -> Result<Value> { Ok(machine.platform.status()?["machines"]["a"]["lastContact"].clone()) };
    let first = heard()?;
    ensure!(!first.is_null(), "{:#}", machine.platform.status()?);
    eventually("the follower polls twice", || Ok((heard()? != first).then_some(())))?;
    let second_time = heard()?;
    eventually("the follower polls twice", || Ok((heard()? != second_time).then_some(())))?;
    assert_eq!(machine.engine.starts_since(since)?, BTreeMap::new(), "{}", machine.platform.logs());
    assert_eq!(machine.picture()?, before);

    // The next revision goes through everywhere.
    let third = set(&machine.engine, broken, Some("fine again"))?;
    machine.platform.roll_out(|platform| platform.write_set(&third))?;
    let (tree, containers) = machine.picture()?;
    ensure!(tree.contains_key("added/deep/more.conf") && !tree.contains_key("removed/old.conf"), "{tree:#?}");
    ensure!(tree["mode/service.conf"].starts_with("100600"), "{tree:#?}");
    for (service, told) in SERVICES.iter().zip(&containers) {
        let content = match *service {
            "breaks" => "fine again\n".to_owned(),
            "changed" | "waits" => format!("{service} second\n"),
            "still" | "other" => format!("{service}\n"),
            stays => format!("{stays} stays\n"),
        };
        ensure!(told.contains(" running ") && told.ends_with(&content), "{told}");
    }
    let expected = ["added", "breaks", "changed", "removed", "waits"];
    let starts = machine.engine.starts_since(since)?;
    let expected = expected.map(|name| (format!("{}{name}", machine.engine.prefix()), 1)).into();
    assert_eq!(starts, expected, "{}", machine.platform.logs());
    machine.platform.machine("a")?.stop().map(drop)
}

#[test]
fn a_service_that_ends_of_its_new_files() -> Result<()> {
    goes_back_and_on(&Break {
        word: "standin:crash",
        options: &[],
        has_healthcheck: false,
        health: None,
        reason: "exited with code 1",
        limit: FAR_LIMIT,
    })
}

#[test]
fn a_service_that_is_started_again_and_again() -> Result<()> {
    goes_back_and_on(&Break {
        word: "standin:crash",
        options: &["--restart", "always"],
        has_healthcheck: false,
        health: Some("{\"running\":3}"),
        reason: "keeps dying and being started again",
        limit: FAR_LIMIT,
    })
}

#[test]
fn a_service_whose_healthcheck_turns_unhealthy() -> Result<()> {
    goes_back_and_on(&Break {
        word: "standin:unhealthy",
        options: &[],
        has_healthcheck: true,
        health: None,
        reason: "its HEALTHCHECK says that it is unhealthy",
        limit: FAR_LIMIT,
    })
}

#[test]
fn a_service_that_does_not_answer_any_more() -> Result<()> {
    goes_back_and_on(&Break {
        word: "standin:silent",
        options: &[],
        has_healthcheck: false,
        health: Some("{\"http\":{\"port\":7777,\"path\":\"/health\"}}"),
        reason: "not healthy after 5 s: `GET /health` on port 7777: no answer",
        limit: LIMIT,
    })
}

#[test]
fn a_service_that_answers_that_it_is_ill() -> Result<()> {
    goes_back_and_on(&Break {
        word: "standin:unhealthy",
        options: &[],
        has_healthcheck: false,
        health: Some("{\"http\":{\"port\":7777,\"path\":\"/health\"}}"),
        reason: "not healthy after 5 s: `GET /health` on port 7777: status 503",
        limit: LIMIT,
    })
}

/// Services of a compose file: one whose environment file changes, one that breaks, one that goes, one that comes, one
/// that stays as it is.
fn compose_set(engine: &Engine, breaks: Option<&str>) -> Result<TemplateSet> {
    let prefix = engine.prefix();
    let mut text = "version: '2.4'\nservices:\n".to_owned();
    let mut service = |name: &str, image: &str, more: &str| {
        text +=
            &format!("  {name}:\n    image: {image}\n    container_name: {prefix}{name}\n    network_mode: bridge\n");
        text += &format!("    volumes: ['./conf:/app/conf:ro']\n{more}");
    };
    service("web", "pconf/standin", "    env_file: web.env\n");
    match breaks {
        None => service("breaks", "pconf/standin", ""),
        Some(image) if image.ends_with("absent") => service("breaks", image, ""),
        Some(listen) => service("breaks", "pconf/standin", &format!("    environment: ['STANDIN_LISTEN={listen}']\n")),
    }
    service("still", "pconf/standin", "");
    service(if breaks.is_none() { "goes" } else { "comes" }, "pconf/standin", "");
    let colour = if breaks.is_none() { "red" } else { "blue" };
    let project = prefix.trim_end_matches('-');
    TemplateSet::little()
        .text("app/conf/service.conf", "the same\n")
        .text("app/web.env", &format!("COLOUR={colour}\n"))
        .text("app/services.yml", &text)
        .compose("app", "services.yml", project)
}

fn breaks_a_compose_service(breaks: &str, reason: &str) -> Result<()> {
    let engine = Engine::here()?;
    let mut platform = Platform::little(&compose_set(&engine, None)?, &["a"])?;
    platform.machine("a")?.configure("docker", json!("/var/run/docker.sock"))?;
    platform.start()?;
    platform.machine("a")?.stop()?;
    let name = |service: &str| format!("{}{service}", engine.prefix());
    let picture = || -> Result<Vec<String>> {
        let all = ["web", "breaks", "still", "goes"].iter().map(|service| {
            let running =
                "{{ .Name }} {{ .State.Status }} {{ json .Config.Env }} {{ .Config.Image }} {{ json .Mounts }}";
            engine.inspect(&name(service), running)
        });
        all.collect()
    };
    let life = |service: &str| engine.inspect(&name(service), "{{ .Id }} {{ .State.StartedAt }}");
    let (good, before) = (platform.revision()?, picture()?);
    let (tree, still) = (platform.machine("a")?.tree()?, life("still")?);

    let bad = platform.publish(|platform| platform.write_set(&compose_set(&engine, Some(breaks))?))?;
    let begun = Instant::now();
    let once = platform.machine("a")?.command("once")?.end()?;
    eprintln!("`{reason}`: back {} ms after the first look", begun.elapsed().as_millis());
    assert_eq!(once.code, Some(4), "{once:?}");
    ensure!(once.errors.contains(reason) && once.errors.contains(&good) && once.errors.contains(&bad), "{once:?}");
    assert_eq!(picture()?, before, "{once:?}");
    let shown = |tree: promises::Tree| -> Vec<_> {
        tree.into_iter().map(|(path, entry)| (path, format!("{entry:?}"))).collect()
    };
    assert_eq!(shown(platform.machine("a")?.tree()?), shown(tree));
    assert_eq!(life("still")?, still);
    let mut names: Vec<_> = ["web", "breaks", "still", "goes"].map(name).into();
    names.sort();
    assert_eq!(engine.running()?, names, "what came with the revision has gone with it");

    platform.machine("a")?.start()?;
    platform.roll_out(|platform| platform.write_set(&compose_set(&engine, Some("0.0.0.0:7777"))?))?;
    let mut names: Vec<_> = ["web", "breaks", "still", "comes"].map(name).into();
    names.sort();
    assert_eq!(engine.running()?, names);
    assert_eq!(get(engine.standin(&name("web"))?, "/environment/COLOUR")?.text(), "blue");
    assert_eq!(life("still")?, still);
    platform.machine("a")?.stop().map(drop)
}

#[test]
fn a_compose_service_that_ends_as_it_is_made_anew() -> Result<()> {
    breaks_a_compose_service("nonsense", "exited with code 2")
}

#[test]
fn a_compose_service_whose_image_does_not_exist() -> Result<()> {
    breaks_a_compose_service("pconf/absent", "compose ended with code 1")
}
