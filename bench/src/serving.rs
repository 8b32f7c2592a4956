//! `GET /conf/core`, signed, against nginx that serves the same bytes as a file.

use std::net::SocketAddr;

use anyhow::Result;

use crate::fleet::{Fleet, requests};
use crate::load;
use crate::nginx::Nginx;
use crate::statistics::megabytes;
use crate::table::Table;

const REQUESTS: usize = 12_000;
const ROUNDS: usize = 3;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let mut fleet = Fleet::start()?;
    let leader = fleet.leader();
    let (answer, knowing) = fleet.fetch()?;
    let body = answer.body;
    let nginx = Nginx::serving(&body, SocketAddr::new(fleet.platform.network().address(2).into(), 8080))?;

    for connections in [1, 8, 64] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(load::run(leader, requests(&fleet.askers, REQUESTS)?, connections, 200)?.rate());
            theirs.push(load::run(nginx.address, requests(&fleet.askers, REQUESTS)?, connections, 200)?.rate());
        }
        let (ours, theirs) = (median(ours), median(theirs));
        table.row(
            &format!("GET /conf/core, {connections} at once, {} KiB", body.len() / 1024),
            format!("{ours:.0}/s"),
            Some((format!("nginx file {theirs:.0}/s"), ours / theirs)),
            if connections == 64 { ">= 0.4" } else { "" },
        );
    }

    let unchanged = load::run(leader, requests(&knowing, REQUESTS)?, 64, 304)?.rate();
    table.row("304, 64 at once", format!("{unchanged:.0}/s"), None, "");
    table.row("leader resident after load", megabytes(fleet.platform.leader()?.resident()?), None, "<= 30 MB");
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
