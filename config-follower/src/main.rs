//! `config-follower`: writes this machine's files where its containers read them, and restarts exactly those.

use std::process::ExitCode;

use clap::Parser as _;
use config_follower::Cli;

fn main() -> ExitCode {
    pconf_daemon::forbid_core_dumps();
    config_follower::execute(&Cli::parse())
}
