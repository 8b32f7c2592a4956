//! `GET /conf/core`, signed, against nginx that serves the same bytes as a file.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use promises::Platform;
use serde_json::json;

use crate::load::{self, Request};
use crate::nginx::Nginx;
use crate::signed::Asker;
use crate::start::resident;
use crate::table::Table;

/// Enough machines that none asks more often than the leader allows one key to.
const CORES: u8 = 40;
const REQUESTS: usize = 12_000;
const ROUNDS: usize = 3;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let mut platform = Platform::shipped("pryv", None)?;
    for number in 0..CORES {
        let name = format!("extra{number}");
        platform.add_machine(&name, "core")?;
        let ip = platform.network().address(100 + number);
        platform.edit(|document| {
            document["machines"][&name]["ip"] = json!(ip);
            document["machines"][&name]["hosting"] = json!("hosting1");
        })?;
    }
    platform.start_leader()?;
    // Requests of the second in which the leader started count as older than it.
    thread::sleep(Duration::from_secs(2));
    let leader = platform.address();
    let askers = (0..CORES)
        .map(|number| {
            let name = format!("extra{number}");
            let key = platform.machine(&name)?.key().context("the machine has a key")?;
            Asker::new(leader, &name, "core", &key)
        })
        .collect::<Result<Vec<_>>>()?;
    let (body, knowing) = fetch(leader, &askers)?;
    let nginx = Nginx::serving(&body, SocketAddr::new(platform.network().address(2).into(), 8080))?;

    for connections in [1, 8, 64] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(load::run(leader, requests(&askers)?, connections, 200)?.rate());
            theirs.push(load::run(nginx.address, requests(&askers)?, connections, 200)?.rate());
        }
        let (ours, theirs) = (median(ours), median(theirs));
        table.row(
            &format!("GET /conf/core, {connections} at once, {} KiB", body.len() / 1024),
            format!("{ours:.0}/s"),
            Some((format!("nginx file {theirs:.0}/s"), ours / theirs)),
            if connections == 64 { ">= 0.4" } else { "" },
        );
    }

    let unchanged = load::run(leader, requests(&knowing)?, 64, 304)?.rate();
    table.row("304, 64 at once", format!("{unchanged:.0}/s"), None, "");
    table.row("leader resident after load", resident(platform.leader()?.id())?, None, "<= 30 MB");
    Ok(())
}

/// One answer per machine: the body of the last, and the machines as they are when they know their version.
fn fetch(leader: SocketAddr, askers: &[Asker]) -> Result<(Vec<u8>, Vec<Asker>)> {
    let (mut body, mut knowing) = (Vec::new(), Vec::new());
    for asker in askers {
        let request = String::from_utf8(asker.request()?)?;
        let answer = promises::repeat(leader, request.trim_end(), "")?;
        ensure!(answer.status == 200, "{}", answer.text());
        let tag = answer.header("etag").context("an answer has a version")?.parse()?;
        knowing.push(asker.clone().knowing(tag));
        body = answer.body;
    }
    Ok((body, knowing))
}

fn requests(askers: &[Asker]) -> Result<Vec<Request>> {
    askers.iter().cycle().take(REQUESTS).map(Asker::request).collect()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
