//! The health gate: whether a container took what was done to it.
//!
//! It is asked again and again until it is healthy, is known to be ill, or the limit has passed. Trouble of the engine is
//! no illness of the container.

use std::error::Error;
use std::time::Duration;

use pconf_bundle::Health;
use tokio::time::{Instant, sleep};

use crate::act::Acted;
use crate::container::{Container, HealthState, State};
use crate::engine::Containers;
use crate::probe::{self, Answer};

/// How long a container has to run on that has neither a rule nor a HEALTHCHECK. A program that cannot read its
/// configuration usually ends within it.
const SETTLE: Duration = Duration::from_secs(3);

/// The first pause between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest; pauses grow up to it.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long the engine may be away before waiting for it is given up: a restart of the engine takes a few seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How many of its last lines are shown of a container that is ill.
pub(crate) const LINES: usize = 20;

/// What has to be seen of a container before it counts as healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The rule; the image's own HEALTHCHECK where there is none, else running on for three seconds.
    pub health: Option<Health>,
    /// How long it may take; also the limit of the command of an action.
    pub limit: Duration,
}

/// Waits until the container `id` is healthy after a start that is not the one of `since`, as the engine wrote it; with an
/// empty text any start will do. This is how a wait is resumed that a crash cut off: a container that was never started
/// anew is [`Acted::NotTried`].
pub async fn judge(engine: &impl Containers, id: &str, since: &str, gate: &Gate) -> Acted {
    let since = Some(since).filter(|since| !since.is_empty());
    Watch::new(gate, Past { since, ..Past::default() }).run(engine, id).await
}

/// Waits for the health of a container that was started, and is another one than `before` or was started anew.
pub(crate) async fn judge_start(engine: &impl Containers, id: &str, before: Option<&Container>, gate: &Gate) -> Acted {
    let past = match before.filter(|before| before.id == id) {
        Some(before) => Past { since: Some(&before.started), restarts: Some(before.restarts), reloaded: None },
        None => Past { restarts: Some(0), ..Past::default() },
    };
    Watch::new(gate, past).run(engine, id).await
}

/// Waits for the health of a container that took a change while it ran on.
pub(crate) async fn judge_reload(engine: &impl Containers, before: &Container, gate: &Gate) -> Acted {
    let past = Past { since: None, restarts: Some(before.restarts), reloaded: Some(before) };
    Watch::new(gate, past).run(engine, &before.id).await
}

/// What is known from before the action.
#[derive(Default)]
struct Past<'a> {
    /// The start that must not be the last one any more.
    since: Option<&'a str>,
    /// How often the engine had started it by itself.
    restarts: Option<i64>,
    /// All of it, when it took the change without a start.
    reloaded: Option<&'a Container>,
}

/// A wait.
struct Watch<'a> {
    gate: &'a Gate,
    past: Past<'a>,
    begun: Instant,
    seen: Option<Seen>,
}

/// What was seen so far.
struct Seen {
    /// Its last start.
    started: String,
    /// When that was first seen.
    at: Instant,
    /// How many starts were seen, the first included.
    starts: u32,
    /// The engine's count of its own starts, when nothing was amiss.
    restarts: i64,
}

/// What one look says.
enum Verdict {
    Healthy,
    Ill(String),
    /// This is missing.
    Wait(String),
    /// Nothing is missing but a proof that is too slow to insist on.
    WaitALittle,
    /// It is as it was before the action.
    AsBefore(String),
    /// It cannot be told.
    Unknown(String),
}

impl<'a> Watch<'a> {
    fn new(gate: &'a Gate, past: Past<'a>) -> Self {
        Self { gate, past, begun: Instant::now(), seen: None }
    }

