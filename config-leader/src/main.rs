//! `config-leader`: one admin edits one `platform.json`, and every machine gets its files.

use std::process::ExitCode;

use clap::Parser as _;
use config_leader::Cli;

fn main() -> ExitCode {
    pconf_daemon::forbid_core_dumps();
    config_leader::run(Cli::parse())
}
