//! The main job, to watch: five machines of a Pryv platform on this host, one change, and where it arrived.
//!
//! `deploy/demo` sets up what it needs, starts it, and cleans up behind it.

#![allow(clippy::print_stdout, reason = "a demonstration is what it prints")]

use std::collections::BTreeMap;
use std::env;
use std::io::BufRead as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use promises::pryv::{CONTAINERS, on_this_host, start_services};
use promises::{Engine, Moment};
use serde_json::{Value, json};

const SETTING: &str = "/uploads/maxSizeMb";
const MEGABYTES: u32 = 50;

fn main() -> Result<()> {
    let keep = env::args().any(|argument| argument == "--keep");
    let engine = match env::var_os("PCONF_FILES_ONLY") {
        Some(_) => None,
        None => Some(Engine::here()?),
    };
    let mut platform = on_this_host(engine.as_ref())?;
    println!("platform   {}", platform.file().display());
    println!("           from `config-leader init pryv`: its secrets come with the first revision");

    let started = Instant::now();
    platform.start_leader()?;
    println!("leader     http://{}", platform.address());
    let machines: Vec<String> = platform.machines().map(|(name, _)| name.to_owned()).collect();
    for name in &machines {
        platform.join(name)?;
    }
    println!("joined     {}, each with the one line that `config-leader machine add` prints", machines.join(", "));
    platform.start_followers()?;
    let (revision, took) = (platform.revision()?, started.elapsed().as_millis());
    println!("followers  {}, all at revision {revision} after {took} ms", machines.len());
    match &engine {
        Some(engine) => {
            start_services(engine, &mut platform)?;
            let containers: usize = CONTAINERS.iter().map(|(_, count)| count).sum();
            println!("containers {containers}, from the pryv.yml that each follower wrote");
        }
        None => println!("containers none: no Docker engine here, so files only"),
    }

    let since = engine.as_ref().map(Engine::moment).transpose()?;
    let before = platform.document()["settings"].pointer(SETTING).cloned().unwrap_or_else(|| json!("its default"));
    println!("\nchange     settings{}: {before} -> {MEGABYTES}", SETTING.replace('/', "."));
    let saved = Instant::now();
    let revision = platform.roll_out(|platform| platform.set(SETTING, json!(MEGABYTES)))?;
    println!(
        "           revision {revision} runs everywhere, {} ms after platform.json was saved\n",
        saved.elapsed().as_millis()
    );
    show(&platform.status()?, engine.as_ref().zip(since))?;

    if keep {
        println!("\nIt keeps running: edit {} and look at", platform.file().display());
        println!("  config-leader --dir {} status", platform.path("leader").display());
        println!("Press Enter (or Ctrl-C) to end it.");
        if std::io::stdin().lock().read_line(&mut String::new())? == 0 {
            // Nobody can press anything: a signal has to end it.
            loop {
                std::thread::park();
            }
        }
    }
    Ok(())
}

/// What each machine wrote, what restarted there and how often Docker saw that, and what it reloaded by its report.
fn show(status: &Value, engine: Option<(&Engine, Moment)>) -> Result<()> {
    let starts = match engine {
        Some((engine, since)) => engine.starts_since(since)?,
        None => BTreeMap::new(),
    };
    let prefix = engine.map_or("", |(engine, _)| engine.prefix());
    let mut rows = vec![["machine".to_owned(), "written".to_owned(), "restarted or reloaded".to_owned()]];
    for (name, machine) in status["machines"].as_object().context("the status lists the machines")? {
        let report = &machine["report"];
        let written = report["written"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let service_of = |container: &str| {
            Some(container.strip_prefix(prefix)?.strip_prefix(name.as_str())?.strip_prefix('_')?.to_owned())
        };
        let restarted = starts.iter().filter_map(|(container, times)| {
            let service = service_of(container)?;
            Some(if *times == 1 { service } else { format!("{service} ({times} times)") })
        });
        let reports = report["services"].as_array().into_iter().flatten();
        let reloaded = reports.filter(|service| service["outcome"] == "reloaded").filter_map(|service| {
            service_of(service["name"].as_str()?).map(|service| format!("{service} (reloaded, it ran on)"))
        });
        let restarted = restarted.chain(reloaded);
        let mut written = written.map(str::to_owned);
        let mut restarted = restarted.into_iter();
        let mut first = name.as_str();
        loop {
            let (file, service) = (written.next(), restarted.next());
            if file.is_none() && service.is_none() && first.is_empty() {
                break;
            }
            rows.push([first.to_owned(), file.unwrap_or_default(), service.unwrap_or_default()]);
            first = "";
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let (one, two) = (width(0), width(1));
    for [machine, file, service] in &rows {
        println!("{}", format!("{machine:one$}  {file:two$}  {service}").trim_end());
    }
    Ok(())
}
