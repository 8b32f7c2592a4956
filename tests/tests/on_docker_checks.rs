//! Files that must not change under a running reader, and files that their application judges before any of them is in
//! place: an observer looks on all the while.

#![allow(clippy::print_stderr, reason = "how much was seen is worth telling")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use promises::{Engine, ImageName, Platform, TemplateSet, get};
use serde_json::{Value, json};

const SOCKET: &str = "/var/run/docker.sock";

fn with_engine(set: &TemplateSet) -> Result<Platform> {
    let mut platform = Platform::little(set, &["a"])?;
    platform.machine("a")?.configure("docker", json!(SOCKET))?;
    Ok(platform)
}

fn mount(platform: &mut Platform, path: &str, to: &str) -> Result<String> {
    Ok(format!("{}:{to}", platform.machine("a")?.root().join(path).display()))
}

fn greet(platform: &mut Platform, greeting: &str) -> Result<()> {
    platform.roll_out(|platform| platform.set("/greeting", json!(greeting))).map(drop)
}

fn greeting(text: &str) -> String {
    format!("{{\"greeting\":\"{text}\"}}\n")
}

/// Whether the container runs, and its last start. Asked without a program in between: an observer has to be fast.
fn look(container: &str) -> Result<(bool, String)> {
    let mut engine = UnixStream::connect(SOCKET)?;
    write!(engine, "GET /containers/{container}/json HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    engine.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let state: Value = serde_json::from_str::<Value>(body)?["State"].clone();
    let started = state["StartedAt"].as_str().context("a start")?.to_owned();
    Ok((state["Running"] == true, started))
}

/// What was on disk while the container ran without a pause, by its start; and how many looks there were.
type Seen = (BTreeMap<String, Vec<String>>, usize);

/// Looks at a container and at a file that it reads, until told to end.
fn observe(container: &str, file: &Path, is_over: &AtomicBool) -> Result<Seen> {
    let (mut seen, mut looks) = (BTreeMap::<String, Vec<String>>::new(), 0);
    let mut before = look(container)?;
    while !is_over.load(Ordering::Relaxed) {
        let content = std::fs::read_to_string(file)?;
        let after = look(container)?;
        looks += 1;
        if before == after && after.0 {
            let contents = seen.entry(after.1.clone()).or_default();
            if contents.last() != Some(&content) {
                contents.push(content);
            }
        }
        before = after;
    }
    Ok((seen, looks))
}

#[test]
fn stop_first_an_observer_never_sees_a_reader_run_while_its_file_differs_from_what_it_started_with() -> Result<()> {
    let engine = Engine::here()?;
    let set = TemplateSet::little().on_change("app", "app/conf/app.json", &json!("stop-first"))?;
    let mut platform = with_engine(&set)?;
    platform.start()?;
    let folder = mount(&mut platform, "app/conf", "/app/conf")?;
    let single = mount(&mut platform, "app/conf/app.json", "/app/conf/app.json")?;
    let root = mount(&mut platform, "", "/app/conf")?;
    // One of them takes its time to stop: the other must wait for it, too.
    let polite = ["--stop-signal", "SIGTERM", "--stop-timeout", "1", "--volume", single.as_str()];
    let readers = [
        engine.run("folder", ImageName::StandIn, &["--volume", &folder])?,
        engine.run("single", ImageName::StandIn, &polite)?,
        engine.run("root", ImageName::StandIn, &["--volume", &root])?,
    ];
    let file: PathBuf = platform.machine("a")?.root().join("app/conf/app.json");
    let rounds = ["one", "two", "three"];
    let is_over = AtomicBool::new(false);
    let since = engine.moment()?;
    let observed: Vec<Seen> = thread::scope(|scope| -> Result<_> {
        let watches: Vec<_> = readers.iter().map(|reader| scope.spawn(|| observe(reader, &file, &is_over))).collect();
        let rolled_out = rounds.iter().try_for_each(|text| greet(&mut platform, text));
        is_over.store(true, Ordering::Relaxed);
        let observed = watches.into_iter().map(|watch| watch.join().map_err(|_| anyhow!("an observer fell over"))?);
        let observed = observed.collect();
        rolled_out?;
        observed
    })?;
    for (reader, (seen, looks)) in readers.iter().zip(&observed) {
        eprintln!("{reader}: {looks} looks");
        let contents: Vec<&Vec<String>> = seen.values().collect();
        // For each of its starts one content, all the time: the RFC 3339 starts sort by time.
        let expected: Vec<Vec<String>> = ["hello"].iter().chain(&rounds).map(|text| vec![greeting(text)]).collect();
        assert_eq!(contents, expected.iter().collect::<Vec<_>>(), "{reader} {seen:#?}{}", platform.logs());
    }
    let each = readers.iter().map(|reader| (reader.clone(), rounds.len())).collect();
    assert_eq!(engine.starts_since(since)?, each, "{}", platform.logs());
    for (reader, path) in readers.iter().zip(["app.json", "app.json", "app/conf/app.json"]) {
        assert_eq!(engine.taken(reader, &format!("/app/conf/{path}"))?, greeting("three"));
    }
    Ok(())
}

/// A machine as it is: its tree with inodes, its files with their times of change, and each container's start and readings.
fn picture(engine: &Engine, platform: &mut Platform, containers: &[&str]) -> Result<(promises::Tree, Vec<String>)> {
    let mut tree = platform.machine("a")?.tree()?;
    // A trial may have been in a folder for a moment.
    tree.values_mut().filter(|entry| entry.content.is_none()).for_each(|folder| folder.changed = 0);
    let lives = containers.iter().map(|name| {
        let life = engine.inspect(name, "{{ .Id }} {{ .State.StartedAt }} {{ .State.Running }}")?;
        Ok(life + &get(engine.standin(name)?, "/reads")?.text())
    });
    Ok((tree, lives.collect::<Result<_>>()?))
}

#[test]
fn what_the_checker_does_not_like_is_refused_with_its_words_and_nothing_is_touched() -> Result<()> {
    let engine = Engine::here()?;
    let prefix = engine.prefix().to_owned();
    let secret = "s3cr3t-t0ken-0f-the-machine";
    let set = TemplateSet::little()
        .json("secrets.json", &json!({ "token": { "description": "A token.", "kind": "external", "roles": ["app"] } }))
        .text(
            "app/app/conf/a-token.tera",
            "{{ secrets.token | json }}\n{{ settings.mood | default(value=\"\") | json }}\n",
        )
        .service(
            "app",
            &json!({
                "match": format!("{prefix}apart"),
                "onChange": { "reload": "SIGHUP" },
                "check": { "run": ["/standin", "check"] }
            }),
        )?
        .service(
            "app",
            &json!({
                "match": format!("{prefix}inside"),
                "onChange": { "exec": ["/standin", "reload"] },
                "check": { "exec": ["/standin", "check", "{staged}"] }
            }),
        )?;
    let mut platform = with_engine(&set)?;
    platform.write_secret("token", secret)?;
    platform.start()?;
    let conf = mount(&mut platform, "app/conf", "/app/conf")?;
    let run = |name: &str| engine.run(name, ImageName::StandIn, &["--volume", &conf]);
    for name in ["apart", "inside"] {
        let checked = run(name)?;
        let bystander = run(&format!("beside-{name}"))?;
        let both = [checked.as_str(), bystander.as_str()];
        greet(&mut platform, name)?;
        platform.machine("a")?.stop()?;
        let before = picture(&engine, &mut platform, &both)?;
        let good = platform.revision()?;
        let bad = platform.publish(|platform| platform.set("/mood", json!("standin:crash")))?;
        let once = platform.machine("a")?.command("once")?.end()?;
        assert_eq!(once.code, Some(3), "{once:?}");
        assert_eq!(once.output, "", "what an earlier cycle did is not told again");
        assert_eq!(picture(&engine, &mut platform, &both)?, before, "{once:?}");
        let reported = platform.status()?["machines"]["a"]["report"]["verdict"].clone();
        let verdict = (&reported["state"], &reported["revision"], &reported["running"]);
        assert_eq!(verdict, (&json!("refused"), &json!(bad), &json!(good)), "{reported:#}");
        let reason = reported["reason"].as_str().unwrap_or_default();
        let begin = format!("`{checked}` does not take its new files: it ended with code 1: ");
        ensure!(reason.starts_with(&begin), "{reason}");
        // The checker's own words, but for what is secret in them.
        ensure!(reason.contains("token` asks for a crash: ") && reason.contains("standin:crash"), "{reason}");
        let everything = format!("{reported}{once:?}{}", platform.command()?.arg("status").end()?.output);
        ensure!(!everything.contains(secret), "{everything}");
        // Neither the next cycle nor the next process tries it again, and no trial is left.
        for _ in 0..2 {
            assert_eq!(platform.machine("a")?.command("once")?.end()?.code, Some(3));
        }
        assert_eq!(picture(&engine, &mut platform, &both)?, before);
        assert_eq!(engine.running()?.len(), 2, "{:?}", engine.running()?);
        // What it likes is taken.
        platform.machine("a")?.start()?;
        platform.roll_out(|platform| platform.set("/mood", json!("good")))?;
        let path = "/app/conf/a-token";
        ensure!(engine.taken(&checked, path)?.contains("good"), "{}", platform.logs());
        for name in both {
            promises::Program::named("docker").args(["rm", "--force", name]).succeed()?;
        }
    }
    Ok(())
}

#[test]
fn a_real_nginx_judges_its_new_files_and_takes_good_ones_while_it_runs_on() -> Result<()> {
    let engine = Engine::here()?;
    let prefix = engine.prefix().to_owned();
    let server = "pid /tmp/nginx.pid;\nevents {}\nhttp {\n  server {\n    listen 8080;\n    location / { return 200 {{ settings.greeting | nginx }}; }\n    {{ settings.more | default(value=\"\") | verbatim }}\n  }\n}\n";
    let set = TemplateSet::little().text("app/nginx/nginx.conf.tera", server).service(
        "app",
        &json!({
            "match": format!("{prefix}nginx"),
            "onChange": { "exec": ["/usr/sbin/nginx", "-c", "/app/conf/nginx.conf", "-s", "reload"] },
            "check": { "run": ["/usr/sbin/nginx", "-t", "-c", "/app/conf/nginx.conf"] },
            "health": { "http": { "port": 8080, "path": "/" } }
        }),
    )?;
    let mut platform = with_engine(&set)?;
    platform.start()?;
    let conf = mount(&mut platform, "nginx", "/app/conf")?;
    let nginx = engine.run("nginx", ImageName::Nginx, &["--volume", &conf])?;
    let life = || engine.inspect(&nginx, "{{ .Id }} {{ .State.StartedAt }}");
    let at = std::net::SocketAddr::new(engine.standin(&nginx)?.ip(), 8080);
    let says = |text: &str| {
        promises::eventually(&format!("nginx says {text}"), || Ok((get(at, "/")?.text() == text).then_some(())))
    };
    says("hello")?;
    let first = life()?;
    greet(&mut platform, "taken")?;
    says("taken")?;
    platform.machine("a")?.stop()?;
    let before = platform.machine("a")?.tree()?;
    platform.publish(|platform| platform.set("/more", json!("listen 8081 wrong;")))?;
    let once = platform.machine("a")?.command("once")?.end()?;
    assert_eq!(once.code, Some(3), "{once:?}");
    ensure!(once.errors.contains("invalid parameter \"wrong\" in /app/conf/nginx.conf:7"), "{once:?}");
    assert_eq!(platform.machine("a")?.tree()?, before);
    says("taken")?;
    platform.machine("a")?.start()?;
    platform.roll_out(|platform| {
        platform.edit(|document| document["settings"] = json!({ "greeting": "again", "more": "listen 8081;" }))
    })?;
    says("again")?;
    assert_eq!(life()?, first, "{}", platform.logs());
    Ok(())
}
