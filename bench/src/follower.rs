//! What a follower costs while nothing changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use promises::{Engine, ImageName, Platform};
use serde_json::json;

use crate::statistics::{megabytes, milliseconds};
use crate::table::Table;

/// Cycles whose mean is taken.
const CYCLES: u32 = 30;

/// How long nothing is asked of it.
const QUIET: Duration = Duration::from_secs(20);

/// Containers that read files of ours.
const CONTAINERS: usize = 8;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let engine = Engine::here()?;
    let mut platform = Platform::shipped("pryv", None)?;
    let machine = platform.machine("co1")?;
    machine.configure("docker", json!("/var/run/docker.sock"))?;
    let mount = format!("{}:/app/conf:ro", machine.root().join("core/conf").display());
    platform.start()?;
    for number in 0..CONTAINERS {
        engine.run(&format!("reader{number}"), ImageName::StandIn, &["--volume", &mount])?;
    }
    let machine = platform.machine("co1")?;
    let folder = machine.folder().to_owned();
    // The first one meets the containers.
    machine.command("once")?.succeed()?;
    let (before, spent) = (written(&folder)?, machine.daemon()?.processor_time()?);
    for _ in 0..CYCLES {
        machine.command("once")?.succeed()?;
    }
    let cycle = machine.daemon()?.processor_time()?.saturating_sub(spent) / CYCLES;
    table.row("follower, cycle without a change (core)", milliseconds(cycle), None, "<= 5 ms of CPU");
    let changes = written(&folder)?.iter().filter(|(path, seen)| before.get(*path) != Some(*seen)).count();
    table.row("files written by these cycles", changes.to_string(), None, "0");
    let spent = machine.daemon()?.processor_time()?;
    thread::sleep(QUIET);
    let idle = machine.daemon()?.processor_time()?.saturating_sub(spent);
    table.row("follower, idle for 20 s", milliseconds(idle), None, "<= 1 ms of CPU");
    table.row("follower resident, with 8 containers", megabytes(machine.daemon()?.resident()?), None, "<= 10 MB");
    Ok(())
}

/// Every file below a folder, with its inode and when it was last changed.
fn written(folder: &Path) -> Result<BTreeMap<PathBuf, (u64, i64, i64)>> {
    let mut seen = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let stat = entry.metadata()?;
            if stat.is_dir() {
                folders.push(entry.path());
            }
            // The log of the follower itself lies there too.
            if entry.file_name() != "log" {
                seen.insert(entry.path(), (stat.ino(), stat.mtime(), stat.mtime_nsec()));
            }
        }
    }
    Ok(seen)
}
