//! Programs that run to their end: what they print and how they exit is their promise.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, ffi::OsStr};

use anyhow::{Context as _, Result, ensure};

/// A program and the arguments that it always gets.
#[derive(Debug)]
pub struct Program {
    command: Command,
    shown: String,
    input: Option<String>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Program {
    /// One of ours, built beside the running test; or in `PCONF_PROGRAMS`, to test a shipped build.
    pub fn ours(name: &str) -> Result<Self> {
        Ok(Self::named(&Self::path_of_ours(name)?.display().to_string()))
    }

    /// Where it lies.
    pub fn path_of_ours(name: &str) -> Result<PathBuf> {
        path_of(name)
    }

    /// One that the machine has.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut command = Command::new(name);
        // What a developer has set must not decide how a test ends.
        for variable in ["RUST_LOG", "CONFIG_LEADER_DIR", "CONFIG_FOLLOWER_CONFIG", "NO_COLOR"] {
            command.env_remove(variable);
        }
        Self { command, shown: name.to_owned(), input: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{} {}", self.shown, argument.as_ref().display());
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Starts it somewhere else.
    #[must_use]
    pub fn inside(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it that much to read on standard input: no more than a pipe holds.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Runs it to its end, whatever that is.
    pub fn end(mut self) -> Result<Outcome> {
        self.command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().with_context(|| format!("cannot start `{}`", self.shown))?;
        if let (Some(text), Some(mut input)) = (self.input, child.stdin.take()) {
            // One that ends without reading says why itself.
            let _ = input.write_all(text.as_bytes());
        }
        let output = child.wait_with_output()?;
        Ok(Outcome {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it, expects success, returns standard output.
    pub fn succeed(self) -> Result<String> {
        let shown = self.shown.clone();
        let outcome = self.end()?;
        ensure!(
            outcome.code == Some(0),
            "`{shown}` ended with {:?}\n{}\n{}",
            outcome.code,
            outcome.output,
            outcome.errors
        );
        Ok(outcome.output)
    }

    /// The command itself, for those who keep it running.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }
}

fn path_of(name: &str) -> Result<PathBuf> {
    let folder = match env::var_os("PCONF_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => built_beside(&env::current_exe()?)?,
    };
    let program = folder.join(name);
    ensure!(program.is_file(), "`{}` is not built: cargo build --workspace --bins", program.display());
    Ok(program)
}

/// Tests lie in `target/<profile>/deps`, programs one folder up.
fn built_beside(running: &Path) -> Result<PathBuf> {
    let folder = running.parent().context("a program lies in a folder")?;
    let folder =
        if folder.ends_with("deps") { folder.parent().context("deps is a folder of the profile")? } else { folder };
    Ok(folder.to_owned())
}
