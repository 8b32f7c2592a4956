//! Whether a container stays well: looked at again and again, for as long as a rollout wants to be sure.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::act::Acted;
use crate::container::{Container, HealthState, State};
use crate::engine::{Containers, EngineError};
use crate::gate::{Gate, PATIENCE, ill};
use crate::probe::{self, Answer};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks at the container `id`, which is well now, until `span` has passed: [`Acted::Healthy`] when it was well all the time.
/// One that its operator removes, stops or pauses meanwhile, or that was not well to begin with, is [`Acted::Gone`]: it says
/// nothing about the change.
pub async fn stays_well(engine: &impl Containers, id: &str, gate: &Gate, span: Duration) -> Acted {
    let begun = Instant::now();
    let (mut first, mut answered): (Option<Container>, Instant) = (None, begun);
    loop {
        match engine.look(id).await {
            Ok(None) => return Acted::Gone,
            Ok(Some(now)) => {
                answered = Instant::now();
                let first = first.get_or_insert_with(|| now.clone());
                match look(engine, first, &now, gate).await {
                    Look::Well if begun.elapsed() >= span => {
                        return Acted::Healthy { id: now.id, started: now.started };
                    }
                    Look::SaysNothing => return Acted::Gone,
                    Look::Ill(reason) => return ill(engine, id, reason).await,
                    Look::Unknown(error) if answered.elapsed() >= PATIENCE => {
                        return Acted::NotTried { reason: error.to_string() };
                    }
                    Look::Well | Look::Unknown(_) => {}
                }
            }
            Err(error) if answered.elapsed() >= PATIENCE => return Acted::NotTried { reason: error.to_string() },
            Err(_) => {}
        }
        sleep(PAUSE.min(span)).await;
    }
}

/// What one look says.
enum Look {
    Well,
    Ill(String),
    SaysNothing,
    Unknown(EngineError),
}

async fn look(engine: &impl Containers, first: &Container, now: &Container, gate: &Gate) -> Look {
    let log = format!("see `docker logs {}`", now.name);
    match now.state {
        State::Running if now.restarts > first.restarts => Look::Ill(format!("was well and died since: {log}")),
        // An operator may start it anew.
        State::Running | State::Paused | State::Created if now.started != first.started => Look::SaysNothing,
        State::Running => match (&gate.health, now.health) {
            (Some(rule), _) => match probe::ask(engine, now, rule, gate.limit).await {
                Answer::Yes => Look::Well,
                Answer::No(reason) => Look::Ill(format!("was well and is not any more: {reason}")),
                Answer::Unknown(error) => Look::Unknown(error),
            },
            (None, Some(HealthState::Unhealthy)) if first.health == Some(HealthState::Unhealthy) => Look::SaysNothing,
            (None, Some(HealthState::Unhealthy)) => {
                Look::Ill("its HEALTHCHECK says that it is unhealthy by now".to_owned())
            }
            (None, Some(HealthState::Healthy | HealthState::Starting) | None) => Look::Well,
        },
        State::Exited { died: true, code } => Look::Ill(format!("was well and exited with code {code}: {log}")),
        State::Restarting => Look::Ill(format!("was well and keeps dying: {log}")),
        State::Exited { died: false, .. } | State::Paused | State::Created => Look::SaysNothing,
    }
}
