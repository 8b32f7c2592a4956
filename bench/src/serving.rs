//! `GET /conf/core`, signed, against nginx that serves the same bytes as a file, and its 304 against nginx's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use promises::get;

use crate::fleet::{Fleet, requests};
use crate::load;
use crate::nginx::Nginx;
use crate::signed::Asker;
use crate::statistics::{Samples, megabytes, milliseconds};
use crate::table::Table;

const REQUESTS: usize = 12_000;
/// The leader remembers every request of the last minute, and no more than a quarter of a million.
const ROUNDS: usize = 5;

/// A server, who asks it, and the status of its answers.
type Side<'a> = (SocketAddr, &'a [Asker], u16);

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let mut fleet = Fleet::start()?;
    let leader = fleet.leader();
    let (answer, knowing) = fleet.fetch()?;
    let nginx = Nginx::serving(&answer.body, SocketAddr::new(fleet.platform.network().address(2).into(), 8080))?;
    let what = format!("GET /conf/core, {} KiB", answer.body.len() / 1024);
    for (connections, promised) in [(1, ["", ""]), (8, ["", ""]), (64, [">= 0.5", "<= 2"])] {
        let sides = [(leader, &*fleet.askers, 200), (nginx.address, &*fleet.askers, 200)];
        race(table, &what, connections, sides, promised)?;
    }
    let page = get(nginx.address, "/body")?;
    let tag: http::HeaderValue = page.header("etag").context("nginx names the version")?.parse()?;
    let known: Vec<Asker> = fleet.askers.iter().map(|asker| asker.clone().knowing(tag.clone())).collect();
    race(table, "304", 64, [(leader, &knowing, 304), (nginx.address, &known, 304)], [">= 0.6", ""])?;
    table.row("leader resident after load", megabytes(fleet.platform.leader()?.resident()?), None, "<= 30 MB");
    Ok(())
}

/// Asks both in turns, so many at once: how many answers the leader and nginx give in a second, and how long the slowest
/// hundredth takes.
fn race(table: &mut Table, what: &str, connections: usize, sides: [Side; 2], promised: [&str; 2]) -> Result<()> {
    let (mut rates, mut answers) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..ROUNDS {
        for (side, (server, askers, status)) in sides.into_iter().enumerate() {
            let run = load::run(server, requests(askers, REQUESTS)?, connections, status)?;
            rates[side].push(run.rate);
            answers[side].extend(run.answers);
        }
    }
    // Each round is compared with the one beside it: a machine that others use, too, is not as fast all the time.
    let ratio = median(rates[0].iter().zip(&rates[1]).map(|(ours, theirs)| ours / theirs).collect());
    let [ours, theirs] = rates.map(median);
    table.row(
        &format!("{what}, {connections} at once"),
        format!("{ours:.0}/s"),
        Some((format!("nginx {theirs:.0}/s"), ratio)),
        promised[0],
    );
    let [ours, theirs]: [Duration; 2] = answers.map(|answers| Samples::of(answers).percentile(99));
    table.row(
        &format!("{what}, {connections} at once, p99"),
        milliseconds(ours),
        Some((format!("nginx {}", milliseconds(theirs)), ours.as_secs_f64() / theirs.as_secs_f64())),
        promised[1],
    );
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
