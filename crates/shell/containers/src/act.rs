//! One action on one container, carried out and judged.
//!
//! What the engine or a tool failed to do leaves the container as it was: that is nobody's fault and stays owed. What a
//! container makes of an action is its own: it is healthy afterwards, or it is not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::container::{Container, State};
use crate::engine::{Containers, EngineError};
use crate::gate::{Gate, LINES, PATIENCE, ill, judge, judge_reload, judge_start, told};
use crate::tail::last_lines;

/// How often a container is looked at that the engine may be starting, though its answer never came.
const GLANCE: Duration = Duration::from_millis(250);

/// What is done to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// A signal, e.g. `SIGHUP`; it runs on.
    Signal(String),
    /// A command inside it; it runs on.
    Exec(Vec<String>),
    /// It is restarted.
    Restart,
    /// It is started, having been stopped.
    Start,
    /// It is stopped and removed.
    Remove,
    /// Compose makes it anew, or for the first time. Afterwards the container of that service counts, whatever its id.
    Recreate {
        /// The compose file.
        file: PathBuf,
        /// The compose project.
        project: String,
        /// The service of that project.
        service: String,
    },
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// It was carried out and the container is healthy. After [`How::Recreate`], the same id and start as before say that
    /// compose found nothing to change.
    Healthy {
        /// The container, another one when it was made anew.
        id: String,
        /// When it was last started, as the engine writes it.
        started: String,
    },
    /// There is nothing to act on any more.
    Gone,
    /// The engine or a tool did not do it, or it cannot be told: not the container's fault, and still owed.
    NotTried {
        /// Why.
        reason: String,
    },
    /// It was carried out and the container is not well.
    Unhealthy {
        /// What was seen.
        reason: String,
        /// The last lines that the container, its command or compose wrote. They may hold secrets.
        log: Vec<String>,
    },
}

/// Does it, and waits for the health of the container. `id` is `None` for one that compose has not made yet.
pub async fn act(engine: &impl Containers, name: &str, id: Option<&str>, how: &How, gate: &Gate) -> Acted {
    let before = match id {
        Some(id) => match engine.look(id).await {
            Ok(before) => before,
            Err(error) => return Acted::NotTried { reason: told(&error) },
        },
        None => None,
    };
    match (how, before) {
        (How::Recreate { file, project, service }, before) => {
            recreate(engine, before.as_ref(), (file, project, service), gate).await
        }
        (_, None) if id.is_none() => Acted::NotTried { reason: format!("there is no container of {name}") },
        (_, None) => Acted::Gone,
        (How::Signal(signal), Some(before)) => match engine.signal(&before, signal).await {
            Ok(()) => judge_reload(engine, &before, gate).await,
            Err(error) => failed(engine, &before, error).await,
        },
        (How::Exec(command), Some(before)) => execute(engine, &before, command, gate).await,
        (How::Restart, Some(before)) => match engine.restart(&before).await {
            Ok(()) => judge_start(engine, &before.id, Some(&before), gate).await,
            Err(error) => started_anyway(engine, &before, error, gate).await,
        },
        // Starting one that runs does nothing: somebody else started it, and that is enough.
        (How::Start, Some(before)) if before.state == State::Running => judge(engine, &before.id, "", gate).await,
        (How::Start, Some(before)) => match engine.start(&before).await {
            Ok(()) => judge_start(engine, &before.id, Some(&before), gate).await,
            Err(error) => started_anyway(engine, &before, error, gate).await,
        },
        (How::Remove, Some(before)) => match engine.remove(&before).await {
            Ok(()) => Acted::Gone,
            Err(error) => match engine.look(&before.id).await {
                Ok(None) => Acted::Gone,
                Ok(Some(_)) | Err(_) => Acted::NotTried { reason: told(&error) },
            },
        },
    }
}

async fn execute(engine: &impl Containers, before: &Container, command: &[String], gate: &Gate) -> Acted {
    match engine.execute(before, command, gate.limit).await {
        Ok(ended) if ended.code == 0 => judge_reload(engine, before, gate).await,
        Ok(ended) => Acted::Unhealthy {
            reason: format!("`{}` ended with code {}", command.join(" "), ended.code),
            log: last_lines(&ended.output, LINES),
        },
        Err(error @ EngineError::NotEnded { .. }) => ill(engine, &before.id, error.to_string()).await,
        Err(error) => failed(engine, before, error).await,
    }
}

