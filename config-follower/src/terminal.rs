//! What a person or a program sees: results on standard output, failures on standard error.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use pconf_bundle::ServiceOutcome;
use serde_json::{Value, json};

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
