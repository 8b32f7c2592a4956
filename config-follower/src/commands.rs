//! The commands, each to its end.

mod drift;
mod join;
mod once;
mod plan;
mod status;

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::{Chain, LogFormat, Shutdown, start_telemetry};
use tokio::runtime::{Builder, Runtime};

pub(crate) use self::join::Line;
use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::daemon;
use crate::join::{Engine, Wanted};
use crate::terminal::Terminal;
use crate::wish::Wish;

/// How a command went; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done = 0,
    Failed = 1,
    Unconfigured = 2,
    /// Nothing was touched.
    Refused = 3,
    /// The machine is back on the revision that ran before.
    RolledBack = 4,
    /// There is something to do, or something is not as it was left.
    Differs = 5,
}

/// Runs one command to its end.
#[must_use]
pub fn execute(cli: &Cli) -> ExitCode {
    let terminal = Terminal(cli.output);
    if let Command::Join { string, root, listen, docker } = &cli.command {
        let docker = docker.clone().map(|socket| match socket.to_str() {
            Some("none") => Engine::Nothing,
            Some(_) | None => Engine::At(socket),
        });
        let wanted = Wanted { root: root.clone(), listen: *listen, docker };
        let joining = || {
            start_log("off")?;
            runtime()?.block_on(join::run(&cli.config, terminal, string.clone(), wanted))
        };
        return ExitCode::from(joining().unwrap_or_else(|error| fail(terminal, &error)) as u8);
    }
    let ending = match Config::read(&cli.config) {
        Err(error) => {
            terminal.fail(&Chain(&error));
            Ending::Unconfigured
        }
        Ok(config) => perform(cli.command.clone(), &config, terminal).unwrap_or_else(|error| fail(terminal, &error)),
    };
    ExitCode::from(ending as u8)
}

fn fail(terminal: Terminal, error: &anyhow::Error) -> Ending {
    terminal.fail(&Chain(error.as_ref()));
    Ending::Failed
}

fn perform(command: Command, config: &Config, terminal: Terminal) -> anyhow::Result<Ending> {
    start_log(if command == Command::Run { "info" } else { "off" })?;
    let grant = |wish| runtime()?.block_on(once::run(config, terminal, wish));
    match command {
        // It needs no configuration, so it was done before one was read.
        Command::Join { .. } => Ok(Ending::Done),
        Command::Run => {
            let listen = |address| TcpListener::bind(address).with_context(|| format!("cannot listen on `{address}`"));
            let listener = config.listen.map(listen).transpose()?;
            runtime()?.block_on(async {
                let shutdown = Shutdown::by_signals().context("cannot listen for signals")?;
                Box::pin(daemon::run(config.clone(), listener, shutdown)).await
            })?;
            Ok(Ending::Done)
        }
        Command::Once { accept } => grant(Wish::Once { accept }),
        Command::Retry { accept } => grant(Wish::Retry { accept }),
        Command::Rollback => grant(Wish::Rollback),
        Command::Suspend { reason } => grant(Wish::Suspend { reason }),
        Command::Resume => grant(Wish::Resume),
        Command::Plan { detailed_exitcode } => runtime()?.block_on(plan::run(config, terminal, detailed_exitcode)),
        Command::Drift => runtime()?.block_on(drift::run(config, terminal)),
        Command::Status { watch } => runtime()?.block_on(status::run(config, terminal, watch)),
    }
}

fn start_log(usual: &str) -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| usual.to_owned());
    let is_json = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json");
    Ok(start_telemetry(if is_json { LogFormat::Json } else { LogFormat::Text }, &filter)?)
}

/// One thread, and one beside it for file work that goes when it is idle: a follower is a small guest on its machine.
fn runtime() -> anyhow::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_stack_size(512 * 1024)
        .build();
    runtime.context("cannot start the runtime")
}
