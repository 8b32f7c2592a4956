//! From saving a change to the restarted container, one of eight, against Docker's own restart of the same container.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use promises::{Engine, ImageName, Platform, Program, TemplateSet, get};
use serde_json::json;

use crate::statistics::{Samples, milliseconds};
use crate::table::Table;

const TIMES: usize = 12;

/// Containers beside the one that is restarted.
const OTHERS: usize = 7;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let engine = Engine::here()?;
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    let machine = platform.machine("a")?;
    machine.configure("docker", json!("/var/run/docker.sock"))?;
    let mount = format!("{}:/app/conf:ro", machine.root().join("app/conf").display());
    platform.start()?;
    let container = engine.run("service", ImageName::StandIn, &["--volume", &mount])?;
    let data = format!("{}:/app/conf:ro", platform.machine("a")?.root().join("app/data").display());
    for number in 0..OTHERS {
        engine.run(&format!("other{number}"), ImageName::StandIn, &["--volume", &data])?;
    }

    let (mut ours, mut docker) = (Vec::new(), Vec::new());
    for number in 0..TIMES {
        docker.push(until_booted(&engine, &container, || {
            Program::named("docker").args(["restart", &container]).succeed().map(drop)
        })?);
        ours.push(until_booted(&engine, &container, || {
            platform.roll_out(|platform| platform.set("/greeting", json!(format!("change {number}")))).map(drop)
        })?);
    }
    let (ours, docker) = (Samples::of(ours).median(), Samples::of(docker).median());
    table.row(
        "changed to restarted (1 of 8)",
        milliseconds(ours),
        Some((format!("docker restart {}", milliseconds(docker)), ours.as_secs_f64() / docker.as_secs_f64())),
        "<= 1.15",
    );
    Ok(())
}

/// How long after the beginning of `act` the service in the container booted, by its own word.
fn until_booted(engine: &Engine, container: &str, act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = SystemTime::now();
    act()?;
    let booted: u64 = promises::eventually("the service answers", || {
        Ok(Some(get(engine.standin(container)?, "/started")?.text().parse()?))
    })?;
    (UNIX_EPOCH + Duration::from_nanos(booted)).duration_since(begun).context("it was not started again")
}
