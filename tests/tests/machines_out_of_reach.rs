//! A machine that the leader cannot reach gets what is new as soon as one that it can, and finds back to a leader that was away.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use promises::{Platform, TemplateSet, get};
use serde_json::{Value, json};

#[test]
fn a_machine_without_a_port_waits_at_the_leader() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["near", "far"])?;
    platform.machine("far")?.configure("listen", Value::Null)?;
    platform.edit(|document| {
        document["machines"]["far"].as_object_mut().map(|machine| machine.remove("url"));
    })?;
    platform.start()?;
    let address = platform.machine("far")?.address();
    ensure!(get(address, "/__lbheartbeat__").is_err(), "somebody listens on {address}");
    for change in ["one", "two", "three"] {
        let saved = Instant::now();
        platform.roll_out(|platform| platform.set("/greeting", json!(change)))?;
        // It polls once in an hour.
        ensure!(saved.elapsed() < Duration::from_secs(5), "{:?}", saved.elapsed());
        ensure!(platform.machine("far")?.read("app/conf/app.json")?.contains(change));
    }
    platform.stop_leader()?;
    platform.start_leader()?;
    platform.roll_out(|platform| platform.set("/greeting", json!("after the leader was away")))?;
    ensure!(platform.machine("far")?.read("app/conf/app.json")?.contains("after the leader was away"));
    Ok(())
}
