//! Every way to take a change, through every kind of mount, on a real engine: what counts is what is read inside the
//! container, and what the process runs with.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use promises::{Engine, ImageName, Machine, Moment, Platform, Program, Project, TemplateSet, eventually, get};
use serde_json::{Value, json};

/// The ways that need no compose; each has a folder of the set for itself.
const WAYS: [&str; 5] = ["none", "reload", "exec", "restart", "stop-first"];

/// The kinds of mount.
const MOUNTS: [&str; 4] = ["folder", "file", "volume", "root"];

/// As `onChange` says it.
fn way(way: &str) -> Value {
    match way {
        "reload" => json!({ "reload": "SIGHUP" }),
        "exec" => json!({ "exec": ["/standin", "reload"] }),
        other => json!(other),
    }
}

/// A platform of one machine whose follower speaks to the engine.
fn with_engine(engine: &Engine, set: &TemplateSet) -> Result<Platform> {
    ensure!(!engine.prefix().is_empty());
    let mut platform = Platform::little(set, &["a"])?;
    platform.machine("a")?.configure("docker", json!("/var/run/docker.sock"))?;
    Ok(platform)
}

/// `-v` of a path below the root of machine `a`.
fn mount(platform: &mut Platform, path: &str, to: &str) -> Result<String> {
    Ok(format!("{}:{to}:ro", platform.machine("a")?.root().join(path).display()))
}

fn greet(platform: &mut Platform, greeting: &str) -> Result<()> {
    platform.roll_out(|platform| platform.set("/greeting", json!(greeting))).map(drop)
}

fn greeting(text: &str) -> String {
    format!("{{\"greeting\":\"{text}\"}}\n")
}

/// How often each container did what, of what matters here.
fn count(deeds: &[(String, String)]) -> BTreeMap<(&str, &str), usize> {
    let mut counted = BTreeMap::new();
    for (name, deed) in deeds {
        // A restart kills first; a look into a container is the test's own.
        if deed == "start" || deed.contains("SIGHUP") || deed == "kill 1" || deed.contains("reload") {
            *counted.entry((name.as_str(), if deed == "kill 1" { "SIGHUP" } else { deed.as_str() })).or_default() += 1;
        }
    }
    counted
}

fn services(platform: &Platform) -> Result<BTreeMap<String, String>> {
    let report = platform.status()?["machines"]["a"]["report"]["services"].clone();
    let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
    report.as_array().into_iter().flatten().map(|each| Ok((text(&each["name"])?, text(&each["outcome"])?))).collect()
}

fn status(machine: &Machine) -> Result<Value> {
    Ok(serde_json::from_str(&machine.command("status")?.args(["--output", "json"]).succeed()?)?)
}

