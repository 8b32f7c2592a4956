//! Who reads a changed file is found from the containers themselves, and restarted once; nobody else is.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use promises::{Engine, ImageName, Platform, Program, TemplateSet, get};
use serde_json::{Value, json};

/// A platform of one machine whose follower speaks to the engine.
fn with_engine(set: &TemplateSet) -> Result<(Engine, Platform)> {
    let engine = Engine::here()?;
    let mut platform = Platform::little(set, &["a"])?;
    platform.machine("a")?.configure("docker", json!("/var/run/docker.sock"))?;
    Ok((engine, platform))
}

fn mount(platform: &mut Platform, path: &str, to: &str) -> Result<String> {
    Ok(format!("{}:{to}:ro", platform.machine("a")?.root().join(path).display()))
}

fn once(containers: &[&String]) -> BTreeMap<String, usize> {
    containers.iter().map(|name| ((*name).clone(), 1)).collect()
}

fn greet(platform: &mut Platform, greeting: &str) -> Result<()> {
    platform.roll_out(|platform| platform.set("/greeting", json!(greeting))).map(drop)
}

#[test]
fn readers_of_a_folder_a_file_or_the_whole_root_restart_once_and_bystanders_do_not() -> Result<()> {
    let set = TemplateSet::little().text("app/app/conf/second.json.tera", "{{ settings | json }}\n");
    let (engine, mut platform) = with_engine(&set)?;
    platform.start()?;
    let folder = mount(&mut platform, "app/conf", "/app/conf")?;
    let file = mount(&mut platform, "app/conf/app.json", "/app/conf/app.json")?;
    let root = mount(&mut platform, "", "/app/conf")?;
    let data = mount(&mut platform, "app/data", "/app/conf")?;
    let of_folder = engine.run("folder", ImageName::StandIn, &["--volume", &folder])?;
    let of_file = engine.run("file", ImageName::StandIn, &["--volume", &file])?;
    let of_root = engine.run("root", ImageName::StandIn, &["--volume", &root])?;
    engine.run("data", ImageName::StandIn, &["--volume", &data])?;
    engine.run("nothing", ImageName::StandIn, &[])?;

    let since = engine.moment()?;
    greet(&mut platform, "changed")?;
    let readers = [&of_folder, &of_file, &of_root];
    assert_eq!(engine.starts_since(since)?, once(&readers), "{}", platform.logs());
    for (reader, path) in
        readers.into_iter().zip(["app/conf/app.json", "app/conf/app.json", "app/conf/app/conf/app.json"])
    {
        let booted = get(engine.standin(reader)?, &format!("/files/{path}"))?.text();
        assert_eq!(booted, "{\"greeting\":\"changed\"}\n", "{reader}");
    }
    Ok(())
}

