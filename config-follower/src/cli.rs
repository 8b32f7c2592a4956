//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Writes this machine's files where its containers read them, and restarts exactly those.
#[derive(Debug, Parser)]
#[command(
    name = "config-follower",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done, the revision runs · 1 failed: the leader, the disk or a container · \
                  2 the configuration is not usable · 3 the revision was refused and nothing was touched; \
                  for `plan --detailed-exitcode`: there is something to do\n\n\
                  The log goes to standard error; RUST_LOG sets its level (default: info), LOG_FORMAT=json its form."
)]
pub struct Cli {
    /// The configuration; it holds this machine's key, so it has to have mode 0600.
    #[arg(
        long,
        global = true,
        env = "CONFIG_FOLLOWER_CONFIG",
        default_value = "config-follower.json",
        value_name = "FILE"
    )]
    pub config: PathBuf,

    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Follow the leader until asked to end: pull at start, when told to look, and every minute.
    Run,
    /// Bring the machine to its goal once.
    Once,
    /// Tell what would be written and restarted; nothing is touched.
    Plan {
        /// Exit with 3 when there is something to do.
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Tell what is desired, on disk and running, as the follower of this machine last saw it.
    Status,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document, for programs.
    Json,
}