#[test]
fn every_way_to_take_a_change_works_through_every_kind_of_mount_once_per_change() -> Result<()> {
    let engine = Engine::here()?;
    let prefix = engine.prefix().to_owned();
    let mut set = TemplateSet::little();
    for each in WAYS {
        set = set.text(&format!("app/{each}/app.json.tera"), "{{ settings | json }}\n");
        for kind in MOUNTS {
            let service = format!("{prefix}{kind}-{each}");
            set = set.service("app", &json!({ "match": service, "onChange": way(each) }))?;
        }
    }
    let mut platform = with_engine(&engine, &set)?;
    platform.start()?;
    // Every container with the path at which it reads.
    let mut readers = Vec::new();
    for each in WAYS {
        for kind in MOUNTS {
            let folder = platform.machine("a")?.root().join(each);
            let (option, inside) = match kind {
                "folder" => (mount(&mut platform, each, "/app/conf")?, "/app/conf/app.json".to_owned()),
                "file" => (
                    mount(&mut platform, &format!("{each}/app.json"), "/app/conf/app.json")?,
                    "/app/conf/app.json".to_owned(),
                ),
                "volume" => {
                    let volume = format!("{prefix}{each}");
                    Program::named("docker")
                        .args(["volume", "create", "--driver", "local", "--opt", "type=none", "--opt", "o=bind"])
                        .args(["--opt", &format!("device={}", folder.display()), &volume])
                        .succeed()?;
                    (format!("{volume}:/app/conf"), "/app/conf/app.json".to_owned())
                }
                _ => (mount(&mut platform, "", "/app/conf")?, format!("/app/conf/{each}/app.json")),
            };
            let name = engine.run(&format!("{kind}-{each}"), ImageName::StandIn, &["--volume", &option])?;
            readers.push((name, each, inside));
        }
    }
    for (name, _, inside) in &readers {
        assert_eq!(engine.taken(name, inside)?, greeting("hello"), "{name}");
    }

    for text in ["first", "second"] {
        let since = engine.moment()?;
        greet(&mut platform, text)?;
        let deeds = engine.deeds_since(since)?;
        let mut expected = BTreeMap::new();
        for (name, each, _) in &readers {
            let deed = match *each {
                "none" => continue,
                "reload" => "SIGHUP",
                "exec" => "/standin reload",
                _ => "start",
            };
            expected.insert((name.as_str(), deed), 1);
        }
        assert_eq!(count(&deeds), expected, "{text}{}", platform.logs());
        for (name, each, inside) in &readers {
            assert_eq!(engine.inside(name, inside)?, greeting(text), "inside {name}");
            if *each == "none" {
                assert_eq!(engine.taken(name, inside)?, greeting("hello"), "{name} reads by itself");
            } else {
                // A signal is obeyed a moment after it was sent.
                eventually(&format!("{name} runs with the new value"), || {
                    Ok((engine.taken(name, inside)? == greeting(text)).then_some(()))
                })?;
            }
        }
    }
    let outcomes = services(&platform)?;
    for (name, each, _) in &readers {
        let outcome = match *each {
            "none" => "untouched",
            "reload" | "exec" => "reloaded",
            _ => "restarted",
        };
        assert_eq!(outcomes[name], outcome, "{name}");
    }
    Ok(())
}

#[test]
fn of_several_changed_files_the_strongest_way_counts_and_labels_count_more_than_the_set() -> Result<()> {
    let engine = Engine::here()?;
    let set = TemplateSet::little()
        .text("app/mixed/hot.json.tera", "{{ settings | json }}\n")
        .text("app/mixed/warm.json.tera", "{{ settings | json }}\n")
        .text("app/mixed/cold.json.tera", "{{ settings.cold | default(value=0) | json }}\n")
        .on_change("app", "mixed/hot.json", &json!("none"))?
        .on_change("app", "mixed/warm.json", &json!({ "reload": "SIGHUP" }))?
        .on_change("app", "mixed/cold.json", &json!("restart"))?;
    let mut platform = with_engine(&engine, &set)?;
    platform.start()?;
    let mixed = mount(&mut platform, "mixed", "/app/conf")?;
    let conf = mount(&mut platform, "app/conf", "/app/conf")?;
    let run = |name: &str, mount: &str, labels: &[&str]| {
        let mut options = vec!["--volume", mount];
        for label in labels {
            options.extend(["--label", label]);
        }
        engine.run(name, ImageName::StandIn, &options)
    };
    let all = run("mixed", &mixed, &[])?;
    let plain = run("plain", &conf, &[])?;
    let signalled = run("signalled", &conf, &["config-follower.on-change={\"reload\":\"SIGHUP\"}"])?;
    let commanded = run("commanded", &conf, &["config-follower.on-change={\"exec\":[\"/standin\",\"reload\"]}"])?;
    let left = run("left", &conf, &["config-follower.on-change=none"])?;
    let unclear = run("unclear", &conf, &["config-follower.on-change=reboot"])?;

    let since = engine.moment()?;
    greet(&mut platform, "warm")?;
    let deeds = engine.deeds_since(since)?;
    let once = BTreeMap::from([
        ((all.as_str(), "SIGHUP"), 1),
        ((plain.as_str(), "start"), 1),
        ((signalled.as_str(), "SIGHUP"), 1),
        ((commanded.as_str(), "/standin reload"), 1),
        ((unclear.as_str(), "start"), 1),
    ]);
    assert_eq!(count(&deeds), once, "{}", platform.logs());
    assert_eq!(services(&platform)?[&left], "untouched");
    let log = platform.machine("a")?.log()?;
    ensure!(log.contains(&format!("`{unclear}` has the label `config-follower.on-change=reboot`")), "{log}");

    // Now a file changes that asks for a restart, beside the two that ask for less.
    let since = engine.moment()?;
    platform.roll_out(|platform| {
        platform.edit(|document| document["settings"] = json!({ "greeting": "cold", "cold": 1 }))
    })?;
    let deeds: Vec<_> = engine.deeds_since(since)?.into_iter().filter(|(name, _)| *name == all).collect();
    assert_eq!(count(&deeds), BTreeMap::from([((all.as_str(), "start"), 1)]), "{}", platform.logs());
    assert_eq!(engine.taken(&all, "/app/conf/cold.json")?, "1\n");
    Ok(())
}

