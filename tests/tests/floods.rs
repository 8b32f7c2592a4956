//! Strangers who ask as fast as they can cost the leader neither memory nor the followers that it serves.

use std::sync::Arc;
use std::thread;

use anyhow::{Result, anyhow, ensure};
use promises::{Flood, Platform, TemplateSet, get};
use serde_json::json;

/// `bench/run trust` sends a hundred thousand to the leader as it is shipped, and looks at the clock, too.
const REQUESTS: usize = 30_000;
const FIVE_MEGABYTES: u64 = 5_000_000;

#[test]
fn a_flood_of_bad_requests_costs_no_memory_and_no_follower() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    platform.roll_out(|platform| platform.set("/greeting", json!("before")))?;
    let leader = platform.address();
    let before = platform.leader()?.resident()?;
    let flood = Arc::new(Flood::new(leader, REQUESTS));
    let flooding = thread::spawn({
        let flood = Arc::clone(&flood);
        move || flood.run()
    });
    let mut rounds = 0;
    while !flooding.is_finished() {
        rounds += 1;
        assert_eq!(get(leader, "/__lbheartbeat__")?.status, 200);
        platform.roll_out(|platform| platform.set("/greeting", json!(format!("during {rounds}"))))?;
        let during = platform.leader()?.resident()?;
        ensure!(during < before + FIVE_MEGABYTES, "{before} bytes before, {during} during the flood");
    }
    flooding.join().map_err(|_| anyhow!("the flood broke down"))??;
    assert_eq!(flood.sent(), REQUESTS);
    ensure!(rounds > 1, "the flood was over before anybody looked");
    let after = platform.leader()?.resident()?;
    ensure!(after < before + FIVE_MEGABYTES, "{before} bytes before, {after} after the flood");
    Ok(())
}
