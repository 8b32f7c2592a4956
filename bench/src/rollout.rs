//! From the moment in which platform.json is saved to the moment in which the bytes lie on every machine.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use anyhow::{Context as _, Result};
use promises::{Platform, TemplateSet, eventually};
use serde_json::json;

use crate::statistics::{Samples, megabytes, milliseconds};
use crate::table::Table;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let disk = env::temp_dir();
    // In a fleet every machine syncs to a disk of its own; here a hundred of them would queue for one.
    let memory = Path::new("/dev/shm");
    for (machines, changes, folder, place) in
        [(1, 40, &*disk, "on disk"), (100, 10, &*disk, "on one disk"), (100, 10, memory, "in memory, no shared disk")]
    {
        let names: Vec<String> = (0..machines).map(|number| format!("m{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut platform = Platform::little_below(folder, &TemplateSet::little(), &names)?;
        platform.start()?;
        let mut samples = Vec::new();
        for change in 0..changes {
            // Reports are still on their way when the files are written; the next change waits for the quiet after it.
            platform.converged()?;
            thread::sleep(Duration::from_millis(300));
            samples.extend(one_change(&mut platform, change)?);
        }
        let samples = Samples::of(samples);
        let promised = if machines == 100 { "p50 <= 150 ms" } else { "" };
        table.row(
            &format!("saved to written, {machines} followers, {place}"),
            format!("p50 {} p99 {}", milliseconds(samples.median()), milliseconds(samples.percentile(99))),
            None,
            promised,
        );
        if machines == 100 && folder == memory {
            let leader = platform.leader()?.resident()?;
            table.row("leader resident after rollouts to 100", megabytes(leader), None, "<= 30 MB");
            let follower = platform.machine("m0")?.daemon()?.resident()?;
            table.row("follower resident after rollouts", megabytes(follower), None, "<= 12 MB");
        }
    }
    Ok(())
}

/// Saves one change; how long after it each machine's file was replaced.
fn one_change(platform: &mut Platform, number: usize) -> Result<Vec<Duration>> {
    let text = format!("change {number}");
    let saved = SystemTime::now();
    platform.set("/greeting", json!(text))?;
    // Asking while they work would slow down what is measured.
    thread::sleep(Duration::from_secs(1));
    platform.converged()?;
    let mut waited = Vec::new();
    for (_, machine) in platform.machines() {
        let path = machine.root().join("app/conf/app.json");
        eventually("the file is there", || Ok(fs::read_to_string(&path)?.contains(&text).then_some(())))?;
        let metadata = fs::metadata(&path)?;
        let changed = UNIX_EPOCH + Duration::new(metadata.ctime().try_into()?, metadata.ctime_nsec().try_into()?);
        waited.push(changed.duration_since(saved).context("written before it was saved")?);
    }
    Ok(waited)
}
