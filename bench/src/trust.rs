//! What trust costs: the processor time of a verified request and its sealed, signed answer beyond that of plain axum which
//! gives the same bytes to whoever asks; and what a flood of bad requests costs.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use pconf_bundle::{Bundle, EnrolmentKey, KeyId, Keys, seal_bundle};
use pconf_names::Digest;
use promises::{Daemon, Flood, get};

use crate::fleet::{Fleet, ask, requests};
use crate::load::{self, Request};
use crate::plain::Plain;
use crate::statistics::{Samples, megabytes, milliseconds};
use crate::table::Table;

const REQUESTS: usize = 12_000;
const CONNECTIONS: usize = 8;
const BAD_REQUESTS: usize = 100_000;
const SEALS: u32 = 500;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let mut fleet = Fleet::start()?;
    let (files, knowing) = fleet.fetch()?;
    let unchanged = ask(fleet.leader(), &knowing[0])?;
    let sealing = seal_time(files.body.len())?;
    let digesting = digest_time(&files.body);
    for (number, answer, askers) in [(2, &files, fleet.askers.clone()), (3, &unchanged, knowing)] {
        let plain = Plain::answering(answer, SocketAddr::new(fleet.platform.network().address(number).into(), 8080))?;
        let theirs = cost(&plain.daemon, plain.address, requests(&askers, REQUESTS)?, answer.status)?;
        let leader = fleet.leader();
        let ours = cost(fleet.platform.leader()?, leader, requests(&askers, REQUESTS)?, answer.status)?;
        table.row(
            &format!("verify, answer {} with {} sealed KiB, sign", answer.status, answer.body.len() / 1024),
            format!("{} of CPU, {} beyond", microseconds(ours), microseconds(ours.saturating_sub(theirs))),
            Some((format!("plain axum {}", microseconds(theirs)), ours.as_secs_f64() / theirs.as_secs_f64())),
            "<= 60 µs beyond",
        );
    }
    // What is paid once per machine and revision; each later answer carries the same seal.
    table.row(
        &format!("seal {} KiB, once per machine and revision", files.body.len() / 1024),
        microseconds(sealing),
        Some((format!("SHA-256 of it {}", microseconds(digesting)), sealing.as_secs_f64() / digesting.as_secs_f64())),
        "",
    );
    flood(table, &mut fleet)
}

fn flood(table: &mut Table, fleet: &mut Fleet) -> Result<()> {
    let leader = fleet.leader();
    let before = fleet.platform.leader()?.resident()?;
    let mut answers = Vec::new();
    let mut largest = before;
    thread::scope(|scope| -> Result<()> {
        let flooding = scope.spawn(|| Flood::new(leader, BAD_REQUESTS).run());
        while !flooding.is_finished() {
            let start = Instant::now();
            ensure!(get(leader, "/__lbheartbeat__")?.status == 200);
            answers.push(start.elapsed());
            largest = largest.max(fleet.platform.leader()?.resident()?);
            thread::sleep(Duration::from_millis(5));
        }
        flooding.join().map_err(|_| anyhow!("the flood broke down"))?
    })?;
    let answers = Samples::of(answers);
    table.row("100 000 bad requests, leader grows by", megabytes(largest - before), None, "<= 5 MB");
    table.row(
        "health answer meanwhile",
        format!("p50 {} p99 {}", milliseconds(answers.median()), milliseconds(answers.percentile(99))),
        None,
        "<= 50 ms",
    );
    Ok(())
}

/// The processor time of one answer.
fn cost(server: &Daemon, address: SocketAddr, requests: Vec<Request>, status: u16) -> Result<Duration> {
    let count = u32::try_from(requests.len())?;
    let before = server.processor_time()?;
    load::run(address, requests, CONNECTIONS, status)?;
    Ok(server.processor_time()?.saturating_sub(before) / count)
}

/// How long it takes to seal a bundle of that many bytes.
fn seal_time(bytes: usize) -> Result<Duration> {
    let key = KeyId { machine: "co1".parse()?, version: 1 };
    let keys = Keys::derive(key, &EnrolmentKey::from([7; 32]));
    let mut bundle = Bundle::empty("1.1".parse()?, "co1".parse()?, "core".parse()?);
    bundle.files = vec![serde_json::from_value(serde_json::json!({
        "path": "core/conf/core.json", "class": "config", "owner": "0:0", "mode": "0640", "text": "x".repeat(bytes)
    }))?];
    let start = Instant::now();
    for number in 0..SEALS {
        let mut nonce = [0; 24];
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        std::hint::black_box(seal_bundle(&keys, &bundle, nonce));
    }
    Ok(start.elapsed() / SEALS)
}

/// How long it takes to digest these bytes.
fn digest_time(bytes: &[u8]) -> Duration {
    let start = Instant::now();
    for _ in 0..SEALS {
        std::hint::black_box(Digest::of(std::hint::black_box(bytes)));
    }
    start.elapsed() / SEALS
}

fn microseconds(duration: Duration) -> String {
    format!("{:.1} µs", duration.as_secs_f64() * 1e6)
}
