//! The leader: wires the core's publishing to files, secrets, HTTP and the followers.
//!
//! One folder is its whole world (see [`folder`]); each command reads it afresh, and `serve` does so whenever it changes.

mod audit;
mod authority;
mod certificate;
mod cli;
mod commands;
mod config;
mod enrol;
mod epoch;
mod fleet_plan;
mod folder;
mod hex;
mod history;
mod inputs;
mod keys;
mod now;
mod orders;
mod passphrase;
mod publication;
mod secrets;
mod server;
mod snapshots;
mod templates;
mod terminal;
mod tls;
mod tokens;

use std::process::ExitCode;

pub use cli::Cli;
pub use config::{HistoryConfig, LeaderConfig};
pub use folder::Folder;
pub use server::serve;
pub use terminal::{Failure, Refusal, Said};

/// Runs one command to its end and tells how it went: 0 done, 1 failed, 2 invalid input; 5 with `status --detailed-exitcode`.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let terminal = terminal::Terminal::new(cli.output);
    match commands::run(cli, &terminal) {
        Ok(code) => code,
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit_code()
        }
    }
}
