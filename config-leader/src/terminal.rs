//! What a person or a program sees of a command: results on standard output, failures on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;
use pconf_daemon::Chain;
use pconf_platform::{Problem, Sources, render_text, to_json};
use serde::{Deserialize, Serialize};
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

/// What a command has to say, for people and for programs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Said {
    /// For people, with its line ends.
    pub text: String,
    /// For programs.
    pub json: Value,
}

/// Rows as lines whose columns stand below each other.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Why the running leader did not do what it was asked, as it says it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// The exit code of the command.
    code: u8,
    /// For people.
    text: String,
    /// For programs.
    pub(crate) json: Value,
}

impl Refusal {
    /// The same, where something was done before.
    pub(crate) fn after(self, done: &str) -> Self {
        Self { text: format!("{done}{}", self.text), ..self }
    }
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
    /// The running leader says that something went wrong.
    Refused(Refusal),
    /// It was begun, and halted or went back by itself.
    Stopped(Said),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Invalid { .. } => 2,
            Self::Failed(_) => 1,
            Self::Refused(refusal) => refusal.code,
            Self::Stopped(_) => 3,
        })
    }

    /// The same, to be told elsewhere.
    pub(crate) fn into_refusal(self) -> Refusal {
        let (text, json) = (self.text(false), self.json());
        match self {
            Self::Invalid { .. } => Refusal { code: 2, text, json },
            Self::Failed(_) => Refusal { code: 1, text, json },
            Self::Refused(refusal) => refusal,
            Self::Stopped(_) => Refusal { code: 3, text, json },
        }
    }

    fn text(&self, color: bool) -> String {
        match self {
            Self::Invalid { problems, sources } => {
                let count = match problems.len() {
                    1 => "1 problem".to_owned(),
                    n => format!("{n} problems"),
                };
                format!("{}\n{count}; nothing was changed\n", render_text(problems, sources, color).trim_end())
            }
            Self::Failed(error) => format!("error: {}\n", Chain(error.as_ref())),
            Self::Refused(refusal) => refusal.text.clone(),
            Self::Stopped(said) => said.text.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Invalid { problems, sources } => json!({ "ok": false, "problems": to_json(problems, sources) }),
            Self::Failed(error) => json!({ "ok": false, "error": Chain(error.as_ref()).to_string() }),
            Self::Refused(refusal) => refusal.json.clone(),
            Self::Stopped(said) => {
                let mut json = said.json.clone();
                json["ok"] = Value::Bool(false);
                json
            }
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
    pub(crate) fn show(&self, said: &Said) {
        self.print(&said.text, &said.json);
    }

    /// Says how far something is that takes its time, on standard error: in place on a terminal, else line by line.
    pub(crate) fn progress(&self, line: &str) {
        let mut out = std::io::stderr().lock();
        let _ = match (self.format, out.is_terminal()) {
            (OutputFormat::Json, _) => Ok(()),
            (OutputFormat::Text, true) => write!(out, "\r\u{1b}[K{line}"),
            (OutputFormat::Text, false) if line.is_empty() => Ok(()),
            (OutputFormat::Text, false) => writeln!(out, "{line}"),
        };
        let _ = out.flush();
    }

    /// Whether what changes is drawn over what was there, which makes no sense but for a person at a terminal.
    pub(crate) fn is_redrawn(&self) -> bool {
        self.format == OutputFormat::Text && std::io::stdout().is_terminal()
    }

    /// Prints a result in the place of the one before it, where there is such a place.
    pub(crate) fn show_in_place(&self, said: &Said) {
        // Home, and clear to the end: what scrolled by before stays.
        let text = if self.is_redrawn() { format!("\x1b[H\x1b[2J{}", said.text) } else { said.text.clone() };
        self.print(&text, &said.json);
    }

    pub(crate) fn fail(&self, failure: &Failure) {
        if self.format == OutputFormat::Json {
            return self.print("", &failure.json());
        }
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let _ = std::io::stderr().write_all(failure.text(color).as_bytes());
    }

    fn print(&self, text: &str, json: &Value) {
        let mut out = std::io::stdout().lock();
        let _ = match self.format {
            OutputFormat::Text => out.write_all(text.as_bytes()),
            OutputFormat::Json => writeln!(out, "{json:#}"),
        };
        let _ = out.flush();
    }
}
