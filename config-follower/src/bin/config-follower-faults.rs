//! `config-follower` as the crash matrix runs it: every change that it makes to the disk can be made to fail.

use std::process::ExitCode;

use clap::Parser as _;
use config_follower::Cli;

fn main() -> ExitCode {
    config_follower::execute(&Cli::parse())
}
