//! A restart that counts only when it holds.

use std::error::Error;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::container::{Container, State};
use crate::engine::{Containers, EngineError};

/// How long a container has to stay up before its restart counts. A program that cannot read its configuration usually
/// ends within it; slower deaths are for health checks to find.
const SETTLE: Duration = Duration::from_millis(250);

/// How often it is looked at meanwhile: a known death ends the wait.
const GLANCE: Duration = Duration::from_millis(50);

/// What became of a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restarted {
    /// It was started anew and stays up.
    Holds,
    /// It was removed meanwhile, so there is nothing to restart.
    Gone,
    /// It was not touched: the engine did not answer.
    NotTried {
        /// Why not.
        reason: String,
    },
    /// It was touched and is not known to be up.
    Failed {
        /// What was seen.
        reason: String,
    },
}

/// Restarts a container and watches it for a moment.
pub async fn restart(engine: &impl Containers, id: &str) -> Restarted {
    let before = match engine.look(id).await {
        Ok(Some(before)) => before,
        Ok(None) => return Restarted::Gone,
        Err(error) => return Restarted::NotTried { reason: said(&error) },
    };
    if let Err(error) = engine.restart(&before).await {
        let reason = said(&error);
        return match error {
            // Removed since it was looked at.
            EngineError::Refused { .. } if matches!(engine.look(id).await, Ok(None)) => Restarted::Gone,
            EngineError::Unreachable { .. } | EngineError::NoName(_) => Restarted::NotTried { reason },
            _ => Restarted::Failed { reason },
        };
    }
    watch(engine, &before).await.unwrap_or_else(|error| Restarted::Failed { reason: said(&error) })
}

async fn watch(engine: &impl Containers, before: &Container) -> Result<Restarted, EngineError> {
    let enough = Instant::now() + SETTLE;
    let mut first: Option<String> = None;
    loop {
        let now = match engine.look(&before.id).await {
            Ok(Some(now)) => now,
            Ok(None) => return Ok(Restarted::Gone),
            Err(error) if Instant::now() >= enough => return Err(error),
            Err(_) => {
                sleep(GLANCE).await;
                continue;
            }
        };
        let started = first.get_or_insert_with(|| now.started.clone());
        if let Some(reason) = fault(before, started, &now) {
            return Ok(Restarted::Failed { reason });
        }
        if Instant::now() >= enough {
            return Ok(Restarted::Holds);
        }
        sleep(GLANCE).await;
    }
}

fn fault(before: &Container, started: &str, now: &Container) -> Option<String> {
    match now.state {
        State::Exited { code, .. } => {
            Some(format!("exited with code {code} right after its restart: see `docker logs {}`", now.name))
        }
        State::Restarting => Some(format!("keeps dying after its restart: see `docker logs {}`", now.name)),
        State::Paused | State::Created => Some("was stopped by somebody else during its restart".to_owned()),
        State::Running if now.started == before.started => {
            Some("runs on as before, though the engine says that it was restarted".to_owned())
        }
        State::Running if now.started != started => {
            Some(format!("keeps dying after its restart: see `docker logs {}`", now.name))
        }
        State::Running => None,
    }
}

fn said(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", said(source)))
}
