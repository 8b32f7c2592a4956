//! From nothing to listening, and what a program weighs when nothing happens.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use promises::{Platform, TemplateSet};

use crate::statistics::{Samples, megabytes, milliseconds};
use crate::table::Table;

const TIMES: usize = 15;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let mut leader = Vec::new();
    let mut platform = Platform::shipped("pryv", None)?;
    let address = platform.address();
    for _ in 0..TIMES {
        let start = Instant::now();
        platform.spawn_leader()?;
        leader.push(until_listening(address, start)?);
        platform.stop_leader()?;
    }
    table.row("leader, start to listening (Pryv)", milliseconds(Samples::of(leader).median()), None, "<= 50 ms");

    let mut little = Platform::little(&TemplateSet::little(), &["a"])?;
    little.start_leader()?;
    let machine = little.machine("a")?;
    let mut follower = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        machine.start()?;
        follower.push(until_listening(machine.address(), start)?);
        machine.stop()?;
    }
    table.row("follower, start to listening", milliseconds(Samples::of(follower).median()), None, "<= 50 ms");

    platform.start()?;
    table.row("leader resident, idle (Pryv)", megabytes(platform.leader()?.resident()?), None, "<= 30 MB");
    let follower = platform.machine("co1")?.daemon()?.resident()?;
    table.row("follower resident, idle (core)", megabytes(follower), None, "<= 10 MB");
    Ok(())
}

pub(crate) fn until_listening(address: SocketAddr, start: Instant) -> Result<Duration> {
    while TcpStream::connect(address).is_err() {
        anyhow::ensure!(start.elapsed() < Duration::from_secs(10), "nobody listens on {address}");
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(start.elapsed())
}
