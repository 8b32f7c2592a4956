//! What a person or a program sees: results on standard output, failures on standard error.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use pconf_bundle::ServiceOutcome;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cli::OutputFormat;

/// Where a command's results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal(pub(crate) OutputFormat);

impl Terminal {
    /// Prints a result in the form that was asked for. A reader that has gone away is no fault.
    pub(crate) fn show(self, text: &str, json: impl FnOnce() -> Value) {
        let mut out = std::io::stdout().lock();
        let _ = match self.0 {
            OutputFormat::Text => out.write_all(text.as_bytes()),
            OutputFormat::Json => writeln!(out, "{:#}", json()),
        };
        let _ = out.flush();
    }

    /// Prints a result in the place of the one before it.
    pub(crate) fn show_again(self, text: &str, json: impl FnOnce() -> Value) {
        let is_watched = self.0 == OutputFormat::Text && std::io::stdout().is_terminal();
        // Home, and clear to the end: what scrolled by before stays.
        let text = if is_watched { format!("\x1b[H\x1b[2J{text}") } else { format!("{text}\n") };
        self.show(&text, json);
    }

    /// Says that something takes its time, on a terminal and from the first second on, until dropped.
    pub(crate) fn working(self, what: &'static str) -> Working {
        let is_shown = self.0 == OutputFormat::Text && std::io::stderr().is_terminal();
        Working { ticker: is_shown.then(|| tokio::spawn(tick(what))) }
    }

    /// Says what is waited for.
    pub(crate) fn tell(self, what: &str) {
        if self.0 == OutputFormat::Text {
            let _ = writeln!(std::io::stderr(), "{what}");
        }
    }

    /// Says what went wrong, beside a result that was shown.
    pub(crate) fn complain(self, what: &dyn Display) {
        if self.0 == OutputFormat::Text {
            let _ = writeln!(std::io::stderr(), "error: {what}");
        }
    }

    /// Says what went wrong.
    pub(crate) fn fail(self, what: &dyn Display) {
        match self.0 {
            OutputFormat::Text => {
                let _ = writeln!(std::io::stderr(), "error: {what}");
            }
            OutputFormat::Json => self.show("", || json!({ "error": what.to_string() })),
        }
    }
}

/// A line that says that something takes its time.
pub(crate) struct Working {
    ticker: Option<JoinHandle<()>>,
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.abort();
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

async fn tick(what: &'static str) {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = write!(std::io::stderr(), "\r\x1b[K{what}: {} s", begun.elapsed().as_secs());
    }
}

/// A service's outcome, coloured on a terminal unless `NO_COLOR` is set.
pub(crate) fn coloured(outcome: ServiceOutcome) -> String {
    let (word, colour) = match outcome {
        ServiceOutcome::Untouched => ("untouched", "0"),
        ServiceOutcome::Reloaded => ("reloaded", "32"),
        ServiceOutcome::Restarted => ("restarted", "32"),
        ServiceOutcome::Recreated => ("recreated", "32"),
        ServiceOutcome::Removed => ("removed", "32"),
        ServiceOutcome::Owed => ("owed", "33"),
        ServiceOutcome::Stopped => ("stopped", "33"),
        ServiceOutcome::Failed => ("failed", "31"),
    };
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_plain || !std::io::stdout().is_terminal() {
        return format!("{word:<9}");
    }
    format!("\x1b[{colour}m{word:<9}\x1b[0m")
}