#[test]
fn each_waits_until_what_it_goes_after_is_healthy() -> Result<()> {
    let engine = Engine::here()?;
    let prefix = engine.prefix().to_owned();
    let listens = json!({ "tcp": 7777 });
    let set = TemplateSet::little()
        .service("app", &json!({ "match": format!("{prefix}database"), "health": listens }))?
        .service(
            "app",
            &json!({ "match": format!("{prefix}backend"), "health": listens, "after": [format!("{prefix}database")] }),
        )?;
    let mut platform = with_engine(&engine, &set)?;
    platform.start()?;
    let conf = mount(&mut platform, "app/conf", "/app/conf")?;
    let slow = ["--volume", conf.as_str(), "--env", "STANDIN_DELAY_MS=700"];
    // Started, and named, in the order that has to be turned round.
    let after = format!("config-follower.after={prefix}backend, {prefix}database");
    let front = engine.run("a-front", ImageName::StandIn, &["--volume", &conf, "--label", &after])?;
    let backend = engine.run("backend", ImageName::StandIn, &slow)?;
    let database = engine.run("database", ImageName::StandIn, &slow)?;
    let since = engine.moment()?;
    greet(&mut platform, "in order")?;
    let deeds = engine.deeds_since(since)?;
    let order: Vec<_> = deeds
        .iter()
        .filter(|(_, deed)| matches!(deed.as_str(), "die" | "start"))
        .map(|(name, deed)| (name.as_str(), deed.as_str()))
        .collect();
    let (database, backend, front) = (database.as_str(), backend.as_str(), front.as_str());
    let expected = [database, backend, front].map(|name| [(name, "die"), (name, "start")]).concat();
    assert_eq!(order, expected, "{}", platform.logs());
    // It is not enough that the one before was started: it listens only a while after that.
    let begun = |name: &str| -> Result<u128> { Ok(get(engine.standin(name)?, "/started")?.text().parse()?) };
    let (first, second, third) = (begun(database)?, begun(backend)?, begun(front)?);
    ensure!(second - first > 700_000_000 && third - second > 700_000_000, "{first} {second} {third}");
    Ok(())
}

/// The compose file of a machine, whose services are named after this test.
fn compose(prefix: &str, services: &str) -> String {
    let mut text = "version: '2.4'\nservices:\n".to_owned();
    for service in services.split_whitespace() {
        let (name, more) = service.split_once('=').unwrap_or((service, ""));
        text += &format!(
            "  {name}:\n    image: pconf/standin\n    container_name: {prefix}{name}\n    network_mode: bridge\n    \
             volumes: ['./app/conf:/app/conf:ro']\n"
        );
        match (name, more) {
            ("web", _) => text += "    env_file: web.env\n",
            (_, "") => {}
            (_, command) => text += &format!("    command: [{command}]\n"),
        }
    }
    text
}

