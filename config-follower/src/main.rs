//! `config-follower`: writes this machine's files where its containers read them, and restarts exactly those.

use std::process::ExitCode;

use clap::Parser as _;
use config_follower::Cli;

fn main() -> ExitCode {
    config_follower::execute(&Cli::parse())
}
