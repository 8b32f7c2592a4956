//! Strangers who ask as fast as they can, in every way that is cheap for them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};

const CONNECTIONS: usize = 4;
/// So many are sent before the first of them is answered.
const AT_ONCE: usize = 25;

/// A number of bad requests to one leader.
#[derive(Debug)]
pub struct Flood {
    leader: SocketAddr,
    requests: usize,
    sent: AtomicUsize,
}

impl Flood {
    /// So many, to that leader. Nothing is sent yet.
    #[must_use]
    pub fn new(leader: SocketAddr, requests: usize) -> Self {
        Self { leader, requests, sent: AtomicUsize::new(0) }
    }

    /// How many were sent so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends them all, and expects that each one is refused.
    pub fn run(&self) -> Result<()> {
        thread::scope(|scope| {
            let lines: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || self.run_from(first))).collect();
            lines.into_iter().try_for_each(|line| line.join().map_err(|_| anyhow!("a line broke down"))?)
        })
    }

    /// Sends one line's share. Whether a connection is kept is the leader's business.
    fn run_from(&self, first: usize) -> Result<()> {
        let numbers: Vec<usize> = (first..self.requests).step_by(CONNECTIONS).collect();
        let mut line: Option<BufReader<TcpStream>> = None;
        for batch in numbers.chunks(AT_ONCE) {
            let requests = batch.iter().map(|number| bad_request(self.leader, *number)).collect::<Result<String>>()?;
            let mut connection = line.take().map_or_else(|| self.connect(), Ok)?;
            let mut is_open = connection.get_mut().write_all(requests.as_bytes()).is_ok();
            for _ in batch {
                is_open = is_open && is_refused(&mut connection)?;
            }
            line = is_open.then_some(connection);
            self.sent.fetch_add(batch.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn connect(&self) -> Result<BufReader<TcpStream>> {
        let connection = TcpStream::connect(self.leader)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(BufReader::new(connection))
    }
}

/// A request that nobody has signed.
fn bad_request(leader: SocketAddr, number: usize) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let signed = |key: &str, mac: &str| {
        let covered = r#"("@method" "@authority" "@path" "@query" "content-digest" "accept")"#;
        let expires = now + 60;
        format!(
            "GET /conf/app HTTP/1.1\r\nhost: {leader}\r\naccept: application/vnd.pconf.bundle+sealed\r\n\
             content-digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\r\n\
             signature-input: req={covered};created={now};expires={expires};nonce=\"flood-{number:016}\";\
             alg=\"hmac-sha256\";keyid=\"{key}\";tag=\"pconf-v1\"\r\nsignature: req=:{mac}:\r\n\r\n"
        )
    };
    let zeros = format!("{}=", "A".repeat(43));
    let garbage = "x\"=;(".repeat(40);
    Ok(match number % 5 {
        0 => format!("GET /conf/app HTTP/1.1\r\nhost: {leader}\r\n\r\n"),
        1 => signed("a.1", &zeros),
        // Everybody who is unknown has a name of his own.
        2 => signed(&format!("stranger{number}.1"), &zeros),
        3 => signed("a.1", "no mac"),
        _ => format!(
            "POST /enroll HTTP/1.1\r\nhost: {leader}\r\nsignature-input: {garbage}\r\nsignature: {garbage}\r\n\
             content-length: 7\r\n\r\ngarbage"
        ),
    })
}

/// Reads one answer, which has to be a refusal; `false` when the connection is closed.
fn is_refused(connection: &mut BufReader<TcpStream>) -> Result<bool> {
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if !matches!(connection.read_line(&mut line), Ok(1..)) {
            return Ok(false);
        }
        head += &line.to_ascii_lowercase();
    }
    ensure!(["400", "401", "429"].iter().any(|status| head.starts_with(&format!("http/1.1 {status}"))), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).context("a length")?;
    let mut body = vec![0; length.trim().parse()?];
    Ok(connection.read_exact(&mut body).is_ok())
}
