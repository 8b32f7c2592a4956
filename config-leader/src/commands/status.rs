//! `status`: what the running leader of this folder heard of every machine.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::folder::Folder;
use crate::terminal::{Failure, Terminal};

const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn run(folder: &Folder, terminal: &Terminal) -> Result<(), Failure> {
    let status = ask(local(folder.config().listen))?;
    terminal.show(&table(&status), || status.clone());
    Ok(())
}

/// The leader tells its status to this machine only.
fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// One unsigned question to a neighbour: an HTTP client would be a second way out beside the signed one.
fn ask(address: SocketAddr) -> anyhow::Result<Value> {
    let unreachable = || format!("no leader answers on {address}: is `config-leader serve` running?");
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(unreachable)?;
    stream.set_read_timeout(Some(TIMEOUT)).with_context(unreachable)?;
    write!(stream, "GET /status HTTP/1.0\r\nHost: {address}\r\n\r\n").with_context(unreachable)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(unreachable)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(unreachable)?;
    let first = head.lines().next().unwrap_or_default();
    ensure!(first.contains(" 200 "), "{address} answered `{first}`: the status is told on the leader's machine only");
    serde_json::from_str(body).with_context(|| format!("{address} answered something else than a status"))
}

fn table(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut rows = vec![["MACHINE", "ROLE", "DESIRED", "LAST CONTACT", "STATE"].map(str::to_owned)];
    for (name, machine) in status["machines"].as_object().into_iter().flatten() {
        rows.push([
            name.clone(),
            text(&machine["role"]),
            text(&machine["desired"]),
            // Seconds are enough for a person.
            text(&machine["lastContact"]).split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned(),
            state(&machine["report"]["verdict"]),
        ]);
    }
    let widths: Vec<usize> =
        (0..4).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default()).collect();
    let mut shown = format!("revision {}\n\n", text(&status["revision"]));
    for row in rows {
        let cells = row.iter().zip(widths.iter().chain([&0])).map(|(cell, width)| format!("{cell:width$}"));
        shown += cells.collect::<Vec<_>>().join("  ").trim_end();
        shown.push('\n');
    }
    match status["problems"].as_array().map_or(0, Vec::len) {
        0 => {}
        count => shown += &format!("\nthe inputs are broken ({count}): `config-leader check` tells where\n"),
    }
    shown
}

fn state(verdict: &Value) -> String {
    let text = |field: &str| verdict[field].as_str().unwrap_or("-");
    match verdict["state"].as_str() {
        Some("running") => format!("running {}", text("revision")),
        Some("refused") => format!("refused {}, running {}: {}", text("revision"), text("running"), text("reason")),
        _ => "has not reported yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_tells_desired_and_running_apart() {
        let refused = json!({ "state": "refused", "revision": "1.8", "running": "1.7", "reason": "the disk is full" });
        let status = json!({
            "revision": "1.8",
            "problems": [{}],
            "machines": {
                "co1": { "role": "core", "desired": "1.8", "lastContact": "2026-01-02T03:04:05.678Z",
                         "report": { "verdict": { "state": "running", "revision": "1.8" } } },
                "reg-slave": { "role": "reg-slave", "desired": "1.8", "lastContact": "2026-01-02T03:04:05Z",
                               "report": { "verdict": refused } },
                "web": { "role": "static", "desired": "1.8", "lastContact": null, "report": null },
            },
        });
        assert_eq!(
            table(&status),
            "revision 1.8\n\n\
             MACHINE    ROLE       DESIRED  LAST CONTACT         STATE\n\
             co1        core       1.8      2026-01-02T03:04:05  running 1.8\n\
             reg-slave  reg-slave  1.8      2026-01-02T03:04:05  refused 1.8, running 1.7: the disk is full\n\
             web        static     1.8      -                    has not reported yet\n\n\
             the inputs are broken (1): `config-leader check` tells where\n"
        );
    }
}