    async fn run(mut self, engine: &impl Containers, id: &str) -> Acted {
        let limit = self.settle().map_or(self.gate.limit, |settle| self.gate.limit.max(settle));
        let (mut pause, mut answered) = (FIRST_PAUSE, self.begun);
        loop {
            let (now, verdict) = match engine.look(id).await {
                Ok(None) => return Acted::Gone,
                Ok(Some(now)) => {
                    answered = Instant::now();
                    let verdict = self.weigh(engine, &now).await;
                    (Some(now), verdict)
                }
                Err(error) if answered.elapsed() >= PATIENCE => return Acted::NotTried { reason: told(&error) },
                Err(error) => (None, Verdict::Unknown(told(&error))),
            };
            let is_over = self.begun.elapsed() >= limit;
            match (verdict, now) {
                (Verdict::Healthy, Some(now)) => return Acted::Healthy { id: now.id, started: now.started },
                (Verdict::WaitALittle, Some(now)) if is_over => {
                    return Acted::Healthy { id: now.id, started: now.started };
                }
                (Verdict::Ill(reason), _) => return ill(engine, id, reason).await,
                (Verdict::AsBefore(reason), _) => return Acted::NotTried { reason },
                (Verdict::Unknown(reason), _) if is_over => return Acted::NotTried { reason },
                (Verdict::Wait(missing), _) if is_over => {
                    return ill(engine, id, format!("not healthy after {} s: {missing}", limit.as_secs())).await;
                }
                _ => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// How long it has to run on, if that is the rule whatever the image says.
    fn settle(&self) -> Option<Duration> {
        match self.gate.health {
            None => Some(SETTLE),
            Some(Health::Running(seconds)) => Some(Duration::from_secs(u64::from(seconds))),
            Some(_) => None,
        }
    }

    async fn weigh(&mut self, engine: &impl Containers, now: &Container) -> Verdict {
        if self.past.since == Some(now.started.as_str()) {
            let doing = if now.state == State::Running { "runs on as before" } else { "is stopped as before" };
            return Verdict::AsBefore(format!("{doing} and was not started anew"));
        }
        let loops = self.loops(now);
        let log = format!("see `docker logs {}`", now.name);
        match now.state {
            State::Exited { .. } if !now.start_error.is_empty() => {
                Verdict::Ill(format!("could not be started: {}", now.start_error))
            }
            State::Exited { code, .. } => Verdict::Ill(format!("exited with code {code}: {log}")),
            State::Restarting => Verdict::Ill(format!("keeps dying and being started again: {log}")),
            _ if loops => Verdict::Ill(format!("keeps dying and being started again: {log}")),
            State::Paused => Verdict::Wait("it is paused".to_owned()),
            State::Created => Verdict::Wait("it was made and never started".to_owned()),
            State::Running => self.weigh_running(engine, now).await,
        }
    }

    /// Whether the engine, or somebody, starts it again and again.
    fn loops(&mut self, now: &Container) -> bool {
        let first = || Seen {
            started: now.started.clone(),
            at: Instant::now(),
            starts: 1,
            restarts: match self.past.restarts {
                // The engine counts from 0 again when somebody starts it.
                Some(before) if now.restarts < before => 0,
                Some(before) => before,
                None => now.restarts,
            },
        };
        let seen = self.seen.get_or_insert_with(first);
        if seen.started != now.started {
            *seen = Seen {
                started: now.started.clone(),
                at: Instant::now(),
                starts: seen.starts + 1,
                restarts: seen.restarts,
            };
        }
        // While a reload goes on, an operator may restart it; our own start is the one that is allowed otherwise.
        let allowed = if self.past.reloaded.is_some() { 2 } else { 1 };
        now.restarts > seen.restarts || seen.starts > allowed
    }

    async fn weigh_running(&self, engine: &impl Containers, now: &Container) -> Verdict {
        match (&self.gate.health, now.health) {
            (Some(Health::Running(seconds)), _) => self.weigh_settled(Duration::from_secs(u64::from(*seconds))),
            (Some(rule), _) => self.weigh_answer(engine, now, rule).await,
            (None, Some(health)) => self.weigh_check(now, health),
            (None, None) => self.weigh_settled(SETTLE),
        }
    }

    fn weigh_settled(&self, settle: Duration) -> Verdict {
        match &self.seen {
            Some(seen) if seen.at.elapsed() >= settle => Verdict::Healthy,
            _ => Verdict::Wait(format!("it has to run on for {} s", settle.as_secs())),
        }
    }

    async fn weigh_answer(&self, engine: &impl Containers, now: &Container, rule: &Health) -> Verdict {
        let left = self.gate.limit.saturating_sub(self.begun.elapsed());
        match probe::ask(engine, now, rule, left).await {
            Answer::No(reason) => Verdict::Wait(reason),
            Answer::Unknown(error) => Verdict::Unknown(told(&error)),
            // What answered may have died of it.
            Answer::Yes => match engine.look(&now.id).await {
                Ok(Some(after)) if after.state == State::Running && after.started == now.started => Verdict::Healthy,
                Ok(_) => Verdict::Wait("it answered and ended".to_owned()),
                Err(error) => Verdict::Unknown(told(&error)),
            },
        }
    }

    /// By the image's own HEALTHCHECK. The engine forgets its verdict at a start; after a reload it stands, so a check
    /// that began later is waited for.
    fn weigh_check(&self, now: &Container, health: HealthState) -> Verdict {
        let was = self.past.reloaded.and_then(|before| before.health);
        let is_new = self.past.reloaded.is_none_or(|before| now.passed != before.passed);
        match health {
            HealthState::Healthy if is_new => Verdict::Healthy,
            HealthState::Healthy => Verdict::WaitALittle,
            HealthState::Starting => Verdict::Wait("its HEALTHCHECK has not passed yet".to_owned()),
            HealthState::Unhealthy if was == Some(HealthState::Unhealthy) => {
                Verdict::Wait("its HEALTHCHECK goes on failing".to_owned())
            }
            HealthState::Unhealthy => Verdict::Ill("its HEALTHCHECK says that it is unhealthy".to_owned()),
        }
    }
}

/// Ill, with what the container said last.
pub(crate) async fn ill(engine: &impl Containers, id: &str, reason: String) -> Acted {
    // Without its log the reason still stands.
    let log = engine.last_lines(id, LINES).await.unwrap_or_default();
    Acted::Unhealthy { reason, log }
}

/// An error with all its causes.
pub(crate) fn told(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", told(source)))
}
