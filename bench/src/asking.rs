//! One connection to a leader, as a follower holds it.

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::load::Request;

/// Longer than any answer to these machines.
const LONGEST: usize = 1 << 20;

/// What was answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Result<&str> {
        Ok(self.headers.get(name).with_context(|| format!("no `{name}`"))?.to_str()?)
    }
}

/// One question and its answer, however long that takes.
pub(crate) async fn ask(connection: &mut TcpStream, request: &Request) -> Result<Answered> {
    connection.write_all(request).await?;
    let mut bytes = Vec::with_capacity(2048);
    let end = loop {
        ensure!(connection.read_buf(&mut bytes).await? > 0, "the leader closed the connection");
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = std::str::from_utf8(&bytes[..end])?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("a status")?.parse()?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    let length = match headers.get("content-length") {
        // It is the length that a 200 would have.
        _ if status == StatusCode::NOT_MODIFIED => 0,
        Some(length) => length.to_str()?.parse()?,
        None => 0,
    };
    ensure!(length <= LONGEST, "{length} bytes");
    while bytes.len() < end + length {
        ensure!(connection.read_buf(&mut bytes).await? > 0, "the leader closed the connection");
    }
    Ok(Answered { status, headers, body: bytes.split_off(end) })
}