/// A start that the engine did not confirm. Its answer may have been lost, and the container been started.
async fn started_anyway(engine: &impl Containers, before: &Container, error: EngineError, gate: &Gate) -> Acted {
    let begun = Instant::now();
    loop {
        match engine.look(&before.id).await {
            Ok(None) => return Acted::Gone,
            Ok(Some(now)) if now.started != before.started => {
                return judge_start(engine, &before.id, Some(before), gate).await;
            }
            // Nothing has come of it.
            Ok(Some(now)) if is_up(&now) || !is_up(before) => return failed(engine, before, error).await,
            Ok(Some(_)) if matches!(error, EngineError::Refused { .. }) => {
                return failed(engine, before, error).await;
            }
            // It was stopped, and may be started at this moment.
            Ok(Some(_)) | Err(_) if begun.elapsed() >= PATIENCE => {
                return Acted::NotTried { reason: told(&error) };
            }
            Ok(Some(_)) | Err(_) => sleep(GLANCE).await,
        }
    }
}

/// Whose fault it is that the engine did not do what it was asked.
async fn failed(engine: &impl Containers, before: &Container, error: EngineError) -> Acted {
    let reason = told(&error);
    if !matches!(error, EngineError::Refused { .. }) {
        return Acted::NotTried { reason };
    }
    match engine.look(&before.id).await {
        Ok(None) => Acted::Gone,
        // The engine tried, and says in the container and in its answer why it could not.
        Ok(Some(now)) if is_down_by(&now, before, &reason) => ill(engine, &before.id, reason).await,
        Ok(Some(_)) | Err(_) => Acted::NotTried { reason },
    }
}

/// Whether the container is down now because of what was tried.
fn is_down_by(now: &Container, before: &Container, reason: &str) -> bool {
    let has_failed_anew = !now.start_error.is_empty()
        && (now.start_error != before.start_error || reason.contains(now.start_error.as_str()));
    !is_up(now) && (is_up(before) || has_failed_anew)
}

fn is_up(container: &Container) -> bool {
    match container.state {
        State::Running | State::Restarting | State::Paused => true,
        State::Exited { .. } | State::Created => false,
    }
}

async fn recreate(
    engine: &impl Containers,
    before: Option<&Container>,
    (file, project, service): (&Path, &str, &str),
    gate: &Gate,
) -> Acted {
    // The old container has to stop first.
    let limit = gate.limit + before.map_or(Duration::ZERO, |before| before.stop_grace);
    let services = [service.to_owned()];
    let mut outcome = engine.compose_up(file, project, &services, limit).await;
    if outcome.as_ref().is_ok_and(|ended| ended.code != 0) {
        // Compose tells trouble of the engine like trouble with its file. Only the second is still there when asked again.
        outcome = engine.compose_up(file, project, &services, limit).await;
    }
    let now = match of_service(engine, project, service).await {
        Ok(now) => now,
        // With the engine away nothing is known, whatever compose says.
        Err(error) => return Acted::NotTried { reason: told(&error) },
    };
    let is_as_before = |now: &Container| before.is_some_and(|b| b.id == now.id && b.started == now.started);
    match (outcome, now) {
        (Ok(ended), _) if ended.code != 0 => Acted::Unhealthy {
            reason: format!("compose ended with code {}", ended.code),
            log: last_lines(&ended.output, LINES),
        },
        (Ok(_), Some(now)) if is_as_before(&now) && is_up(&now) => Acted::Healthy { id: now.id, started: now.started },
        (Ok(_), Some(now)) => judge_start(engine, &now.id, before, gate).await,
        (Ok(_), None) => Acted::Gone,
        // Compose did not end, and has done it nevertheless.
        (Err(EngineError::NotEnded { .. }), Some(now)) if is_up(&now) && !is_as_before(&now) => {
            judge_start(engine, &now.id, before, gate).await
        }
        (Err(error), _) => Acted::NotTried { reason: told(&error) },
    }
}

/// The container of a compose service; the first of several.
async fn of_service(engine: &impl Containers, project: &str, service: &str) -> Result<Option<Container>, EngineError> {
    let all = engine
        .list(|seen| {
            let is_one_off = seen.labels.get("com.docker.compose.oneoff").is_some_and(|oneoff| oneoff == "True");
            !is_one_off && seen.compose() == Some((project, service))
        })
        .await?;
    let number = |container: &Container| -> u32 {
        let number = container.labels.get("com.docker.compose.container-number");
        number.and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
    };
    Ok(all.into_iter().min_by_key(number))
}
