//! What a person or a program sees of a command: results on standard output, failures on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;
use pconf_daemon::Chain;
use pconf_platform::{Problem, Sources, render_text, to_json};
use serde_json::{Value, json};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document, for programs.
    Json,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The inputs are wrong; everything that is wrong with them.
    Invalid {
        /// What is wrong.
        problems: Vec<Problem>,
        /// The texts that the problems point into.
        sources: Box<Sources>,
    },
    /// Something else went wrong.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Invalid { .. } => ExitCode::from(2),
            Self::Failed(_) => ExitCode::from(1),
        }
    }
}

/// Where a command's results go.
pub(crate) struct Terminal {
    format: OutputFormat,
}

impl Terminal {
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// Prints a result in the form that was asked for. A reader that has gone away is no fault.
    pub(crate) fn show(&self, text: &str, json: impl FnOnce() -> Value) {
        let mut out = std::io::stdout().lock();
        let _ = match self.format {
            OutputFormat::Text => out.write_all(text.as_bytes()),
            OutputFormat::Json => writeln!(out, "{:#}", json()),
        };
        let _ = out.flush();
    }

    pub(crate) fn fail(&self, failure: &Failure) {
        match (failure, self.format) {
            (Failure::Invalid { problems, sources }, OutputFormat::Text) => {
                let color =
                    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
                let count = match problems.len() {
                    1 => "1 problem".to_owned(),
                    n => format!("{n} problems"),
                };
                let _ = writeln!(
                    std::io::stderr(),
                    "{}\n{count}; nothing was changed",
                    render_text(problems, sources, color).trim_end()
                );
            }
            (Failure::Invalid { problems, sources }, OutputFormat::Json) => {
                self.show("", || json!({ "ok": false, "problems": to_json(problems, sources) }));
            }
            (Failure::Failed(error), OutputFormat::Text) => {
                let _ = writeln!(std::io::stderr(), "error: {}", Chain(error.as_ref()));
            }
            (Failure::Failed(error), OutputFormat::Json) => {
                self.show("", || json!({ "ok": false, "error": Chain(error.as_ref()).to_string() }));
            }
        }
    }
}
