//! A line between two programs that can be cut, stalled or replaced by nonsense, and that remembers what was asked.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// What the line does to connections from now on. Changing it cuts those that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// Bytes pass.
    Pass,
    /// So many bytes of the answers pass, then both ends are cut.
    CutAfter(usize),
    /// Nobody is asked: this is the answer, whatever the question.
    Answer(Vec<u8>),
    /// The question is taken and never answered.
    Silence,
}

/// A listening line to somewhere.
#[derive(Debug)]
pub struct Tunnel {
    listen: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    mood: Mood,
    open: Vec<TcpStream>,
    questions: Vec<Vec<u8>>,
}

impl Tunnel {
    /// Opens a line that listens on `listen` and leads to `to`. It lives as long as the process.
    pub fn open(listen: SocketAddr, to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let shared = Arc::new(Mutex::new(Shared { mood: Mood::Pass, open: Vec::new(), questions: Vec::new() }));
        let line = Self { listen: listener.local_addr()?, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || carry(client, to, &shared));
            }
        });
        Ok(line)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Changes its mood.
    pub fn set(&self, mood: Mood) {
        let mut shared = lock(&self.shared);
        shared.mood = mood;
        for connection in shared.open.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// The bytes of every connection so far, as the client sent them.
    #[must_use]
    pub fn questions(&self) -> Vec<Vec<u8>> {
        lock(&self.shared).questions.clone()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries one connection until either end closes; a lost connection is this line's purpose, so errors end it quietly.
fn carry(client: TcpStream, to: SocketAddr, shared: &Arc<Mutex<Shared>>) {
    let (mood, place) = {
        let mut shared = lock(shared);
        if let Ok(copy) = client.try_clone() {
            shared.open.push(copy);
        }
        shared.questions.push(Vec::new());
        (shared.mood.clone(), shared.questions.len() - 1)
    };
    let limit = match mood {
        Mood::Pass => usize::MAX,
        Mood::CutAfter(bytes) => bytes,
        Mood::Answer(answer) => return speak(client, &answer, shared, place),
        Mood::Silence => return listen_to(client, None, shared, place),
    };
    let Ok(server) = TcpStream::connect(to) else { return };
    let (Ok(questions), Ok(onward)) = (client.try_clone(), server.try_clone()) else { return };
    let recorder = Arc::clone(shared);
    let asking = thread::spawn(move || listen_to(questions, Some(onward), &recorder, place));
    bring_back(server, client, limit);
    let _ = asking.join();
}

fn listen_to(mut client: TcpStream, mut onward: Option<TcpStream>, shared: &Mutex<Shared>, place: usize) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        lock(shared).questions[place].extend_from_slice(&buffer[..count]);
        if let Some(onward) = &mut onward
            && onward.write_all(&buffer[..count]).is_err()
        {
            break;
        }
    }
    if let Some(onward) = onward {
        let _ = onward.shutdown(Shutdown::Write);
    }
}

fn bring_back(mut server: TcpStream, mut client: TcpStream, limit: usize) {
    let mut buffer = [0; 16 * 1024];
    let mut left = limit;
    while left > 0 {
        let room = buffer.len().min(left);
        match server.read(&mut buffer[..room]) {
            Ok(count @ 1..) if client.write_all(&buffer[..count]).is_ok() => left -= count,
            _ => break,
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn speak(mut client: TcpStream, answer: &[u8], shared: &Mutex<Shared>, place: usize) {
    // Answering before the question was heard would reset the connection instead.
    let _ = client.set_read_timeout(Some(Duration::from_secs(2)));
    let mut buffer = [0; 16 * 1024];
    if let Ok(count) = client.read(&mut buffer) {
        lock(shared).questions[place].extend_from_slice(&buffer[..count]);
    }
    let _ = client.write_all(answer);
    let _ = client.shutdown(Shutdown::Both);
}
