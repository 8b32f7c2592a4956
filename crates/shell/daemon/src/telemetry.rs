//! Logs to standard error: each event once, as a sentence with fields.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// Starts the log of this process; `filter` is a level, or `target=level` pairs separated by commas.
///
/// # Errors
///
/// When `filter` says nothing of the kind.
pub fn start_telemetry(format: LogFormat, filter: &str) -> Result<(), InvalidFilter> {
    // Libraries speak only when something is wrong; `Targets` needs no regular expressions, which would cost memory.
    let quiet = [("hyper", LevelFilter::WARN), ("reqwest", LevelFilter::WARN), ("bollard", LevelFilter::WARN)];
    let targets = match filter.parse::<LevelFilter>() {
        Ok(level) => Targets::new().with_default(level).with_targets(quiet),
        Err(_) => filter.parse::<Targets>().map_err(|_| InvalidFilter(filter.to_owned()))?,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(has_colour()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // A log that was started before stays as it is.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
    Ok(())
}

fn has_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no log filter: write a level (error, warn, info, debug, trace) or pairs like `config_leader=debug`")]
pub struct InvalidFilter(String);
