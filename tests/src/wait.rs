//! Waiting for a condition. How long it takes is the machine's business; that it comes true is the promise.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take on the slowest machine before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer; `what` says what is missing when there is none within [`PATIENCE`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let problem = match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => "not so".to_owned(),
            Err(problem) => format!("{problem:#}"),
        };
        if Instant::now() > deadline {
            bail!("waited {} s for: {what} (last answer: {problem})", PATIENCE.as_secs());
        }
        thread::sleep(PAUSE);
    }
}