/// What tells one container from another that took its name: its id and its start.
fn lives(engine: &Engine, names: &[&str]) -> Result<BTreeMap<String, String>> {
    let prefix = engine.prefix();
    names
        .iter()
        .map(|name| {
            let life =
                engine.inspect(&format!("{prefix}{name}"), "{{ .Id }} {{ .State.StartedAt }} {{ .State.Running }}")?;
            Ok(((*name).to_owned(), life))
        })
        .collect()
}

/// The services whose container is another one, or was started since.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn compose_set(engine: &Engine, colour: &str, services: &str) -> Result<TemplateSet> {
    let prefix = engine.prefix();
    TemplateSet::little()
        .text("app/web.env", &format!("COLOUR={colour}\n"))
        .text("app/services.yml", &compose(prefix, services))
        .compose("app", "services.yml", prefix.trim_end_matches('-'))?
        .service("app", &json!({ "match": "proxy", "onChange": { "reload": "SIGHUP" }, "upstreams": ["web"] }))
}

#[test]
fn compose_makes_anew_what_means_something_else_and_nothing_else() -> Result<()> {
    let engine = Engine::here()?;
    let prefix = engine.prefix().to_owned();
    let environment = |name: &str| -> Result<String> {
        Ok(get(engine.standin(&format!("{prefix}{name}"))?, "/environment/COLOUR")?.text())
    };
    let set = |colour: &str, services: &str| compose_set(&engine, colour, services);
    let mut platform = with_engine(&engine, &set("red", "web worker='one' proxy")?)?;
    // Brought up from nothing.
    platform.start()?;
    let three = ["web", "worker", "proxy"];
    let first = lives(&engine, &three)?;
    ensure!(first.values().all(|life| life.ends_with("true")), "{first:?}");
    assert_eq!(environment("web")?, "red");

    // A file that is mounted is no reason to make anything anew; the proxy takes it while it runs on.
    let since = engine.moment()?;
    greet(&mut platform, "mounted")?;
    let deeds = engine.deeds_since(since)?;
    let (web, worker, proxy) = (format!("{prefix}web"), format!("{prefix}worker"), format!("{prefix}proxy"));
    let expected = [((web.as_str(), "start"), 1), ((worker.as_str(), "start"), 1), ((proxy.as_str(), "SIGHUP"), 1)];
    assert_eq!(count(&deeds), BTreeMap::from(expected), "{}", platform.logs());
    let ids = |lives: &BTreeMap<String, String>| -> Vec<String> {
        lives.values().map(|life| life[..64].to_owned()).collect()
    };
    let second = lives(&engine, &three)?;
    assert_eq!(ids(&second), ids(&first));

    // An environment file: only a new container has it, and the proxy that keeps its address is told after that.
    let since = engine.moment()?;
    platform.roll_out(|platform| platform.write_set(&set("blue", "web worker='one' proxy")?))?;
    let third = lives(&engine, &three)?;
    assert_eq!(changed(&second, &third), ["web"], "{}", platform.logs());
    assert_eq!(environment("web")?, "blue");
    let deeds = engine.deeds_since(since)?;
    let place = |name: &str, deed: &str| deeds.iter().position(|(n, d)| n == name && d.starts_with(deed));
    let (made, told) =
        (place(&web, "start").context("web is started")?, place(&proxy, "kill").context("proxy is told")?);
    ensure!(made < told, "{deeds:?}");

    // A command, and a service that is new; then an image; then one that goes.
    platform.roll_out(|platform| platform.write_set(&set("blue", "web worker='two' proxy helper")?))?;
    let fourth = lives(&engine, &["web", "worker", "proxy", "helper"])?;
    assert_eq!(changed(&third, &fourth), ["worker", "helper"], "{}", platform.logs());
    assert_eq!(get(engine.standin(&worker)?, "/arguments")?.text(), "two");
    let image = engine.build("other", "LABEL other=yes")?;
    let other = |services: &str| -> Result<TemplateSet> {
        let text = compose(&prefix, services);
        let (above, helper) = text.split_once("  helper:\n").context("a helper")?;
        let helper = helper.replacen("pconf/standin", &image, 1);
        Ok(set("blue", services)?.text("app/services.yml", &format!("{above}  helper:\n{helper}")))
    };
    platform.roll_out(|platform| platform.write_set(&other("web worker='two' proxy helper")?))?;
    let fifth = lives(&engine, &["web", "worker", "proxy", "helper"])?;
    assert_eq!(changed(&fourth, &fifth), ["helper"], "{}", platform.logs());
    assert_eq!(engine.inspect(&format!("{prefix}helper"), "{{ .Config.Labels.other }}")?, "yes");
    platform.roll_out(|platform| platform.write_set(&other("web proxy helper")?))?;
    let without = ["web", "proxy", "helper"];
    let sixth = lives(&engine, &without)?;
    assert_eq!(engine.running()?, [format!("{prefix}helper"), proxy.clone(), web.clone()]);
    assert_eq!(changed(&fifth, &sixth), ["worker"], "{}", platform.logs());

    // Words that mean the same make nothing anew.
    let spelled = compose(&prefix, "web proxy").replace("pconf/standin", "\"pconf/standin\"") + "# the end\n";
    platform.roll_out(|platform| platform.write_set(&set("blue", "web proxy")?.text("app/services.yml", &spelled)))?;
    assert_eq!(changed(&sixth, &lives(&engine, &["web", "proxy"])?), ["helper"], "{}", platform.logs());
    let alike = spelled + "# really\n";
    let seventh = lives(&engine, &["web", "proxy"])?;
    platform.roll_out(|platform| platform.write_set(&set("blue", "web proxy")?.text("app/services.yml", &alike)))?;
    assert_eq!(lives(&engine, &["web", "proxy"])?, seventh, "{}", platform.logs());

    // A follower that remembers nothing adopts all of it as it is.
    forget(&mut platform)?;
    assert_eq!(lives(&engine, &["web", "proxy"])?, seventh, "{}", platform.logs());
    // It knows them as well as the one before: the next environment is taken by the one that it concerns.
    platform.roll_out(|platform| platform.write_set(&set("green", "web proxy")?.text("app/services.yml", &alike)))?;
    assert_eq!(changed(&seventh, &lives(&engine, &["web", "proxy"])?), ["web"], "{}", platform.logs());
    assert_eq!(environment("web")?, "green");

    // The whole file goes, and with it all that was made from it.
    let without = set("green", "web proxy")?.without("app/services.yml").edit("app/role.json", |role| {
        drop(role.as_object_mut().and_then(|role| role.remove("compose")));
    })?;
    platform.roll_out(|platform| platform.write_set(&without))?;
    assert_eq!(engine.running()?, [""; 0], "{}", platform.logs());
    Ok(())
}

