//! Stands in, in tests and in the demo, for a service whose own program or image is not at hand.
//!
//! It does what the tests need to know of a real one: it reads its configuration once, at boot, and dies of a bad one.
//! So "which configuration does this container run with, since when" is a question that it answers over HTTP.
//!
//! - `GET /files`: the paths read at boot, one per line; `GET /files/app/conf/core.yml`: the bytes read from there
//! - `GET /started`: when it booted, in nanoseconds since the Unix epoch
//! - `GET /health`: 200, or 503 when a file holds the word `standin:unhealthy`
//!
//! `standin health` asks the running one, for a Docker `HEALTHCHECK`. Any other argument is meant for the program that it
//! stands in for, and is ignored. Everything else comes from the environment: see [`Behaviour`].

#![allow(clippy::print_stderr, reason = "the log of a container is its standard error")]

mod answer;
mod boot;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, thread};

use crate::boot::Booted;

/// What the environment asks of it.
struct Behaviour {
    /// `STANDIN_LISTEN`, default `0.0.0.0:7777`.
    listen: SocketAddr,
    /// `STANDIN_READ`: folders and files to read at boot, separated by `:`, default `/app/conf`.
    read: Vec<String>,
    /// `STANDIN_DELAY_MS`: milliseconds between boot and listening, default 0.
    delay: Duration,
    /// `STANDIN_EXIT`: the exit code on a bad configuration, default 1.
    exit: u8,
}

fn main() -> ExitCode {
    match Behaviour::from_environment() {
        Err(problem) => fail(&problem, 2),
        Ok(behaviour) if env::args().nth(1).as_deref() == Some("health") => ask_health(behaviour.listen),
        Ok(behaviour) => serve(&behaviour),
    }
}

impl Behaviour {
    fn from_environment() -> Result<Self, String> {
        Ok(Self {
            listen: variable("STANDIN_LISTEN", "0.0.0.0:7777", |text| text.parse().ok())?,
            read: variable("STANDIN_READ", "/app/conf", |text| Some(text.split(':').map(str::to_owned).collect()))?,
            delay: Duration::from_millis(variable("STANDIN_DELAY_MS", "0", |text| text.parse().ok())?),
            exit: variable("STANDIN_EXIT", "1", |text| text.parse().ok())?,
        })
    }
}

fn variable<T>(name: &str, default: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let text = env::var(name).unwrap_or_else(|_| default.to_owned());
    parse(&text).ok_or_else(|| format!("{name}: cannot use `{text}`"))
}

fn serve(behaviour: &Behaviour) -> ExitCode {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let booted = match Booted::from_files(&behaviour.read, started) {
        Ok(booted) => booted,
        Err(problem) => return fail(&problem, behaviour.exit),
    };
    thread::sleep(behaviour.delay);
    let listener = match TcpListener::bind(behaviour.listen) {
        Ok(listener) => listener,
        Err(problem) => return fail(&format!("cannot listen on `{}`: {problem}", behaviour.listen), 2),
    };
    eprintln!("booted with {} files, listening on {}", booted.files.len(), behaviour.listen);
    for connection in listener.incoming().flatten() {
        if let Err(problem) = answer::one(connection, &booted) {
            eprintln!("connection lost: {problem}");
        }
    }
    ExitCode::SUCCESS
}

fn ask_health(listen: SocketAddr) -> ExitCode {
    let ask = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", listen.port()))?;
        connection.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.0 200 ") => ExitCode::SUCCESS,
        Ok(answer) => fail(answer.lines().next().unwrap_or("no answer"), 1),
        Err(problem) => fail(&problem.to_string(), 1),
    }
}

fn fail(problem: &str, code: u8) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(code)
}
