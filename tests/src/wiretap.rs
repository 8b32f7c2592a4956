//! Somebody between two programs who understands their HTTP: writes every message down, and spoils single ones.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long the other side may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to answer what was spoilt: it may wait for a rest that never comes.
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who opened the connection.
    Question,
    /// The other one.
    Answer,
}

/// What is done to one message, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// One bit of the byte at this place, counted from the front, is another.
    Flip(usize),
    /// One bit of the byte at this place, counted from the end, is another.
    FlipFromEnd(usize),
    /// It ends after so many bytes.
    Cut(usize),
    /// It never arrives.
    Withhold,
    /// It arrives twice; of two answers the second one is brought back.
    Twice,
    /// The first one of its kind that passed arrives instead of it.
    Earlier,
    /// It is kept, to be delivered by [`Wiretap::deliver`].
    Keep,
}

/// One line that is tapped.
#[derive(Debug)]
pub struct Wiretap {
    listen: SocketAddr,
    to: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Every message as it was sent, with the question's first line, which names its kind.
    passed: Vec<(Kind, String, Vec<u8>)>,
    /// What is to be done to the next message of that kind whose question begins so.
    plan: Option<(Kind, &'static str, Deed)>,
    done: usize,
    kept: Vec<Vec<u8>>,
}

impl Wiretap {
    /// Listens on `listen` and leads to `to`, honestly at first. It lives as long as the process.
    pub fn open(listen: SocketAddr, to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let tap = Self { listen, to, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let line = Line { to, shared: Arc::clone(&shared) };
                // A line that breaks is what this is for.
                thread::spawn(move || line.carry(client));
            }
        });
        Ok(tap)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// The URL by which it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Spoils the next message of that kind whose question begins with `question`, e.g. `GET /conf/`.
    pub fn spoil(&self, kind: Kind, question: &'static str, deed: Deed) {
        lock(&self.shared).plan = Some((kind, question, deed));
    }

    /// How many messages were spoilt.
    #[must_use]
    pub fn spoilt(&self) -> usize {
        lock(&self.shared).done
    }

    /// Delivers what was kept; nobody hears the answers.
    pub fn deliver(&self) -> Result<()> {
        let kept = std::mem::take(&mut lock(&self.shared).kept);
        anyhow::ensure!(!kept.is_empty(), "nothing was kept");
        for message in kept {
            let mut server = connect(self.to)?;
            server.write_all(&message)?;
            read_message(&mut server).context("no answer")?;
        }
        Ok(())
    }

    /// Every message so far as it was sent, in the order in which they passed.
    #[must_use]
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        lock(&self.shared).passed.iter().map(|(_, _, bytes)| bytes.clone()).collect()
    }

    /// How many questions begin so.
    #[must_use]
    pub fn questions(&self, beginning: &str) -> usize {
        let passed = &lock(&self.shared).passed;
        passed.iter().filter(|(kind, line, _)| *kind == Kind::Question && line.starts_with(beginning)).count()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let server = TcpStream::connect(to)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// One connection of the line.
struct Line {
    to: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Line {
    /// Carries one question and its answer after the other until either end closes, or something was spoilt so that
    /// nobody can go on. What ends it is nobody's concern.
    fn carry(&self, mut client: TcpStream) -> Option<()> {
        client.set_nodelay(true).ok()?;
        let mut server = connect(self.to).ok()?;
        loop {
            let question = read_message(&mut client)?;
            let line = first_line(&question);
            let deed = self.note(Kind::Question, &line, &question);
            let is_broken = !self.send(&mut server, Kind::Question, &line, &question, deed)?;
            if is_broken {
                server.set_read_timeout(Some(LITTLE_PATIENCE)).ok()?;
            }
            let answer = read_message(&mut server)?;
            let deed = self.note(Kind::Answer, &line, &answer);
            if !self.send(&mut client, Kind::Answer, &line, &answer, deed)? || is_broken {
                return None;
            }
        }
    }

    /// Writes a message down; what is to be done to it.
    fn note(&self, kind: Kind, line: &str, message: &[u8]) -> Option<Deed> {
        let mut shared = lock(&self.shared);
        shared.passed.push((kind, line.to_owned(), message.to_owned()));
        let (_, _, deed) =
            shared.plan.take_if(|(planned, question, _)| *planned == kind && line.starts_with(*question))?;
        Some(deed)
    }

    /// Sends it on as it is, or spoilt. `None` when it does not arrive at all, `false` when nothing can follow it.
    fn send(&self, to: &mut TcpStream, kind: Kind, line: &str, message: &[u8], deed: Option<Deed>) -> Option<bool> {
        let Some(deed) = deed else { return to.write_all(message).ok().map(|()| true) };
        let spoilt = self.spoil(kind, line, message, deed);
        lock(&self.shared).done += 1;
        let is_whole = spoilt.as_ref().is_some_and(|spoilt| spoilt == message);
        to.write_all(&spoilt?).ok()?;
        if matches!(deed, Deed::Cut(_)) {
            // Who waits for the rest hears that there is none.
            to.shutdown(std::net::Shutdown::Write).ok()?;
        }
        Some(is_whole)
    }

    /// What arrives instead of the message, if anything does.
    fn spoil(&self, kind: Kind, line: &str, message: &[u8], deed: Deed) -> Option<Vec<u8>> {
        let flipped = |place: usize| {
            let mut spoilt = message.to_vec();
            spoilt[place.min(message.len() - 1)] ^= 1;
            spoilt
        };
        match deed {
            Deed::Flip(place) => Some(flipped(place)),
            Deed::FlipFromEnd(place) => Some(flipped(message.len().saturating_sub(place + 1))),
            Deed::Cut(length) => Some(message[..length.min(message.len() - 1)].to_vec()),
            Deed::Withhold => None,
            Deed::Twice => {
                let mut server = connect(self.to).ok()?;
                server.write_all(message).ok()?;
                read_message(&mut server)?;
                Some(message.to_vec())
            }
            Deed::Earlier => {
                let shared = lock(&self.shared);
                let mut passed = shared.passed.iter();
                passed.find(|(other, of, _)| *other == kind && of == line).map(|(_, _, bytes)| bytes.clone())
            }
            Deed::Keep => {
                lock(&self.shared).kept.push(message.to_vec());
                None
            }
        }
    }
}

fn first_line(message: &[u8]) -> String {
    String::from_utf8_lossy(message.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned()
}

/// One message: its head, and as much of a body as the head says. `None` when the connection ends before its end.
fn read_message(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut byte = [0];
    // Byte by byte: what follows belongs to the next message.
    while !message.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte).ok()?;
        message.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&message).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or("0", str::trim);
    let has_none = ["http/1.1 304", "http/1.1 204"].iter().any(|status| head.starts_with(status));
    let length = if has_none { 0 } else { length.parse().ok()? };
    let start = message.len();
    message.resize(start + length, 0);
    from.read_exact(&mut message[start..]).ok()?;
    Some(message)
}
