//! Stands in, in tests and in the demo, for a service whose own program or image is not at hand.
//!
//! It does what the tests need to know of a real one: it reads its configuration once, at boot, and dies of a bad one.
//! So "which configuration does this container run with, since when" is a question that it answers over HTTP.
//!
//! - `GET /files`: the paths read last, one per line; `GET /files/app/conf/core.yml`: the bytes read from there
//! - `GET /started`: when it booted, in nanoseconds since the Unix epoch
//! - `GET /reads`: one line for each time that it read: `boot`, `SIGHUP` or `asked`, and when
//! - `GET /reload`: reads again, as it does on SIGHUP; it keeps what it has when the files are bad
//! - `GET /health`: 200; 503 when a file holds the word `standin:unhealthy`; no answer when one holds `standin:silent`
//! - `GET /environment/NAME`, `GET /arguments`: what it was made with
//!
//! `standin health` asks the running one, for a Docker `HEALTHCHECK`; `standin reload` tells it to read again;
//! `standin check [PLACE…]` reads and judges without starting; `standin show FILE` prints a file as the container sees it
//! now, whatever the service has read. Any other argument is meant for the program that it
//! stands in for, and is ignored. Everything else comes from the environment: see [`Behaviour`].

#![allow(clippy::print_stderr, reason = "the log of a container is its standard error")]

mod answer;
mod boot;
mod service;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use tokio::signal::unix::{SignalKind, signal};

use crate::boot::Booted;
use crate::service::Service;

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
    let behaviour = match Behaviour::from_environment() {
        Err(problem) => return fail(&problem, 2),
        Ok(behaviour) => behaviour,
    };
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("health") => ask(behaviour.listen, "/health"),
        Some("reload") => ask(behaviour.listen, "/reload"),
        Some("show") => show(&arguments[1..]),
        Some("check") => check(if arguments.len() > 1 { &arguments[1..] } else { &behaviour.read }),
        _ => serve(&behaviour),
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
    let service = match Service::start(&behaviour.read) {
        Ok(service) => Arc::new(service),
        Err(problem) => return fail(&problem, behaviour.exit),
    };
    let listening = Arc::clone(&service);
    thread::spawn(move || {
        if let Err(problem) = obey_signals(&listening) {
            eprintln!("cannot listen for signals: {problem}");
        }
    });
    thread::sleep(behaviour.delay);
    let listener = match TcpListener::bind(behaviour.listen) {
        Ok(listener) => listener,
        Err(problem) => return fail(&format!("cannot listen on `{}`: {problem}", behaviour.listen), 2),
    };
    let files = service.with_booted(|booted| booted.files.len());
    eprintln!("booted with {files} files, listening on {}", behaviour.listen);
    for connection in listener.incoming().flatten() {
        let service = Arc::clone(&service);
        thread::spawn(move || {
            // Whoever asked may be gone by now; that is no news worth a line of the log.
            let _ = answer::one(connection, &service);
        });
    }
    ExitCode::SUCCESS
}

fn obey_signals(service: &Service) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut wishes = signal(SignalKind::hangup())?;
        while wishes.recv().await.is_some() {
            if let Err(problem) = service.read_again("SIGHUP") {
                eprintln!("goes on with what it has: {problem}");
            }
        }
        Ok(())
    })
}

fn check(places: &[String]) -> ExitCode {
    match Booted::from_files(places) {
        Ok(booted) => {
            eprintln!("{} files are good", booted.files.len());
            ExitCode::SUCCESS
        }
        Err(problem) => fail(&problem, 1),
    }
}

fn show(files: &[String]) -> ExitCode {
    for file in files {
        let shown = std::fs::read(file).and_then(|content| std::io::stdout().write_all(&content));
        if let Err(problem) = shown {
            return fail(&format!("cannot show `{file}`: {problem}"), 1);
        }
    }
    ExitCode::SUCCESS
}

fn ask(listen: SocketAddr, path: &str) -> ExitCode {
    let ask = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", listen.port()))?;
        write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
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