/// Replaces the follower of machine `a` by one that remembers nothing, and waits for it.
fn forget(platform: &mut Platform) -> Result<()> {
    let machine = platform.machine("a")?;
    machine.stop()?;
    std::fs::remove_dir_all(machine.folder().join("state"))?;
    let once = machine.command("once")?.end()?;
    ensure!(once.code == Some(0), "{once:?}");
    machine.start()?;
    platform.converged().map(drop)
}

#[test]
fn a_project_that_its_operator_made_is_known_by_the_file_that_it_was_made_from() -> Result<()> {
    let engine = Engine::here()?;
    let prefix = engine.prefix().to_owned();
    let undeclared = |colour: &str, services: &str| -> Result<TemplateSet> {
        compose_set(&engine, colour, services)?.edit("app/role.json", |role| {
            drop(role.as_object_mut().and_then(|role| role.remove("compose")));
        })
    };
    let mut platform = with_engine(&engine, &undeclared("red", "web worker='one'")?)?;
    platform.start()?;
    assert_eq!(engine.running()?, [""; 0]);
    let file = platform.machine("a")?.root().join("services.yml");
    // As compose 1.29 spells what it was told: relative to where it was called.
    Program::named("docker-compose")
        .args(["--project-name", prefix.trim_end_matches('-'), "--file", "services.yml", "up", "--detach"])
        .inside(file.parent().context("a folder")?)
        .succeed()?;
    let names = ["web", "worker"];
    let first = lives(&engine, &names)?;
    platform.roll_out(|platform| platform.write_set(&undeclared("blue", "web worker='one'")?))?;
    let second = lives(&engine, &names)?;
    assert_eq!(changed(&first, &second), ["web"], "{}", platform.logs());
    platform.roll_out(|platform| platform.write_set(&undeclared("blue", "web worker='two' helper")?))?;
    let third = lives(&engine, &["web", "worker", "helper"])?;
    assert_eq!(changed(&second, &third), ["worker", "helper"], "{}", platform.logs());
    // Compose itself finds nothing to do after us.
    Project::new(prefix.trim_end_matches('-'), &file).up()?;
    assert_eq!(lives(&engine, &["web", "worker", "helper"])?, third);
    Ok(())
}

