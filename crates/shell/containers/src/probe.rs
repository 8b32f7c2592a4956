//! Asking a service whether it is there: one question, one answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pconf_bundle::Health;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::container::Container;
use crate::engine::{Containers, EngineError};

/// How long one question may wait for its answer, within the limit of the gate.
const ANSWER: Duration = Duration::from_secs(5);

/// What the last question is granted at least.
const LAST: Duration = Duration::from_secs(1);

/// As much of an HTTP answer as holds its status.
const STATUS_LINE: usize = 64;

/// What a question came to.
pub(crate) enum Answer {
    /// It is there.
    Yes,
    /// Not yet, for this reason.
    No(String),
    /// Nobody could ask.
    Unknown(EngineError),
}

/// Asks once, and waits for the answer no longer than what is `left` of the gate's limit. `Running` is no question: it is
/// seen, not asked.
pub(crate) async fn ask(engine: &impl Containers, container: &Container, health: &Health, left: Duration) -> Answer {
    let limit = left.clamp(LAST, ANSWER);
    match health {
        Health::Http { port, path } => {
            said(&format!("`GET {path}` on port {port}"), any(container, *port, limit, |at| get(at, path)).await)
        }
        Health::Tcp(port) => said(&format!("port {port}"), any(container, *port, limit, connect).await),
        Health::Exec(command) => match engine.execute(container, command, limit).await {
            Ok(ended) if ended.code == 0 => Answer::Yes,
            Ok(ended) => Answer::No(format!("`{}` ended with code {}", command.join(" "), ended.code)),
            Err(error @ EngineError::NotEnded { .. }) => Answer::No(error.to_string()),
            Err(error) => Answer::Unknown(error),
        },
        Health::Running(_) => Answer::Yes,
    }
}

fn said(what: &str, outcome: Result<(), String>) -> Answer {
    outcome.map_or_else(|reason| Answer::No(format!("{what}: {reason}")), |()| Answer::Yes)
}

/// One of its addresses is enough: not every network of a container can be reached from here, so they are asked side by
/// side.
async fn any<W: Future<Output = Result<(), String>>>(
    container: &Container,
    port: u16,
    limit: Duration,
    question: impl Fn(SocketAddr) -> W,
) -> Result<(), String> {
    let mut reason = "the container has no address".to_owned();
    let mut questions: FuturesUnordered<_> =
        container.addresses.iter().map(|address| question(SocketAddr::new(*address, port))).collect();
    let answered = timeout(limit, async {
        while let Some(answer) = questions.next().await {
            match answer {
                Ok(()) => return Ok(()),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    });
    answered.await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

async fn connect(at: SocketAddr) -> Result<(), String> {
    TcpStream::connect(at).await.map(drop).map_err(|error| error.to_string())
}

/// A `GET` whose answer has a status below 400. Less than an HTTP client is enough to see that, and costs no memory.
async fn get(at: SocketAddr, path: &str) -> Result<(), String> {
    if !path.starts_with('/') || path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("that is no path".to_owned());
    }
    let host = match at.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n", at.port());
    let exchange = async {
        let mut stream = TcpStream::connect(at).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(STATUS_LINE);
        while head.len() < STATUS_LINE && !head.contains(&b'\n') && stream.read_buf(&mut head).await? > 0 {}
        Ok(head)
    };
    let head: Vec<u8> = exchange.await.map_err(|error: std::io::Error| error.to_string())?;
    match status(&head) {
        Some(status) if status < 400 => Ok(()),
        Some(status) => Err(format!("status {status}")),
        None => Err("what answers speaks no HTTP".to_owned()),
    }
}

/// The status of an HTTP/1 answer (RFC 9112, section 4).
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nServer: x"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503 \r\n"), Some(503));
        assert_eq!(status(b"SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
