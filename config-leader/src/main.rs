//! `config-leader`: one admin edits one `platform.json`, and every machine gets its files.

use std::process::ExitCode;

use clap::Parser as _;
use config_leader::Cli;
use mimalloc::MiMalloc;

/// Gives back to the system what a publication for thousands of machines took; the C library's keeps most of it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    pconf_daemon::forbid_core_dumps();
    config_leader::run(Cli::parse())
}
