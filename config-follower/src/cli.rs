//! What can be typed.

use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands::Line;

/// Writes this machine's files where its containers read them, and restarts exactly those.
#[derive(Debug, Parser)]
#[command(
    name = "config-follower",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done, the revision runs · 1 failed: the leader, the disk or a container; what is left is \
                  owed · 2 the configuration is not usable · 3 the revision is refused, nothing was touched · 4 the \
                  revision broke a service, the machine is back on the one before · 5 there is something to do (`plan \
                  --detailed-exitcode`), or something is not as it was left (`drift`)\n\n\
                  The log goes to standard error; RUST_LOG sets its level (default: info), LOG_FORMAT=json its form."
)]
pub struct Cli {
    /// The configuration; `join` writes it, and this machine's key beside it.
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

/// Where to listen; `none`: nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self(None)) } else { Ok(Self(Some(text.parse()?))) }
    }
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Make this machine a follower, with the line that `config-leader machine add` has printed.
    Join {
        /// The line, `pconf1:…`; `-` reads it from standard input, where no list of processes shows it.
        #[arg(value_name = "STRING")]
        string: Line,
        /// Below which folder files are written, unless the leader says it; else /srv/platform.
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// Where to listen for the leader's word, or `none` where it cannot reach this machine, which then waits at the
        /// leader; else 0.0.0.0:6000.
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<Listen>,
        /// The engine's socket, or `none` where there are only files; else /var/run/docker.sock.
        #[arg(long, value_name = "SOCKET")]
        docker: Option<PathBuf>,
    },
    /// Follow the leader until asked to end: pull at start, when told to look, and every minute.
    Run,
    /// Bring the machine to its goal once.
    Once {
        /// Take a revision that changes suspiciously much: a file that becomes empty or more than doubles, many that go.
        #[arg(long)]
        accept: bool,
    },
    /// Tell what would be checked, written and done to which container, in order; nothing is touched.
    Plan {
        /// Exit with 5 when there is something to do.
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Tell what is desired, on disk and running, for each service, and why they differ.
    Status {
        /// Go on telling whenever something changes, until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// Go back to the revision that ran before; the present one is not taken again until `retry`, or a newer one comes.
    Rollback,
    /// Take the revision once more that broke this machine or that its operator went back from.
    Retry {
        /// Take it although it changes suspiciously much.
        #[arg(long)]
        accept: bool,
    },
    /// Touch nothing on this machine until `resume`.
    Suspend {
        /// Why; it shows in every status, here and at the leader.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Go on after `suspend`.
    Resume,
    /// Tell which files and containers are no longer as they were left; exit with 5 when there are some.
    Drift,
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
