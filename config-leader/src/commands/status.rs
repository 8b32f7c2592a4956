//! `status`: what the running leader of this folder heard of every machine.

mod table;

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
    terminal.show(&table::table(&status), || status.clone());
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