#[test]
fn a_service_that_its_operator_stopped_stays_stopped() -> Result<()> {
    let (engine, mut platform) = with_engine(&TemplateSet::little())?;
    platform.start()?;
    let folder = mount(&mut platform, "app/conf", "/app/conf")?;
    let stopped = engine.run("stopped", ImageName::StandIn, &["--restart", "always", "--volume", &folder])?;
    let reader = engine.run("reader", ImageName::StandIn, &["--volume", &folder])?;
    Program::named("docker").args(["stop", &stopped]).succeed()?;
    let since = engine.moment()?;
    greet(&mut platform, "changed")?;
    assert_eq!(engine.starts_since(since)?, once(&[&reader]), "{}", platform.logs());
    let services = platform.status()?["machines"]["a"]["report"]["services"].clone();
    let outcomes: Vec<_> =
        services.as_array().into_iter().flatten().map(|service| service["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("restarted"), json!("stopped")], "{services:#}");
    Ok(())
}

#[test]
fn what_does_not_come_up_with_the_new_files_is_named_in_the_report() -> Result<()> {
    let (engine, mut platform) = with_engine(&TemplateSet::little())?;
    platform.start()?;
    let folder = mount(&mut platform, "app/conf", "/app/conf")?;
    let service = engine.run("fragile", ImageName::StandIn, &["--volume", &folder])?;
    platform.publish(|platform| platform.set("/greeting", json!("standin:crash")))?;
    let revision = platform.revision()?;
    let report = promises::eventually("the machine goes back", || {
        let report = platform.status()?["machines"]["a"]["report"].clone();
        let is_back = report["verdict"]["state"] == "rolled-back" && report["verdict"]["revision"] == *revision;
        Ok(is_back.then_some(report))
    })?;
    let services: Vec<Value> = report["services"].as_array().cloned().unwrap_or_default();
    ensure!(
        services.iter().any(|entry| entry["name"] == *service && entry["outcome"] == "failed"),
        "{report:#}{}",
        platform.logs()
    );
    greet(&mut platform, "well again")?;
    assert_eq!(engine.inspect(&service, "{{ .State.Running }}")?, "true");
    Ok(())
}

#[test]
fn nothing_is_written_while_the_engine_is_away_and_the_reader_restarts_once_when_it_is_back() -> Result<()> {
    let (engine, mut platform) = with_engine(&TemplateSet::little())?;
    platform.start()?;
    let folder = mount(&mut platform, "app/conf", "/app/conf")?;
    let reader = engine.run("reader", ImageName::StandIn, &["--volume", &folder])?;
    let before = platform.machine("a")?.tree()?;
    // No engine answers there: who would have to be restarted cannot be known.
    platform.machine("a")?.stop()?;
    platform.machine("a")?.configure("docker", json!("/nowhere/docker.sock"))?;
    platform.publish(|platform| platform.set("/greeting", json!("owed")))?;
    let since = engine.moment()?;
    let away = platform.machine("a")?.command("once")?.end()?;
    ensure!(away.code != Some(0) && away.errors.contains("/nowhere/docker.sock"), "{away:?}");
    assert_eq!(platform.machine("a")?.tree()?, before);
    assert_eq!(engine.starts_since(since)?, once(&[]));
    platform.machine("a")?.configure("docker", json!("/var/run/docker.sock"))?;
    platform.machine("a")?.start()?;
    platform.converged()?;
    assert_eq!(platform.machine("a")?.read("app/conf/app.json")?, "{\"greeting\":\"owed\"}\n");
    assert_eq!(engine.starts_since(since)?, once(&[&reader]), "{}", platform.logs());
    assert_eq!(get(engine.standin(&reader)?, "/files/app/conf/app.json")?.text(), "{\"greeting\":\"owed\"}\n");
    Ok(())
}

/// Followers in containers of their own, as they are deployed: they know their root under another path than their
/// neighbours do, and one of them manages a volume that has no path at all.
#[test]
fn a_follower_in_a_container_finds_its_readers_by_its_own_mounts() -> Result<()> {
    let engine = Engine::here()?;
    let mut platform = Platform::little(&TemplateSet::little(), &["a", "b"])?;
    let folder = platform.machine("a")?.root().display().to_string();
    let volume = format!("{}files", engine.prefix());
    platform.start_leader()?;
    let mut readers = Vec::new();
    for (name, source) in [("a", folder), ("b", volume)] {
        let options = ["--volume", &format!("{source}:/srv:ro"), "--env", "STANDIN_READ=/srv"];
        readers.push(engine.run(&format!("reader-{name}"), ImageName::StandIn, &options)?);
        let machine = platform.machine(name)?;
        machine.identify()?;
        machine.configure("docker", json!("/var/run/docker.sock"))?;
        machine.configure("root", json!("/managed"))?;
        machine.configure("state", json!("/machine/state"))?;
        let program = format!("{}:/config-follower:ro", Program::path_of_ours("config-follower")?.display());
        let mounts = [
            program,
            format!("{}:/machine", machine.folder().display()),
            format!("{source}:/managed"),
            "/var/run/docker.sock:/var/run/docker.sock".to_owned(),
        ];
        let mut options = vec!["--network", "host", "--user", "0:0", "--entrypoint", "/config-follower"];
        for mount in &mounts {
            options.extend(["--volume", mount]);
        }
        // The image of redis brings the C library that a test build needs; the shipped program needs none.
        let command = ["run", "--config", "/machine/config-follower.json"];
        engine.run_as(&format!("follower-{name}"), ImageName::Redis, &options, &command)?;
    }
    platform.converged()?;
    let since = engine.moment()?;
    greet(&mut platform, "changed")?;
    assert_eq!(engine.starts_since(since)?, once(&readers.iter().collect::<Vec<_>>()), "{}", platform.logs());
    for reader in &readers {
        let booted = get(engine.standin(reader)?, "/files/srv/app/conf/app.json")?.text();
        assert_eq!(booted, "{\"greeting\":\"changed\"}\n");
    }
    Ok(())
}

#[test]
fn a_follower_that_dies_between_writing_and_restarting_still_restarts() -> Result<()> {
    let (engine, mut platform) = with_engine(&TemplateSet::little())?;
    platform.start()?;
    let folder = mount(&mut platform, "app/conf", "/app/conf")?;
    // Docker waits for a service that ignores the wish to end: time enough to die in between.
    let reader = engine.run(
        "slow",
        ImageName::StandIn,
        &["--stop-signal", "SIGTERM", "--stop-timeout", "3", "--volume", &folder],
    )?;
    let since = engine.moment()?;
    platform.publish(|platform| platform.set("/greeting", json!("changed")))?;
    let file = platform.machine("a")?.root().join("app/conf/app.json");
    promises::eventually("the file is written", || {
        Ok(std::fs::read_to_string(&file)?.contains("changed").then_some(()))
    })?;
    platform.machine("a")?.kill()?;
    platform.machine("a")?.start()?;
    platform.converged()?;
    let starts = engine.starts_since(since)?;
    ensure!(starts.contains_key(&reader), "nobody restarted it: {starts:?}{}", platform.logs());
    assert_eq!(get(engine.standin(&reader)?, "/files/app/conf/app.json")?.text(), "{\"greeting\":\"changed\"}\n");
    Ok(())
}