#[test]
fn what_its_operator_stopped_stays_stopped_and_status_says_so() -> Result<()> {
    let engine = Engine::here()?;
    let mut platform = with_engine(&engine, &TemplateSet::little())?;
    platform.start()?;
    let conf = mount(&mut platform, "app/conf", "/app/conf")?;
    let polite = ["--stop-signal", "SIGTERM", "--stop-timeout", "1", "--volume", conf.as_str()];
    let stopped = engine.run("stopped", ImageName::StandIn, &polite)?;
    let first = ["--volume", conf.as_str(), "--label", "config-follower.on-change=stop-first"];
    let held = engine.run("held", ImageName::StandIn, &first)?;
    greet(&mut platform, "before")?;
    Program::named("docker").args(["stop", &stopped, &held]).succeed()?;
    let since = engine.moment()?;
    greet(&mut platform, "after")?;
    assert_eq!(engine.starts_since(since)?, BTreeMap::new(), "{}", platform.logs());
    let machine = platform.machine("a")?;
    let text = machine.command("status")?.succeed()?;
    for name in [&stopped, &held] {
        let line = text.lines().find(|line| line.starts_with(name.as_str())).context("a line of its own")?;
        ensure!(line.contains("stopped by its operator"), "{text}");
    }
    let standing = status(machine)?["standing"].clone();
    ensure!(
        standing.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["running"].is_null())),
        "{standing:#}"
    );
    // Through a restart of the follower, too; and whoever is started by its operator has read the new files.
    machine.stop()?;
    machine.start()?;
    platform.converged()?;
    assert_eq!(engine.starts_since(since)?, BTreeMap::new(), "{}", platform.logs());
    Program::named("docker").args(["start", &stopped]).succeed()?;
    assert_eq!(engine.taken(&stopped, "/app/conf/app.json")?, greeting("after"));
    platform.machine("a")?.command("once")?.succeed()?;
    assert_eq!(engine.starts_since(since)?, BTreeMap::from([(stopped, 1)]), "{}", platform.logs());
    Ok(())
}

#[test]
fn a_follower_that_remembers_nothing_adopts_a_machine_that_matches() -> Result<()> {
    let engine = Engine::here()?;
    let mut platform = with_engine(&engine, &TemplateSet::little())?;
    platform.start()?;
    greet(&mut platform, "as it is")?;
    let conf = mount(&mut platform, "app/conf", "/app/conf")?;
    let reader = engine.run("reader", ImageName::StandIn, &["--volume", &conf])?;
    let signalled = ["--volume", conf.as_str(), "--label", "config-follower.on-change={\"reload\":\"SIGHUP\"}"];
    engine.run("signalled", ImageName::StandIn, &signalled)?;
    let (tree, since): (_, Moment) = (platform.machine("a")?.tree()?, engine.moment()?);
    forget(&mut platform)?;
    assert_eq!(count(&engine.deeds_since(since)?), BTreeMap::new(), "{}", platform.logs());
    assert_eq!(platform.machine("a")?.tree()?, tree);
    assert_eq!(status(platform.machine("a")?)?["standing"][0]["running"], json!(platform.revision()?));
    assert_eq!(engine.taken(&reader, "/app/conf/app.json")?, greeting("as it is"));
    Ok(())
}
