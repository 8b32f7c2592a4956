//! A command inside a running container.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::TryStreamExt as _;
use tokio::time::{Instant, sleep, timeout_at};

use super::{ANSWER, Client, check_name};
use crate::container::Container;
use crate::engine::{Ended, EngineError};
use crate::tail::Tail;

/// How often the engine is asked for the exit code of a command that has closed its output and not ended.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs it and waits for its end. One that does not end in time goes on: the engine has no call that ends it.
pub(super) async fn execute(
    client: &Client,
    container: &Container,
    command: &[String],
    limit: Duration,
) -> Result<Ended, EngineError> {
    let what = format!("`{}` in {}", command.join(" "), container.name);
    let action = format!("run {what}");
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let made = client.get(ANSWER, &action, client.bollard.create_exec(&container.id, options)).await?;
    check_name(&made.id)?;
    let deadline = Instant::now() + limit;
    let work = async {
        let mut tail = Tail::default();
        let started = client.bollard.start_exec(&made.id, None::<StartExecOptions>);
        if let StartExecResults::Attached { mut output, .. } = client.get(ANSWER, &action, started).await? {
            while let Some(piece) = output.try_next().await.map_err(|source| client.fault(limit, &action, source))? {
                tail.push(piece.as_ref());
            }
        }
        loop {
            let state = client.get(ANSWER, &action, client.bollard.inspect_exec(&made.id)).await?;
            match state.exit_code {
                Some(code) if state.running != Some(true) => return Ok(Ended { code, output: tail.text() }),
                _ => sleep(GLANCE).await,
            }
        }
    };
    if let Ok(outcome) = timeout_at(deadline, work).await {
        return outcome;
    }
    // Who is slow, the command or the engine?
    let state = client.get(ANSWER, &action, client.bollard.inspect_exec(&made.id)).await?;
    Err(match state.running {
        Some(true) => EngineError::NotEnded { command: what, limit },
        Some(false) | None => EngineError::TooSlow { action, limit },
    })
}
