//! A client of many connections, the same for every server, so that its own cost falls on all of them alike.
//!
//! Requests are made beforehand: followers sign on machines of their own, not on the leader's processors.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

/// The whole bytes of one request.
pub(crate) type Request = Vec<u8>;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    /// Answers per second.
    pub(crate) rate: f64,
    /// How long each answer took.
    pub(crate) answers: Vec<Duration>,
}

/// Sends `requests`, dealt out to so many connections, each waiting for its answer before the next; every answer has to
/// have this status.
pub(crate) fn run(server: SocketAddr, requests: Vec<Request>, connections: usize, status: u16) -> Result<Run> {
    let count = requests.len();
    let mut hands: Vec<Vec<Request>> = (0..connections).map(|_| Vec::new()).collect();
    for (number, request) in requests.into_iter().enumerate() {
        hands[number % connections].push(request);
    }
    let ready = Arc::new(Barrier::new(connections + 1));
    let mut workers = Vec::new();
    for hand in hands {
        let mut connection = TcpStream::connect(server)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        let ready = Arc::clone(&ready);
        workers.push(thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            ready.wait();
            let timed = hand.iter().map(|request| {
                let start = Instant::now();
                exchange(&mut connection, request, &mut buffer, status)?;
                Ok(start.elapsed())
            });
            timed.collect::<Result<Vec<_>>>()
        }));
    }
    ready.wait();
    let start = Instant::now();
    let mut answers = Vec::with_capacity(count);
    for worker in workers {
        answers.extend(worker.join().map_err(|_| anyhow!("a connection broke down"))??);
    }
    #[allow(clippy::cast_precision_loss, reason = "a few thousand requests")]
    let rate = count as f64 / start.elapsed().as_secs_f64();
    Ok(Run { rate, answers })
}

/// One request and its answer.
fn exchange(connection: &mut TcpStream, request: &[u8], buffer: &mut [u8], status: u16) -> Result<()> {
    connection.write_all(request)?;
    let mut filled = 0;
    let head = loop {
        let count = connection.read(&mut buffer[filled..])?;
        ensure!(count > 0, "the server closed the connection");
        filled += count;
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    let said = text.split(' ').nth(1).context("a status line")?;
    ensure!(said == status.to_string(), "{} instead of {status}: {}", said, String::from_utf8_lossy(&buffer[..filled]));
    let mut left = (head + content_length(text)).saturating_sub(filled);
    while left > 0 {
        let count = connection.read(buffer)?;
        ensure!(count > 0, "the server closed the connection");
        left = left.saturating_sub(count);
    }
    Ok(())
}

fn content_length(head: &str) -> usize {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or_default()
}
