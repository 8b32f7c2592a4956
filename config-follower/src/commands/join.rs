//! `join`: makes this machine a follower.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use pconf_daemon::Chain;
use serde_json::json;
use zeroize::Zeroizing;

use crate::commands::Ending;
use crate::join::{JoinError, Joined, Wanted, join};
use crate::terminal::Terminal;

/// What was typed for a line that holds a token: shown nowhere, wiped when it is no longer used.
#[derive(Clone, PartialEq, Eq)]
pub struct Line(Zeroizing<String>);

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} bytes)", self.0.len())
    }
}

impl Line {
    /// What was typed, or what standard input says where that is `-`.
    fn read(self) -> std::io::Result<Zeroizing<String>> {
        /// A line is some hundred bytes.
        const LONGEST: u64 = 64 * 1024;
        if *self.0 != "-" {
            return Ok(self.0);
        }
        // As large as it can get: growing would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(64 * 1024));
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
        Ok(text)
    }
}

pub(super) async fn run(config: &Path, terminal: Terminal, line: Line, wanted: Wanted) -> anyhow::Result<Ending> {
    let line = line.read().context("cannot read standard input")?;
    let joined = join(&line, config, wanted, |what| terminal.tell(what)).await;
    drop(line);
    let joined = match joined {
        Err(fault @ (JoinError::String(_) | JoinError::Config(_))) => {
            terminal.fail(&Chain(&fault));
            return Ok(Ending::Unconfigured);
        }
        joined => joined?,
    };
    let Joined { machine, role, leader, root, config } = &joined;
    let config = config.display();
    let text = format!(
        "{machine} ({role}) follows {leader}; its files go below {}\n\nnext:\n  config-follower plan --config {config}    what would \
         be done; nothing is touched\n  config-follower run --config {config}     follow from now on\n",
        root.display()
    );
    terminal.show(&text, || json!(joined));
    Ok(Ending::Done)
}
