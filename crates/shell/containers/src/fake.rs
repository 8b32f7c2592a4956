//! A scripted engine, for what cannot be made to happen with a real one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Container, Containers, Ended, EngineError, Mount, State, Summary};

/// An engine in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Fake(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    containers: Vec<Container>,
    late: Vec<Container>,
    script: BTreeMap<String, Script>,
    restarts: Vec<String>,
    starts: u64,
    is_down: bool,
    does_blink: bool,
}

/// What happens when a container is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// It ends at once with this code.
    Dies(i64),
    /// The engine answers with an error.
    Errs,
    /// It is removed just before, so the engine answers with an error.
    Vanishes,
    /// It holds, but the next question about it gets an error.
    Blinks,
}

impl Fake {
    /// Adds a running container that mounts these folders of the host.
    pub fn add(&self, name: &str, sources: &[PathBuf]) {
        self.change(|inner| inner.containers.push(running(name, "before", sources)));
    }

    /// Adds one right after the next answer about all containers; one of the same name is made anew then.
    pub fn add_late(&self, name: &str, sources: &[PathBuf]) {
        self.change(|inner| inner.late.push(running(name, "late", sources)));
    }

    /// Sets what a container is doing.
    pub fn set_state(&self, name: &str, state: State) {
        self.change(|inner| {
            for container in inner.containers.iter_mut().filter(|container| container.name == name) {
                container.state = state;
            }
        });
    }

    /// Says what the restarts of a container come to; `None`: they hold.
    pub fn script(&self, name: &str, script: Option<Script>) {
        self.change(|inner| match script {
            Some(script) => drop(inner.script.insert(name.to_owned(), script)),
            None => drop(inner.script.remove(name)),
        });
    }

    /// Whether the engine answers at all.
    pub fn set_down(&self, is_down: bool) {
        self.change(|inner| inner.is_down = is_down);
    }

    /// The names of the containers that were restarted, in order.
    #[must_use]
    pub fn restarts(&self) -> Vec<String> {
        self.change(|inner| inner.restarts.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer<T>(&self, answer: impl FnOnce(&mut Inner) -> T) -> Result<T, EngineError> {
        self.change(|inner| if inner.is_down { Err(down()) } else { Ok(answer(inner)) })
    }
}

impl Containers for Fake {
    async fn list(&self, matters: impl Fn(&Summary) -> bool) -> Result<Vec<Container>, EngineError> {
        self.answer(|inner| {
            let mut answer = inner.containers.clone();
            answer.retain(|container| {
                let (name, mounts, labels) =
                    (container.name.clone(), container.mounts.clone(), container.labels.clone());
                matters(&Summary { name, mounts, labels })
            });
            for late in std::mem::take(&mut inner.late) {
                inner.containers.retain(|container| container.name != late.name);
                inner.containers.push(late);
            }
            answer
        })
    }

    async fn states(&self) -> Result<BTreeMap<String, State>, EngineError> {
        self.answer(|inner| inner.containers.iter().map(|each| (each.name.clone(), each.state)).collect())
    }

    async fn news_of(&self, _: &[String]) -> Result<(), EngineError> {
        std::future::pending().await
    }

    async fn look(&self, id: &str) -> Result<Option<Container>, EngineError> {
        self.answer(|inner| {
            if std::mem::take(&mut inner.does_blink) {
                return Err(down());
            }
            Ok(inner.containers.iter().find(|container| container.id == id).cloned())
        })?
    }

    async fn restart(&self, container: &Container) -> Result<(), EngineError> {
        self.answer(|inner| {
            inner.starts += 1;
            inner.restarts.push(container.name.clone());
            let script = inner.script.get(&container.name).copied();
            if script == Some(Script::Vanishes) {
                inner.containers.retain(|each| each.id != container.id);
            }
            inner.does_blink = script == Some(Script::Blinks);
            if matches!(script, Some(Script::Errs | Script::Vanishes)) {
                let action = format!("restart {}", container.name);
                return Err(EngineError::Refused { action, source: "driver failed".into() });
            }
            for each in inner.containers.iter_mut().filter(|each| each.id == container.id) {
                each.started = format!("start {}", inner.starts);
                each.state = match script {
                    Some(Script::Dies(code)) => State::Exited { code, died: true },
                    Some(Script::Errs | Script::Vanishes | Script::Blinks) | None => State::Running,
                };
            }
            Ok(())
        })?
    }

    async fn stop(&self, container: &Container) -> Result<(), EngineError> {
        self.restart(container).await
    }

    async fn start(&self, container: &Container) -> Result<(), EngineError> {
        self.restart(container).await
    }

    async fn remove(&self, _: &Container) -> Result<(), EngineError> {
        Err(down())
    }

    async fn signal(&self, _: &Container, _: &str) -> Result<(), EngineError> {
        Err(down())
    }

    async fn execute(&self, _: &Container, _: &[String], _: Duration) -> Result<Ended, EngineError> {
        Err(down())
    }

    async fn try_out(
        &self,
        _: &Container,
        _: &[String],
        _: &[(PathBuf, PathBuf)],
        _: Duration,
    ) -> Result<Ended, EngineError> {
        Err(down())
    }

    async fn sweep(&self) -> Result<(), EngineError> {
        self.answer(|_| ())
    }

    async fn last_lines(&self, _: &str, _: usize) -> Result<Vec<String>, EngineError> {
        self.answer(|_| Vec::new())
    }

    async fn compose_up(&self, _: &Path, _: &str, _: &[String], _: Duration) -> Result<Ended, EngineError> {
        Err(down())
    }
}

fn running(name: &str, started: &str, sources: &[PathBuf]) -> Container {
    let mounts =
        sources.iter().map(|source| Mount { source: source.clone(), destination: "/app/conf".into(), writable: false });
    Container {
        id: format!("{name}-{started}"),
        name: name.to_owned(),
        image: String::new(),
        state: State::Running,
        started: started.to_owned(),
        restarts: 0,
        start_error: String::new(),
        health: None,
        passed: None,
        mounts: mounts.collect(),
        stop_grace: Duration::from_secs(10),
        labels: BTreeMap::new(),
        addresses: Vec::new(),
    }
}

fn down() -> EngineError {
    EngineError::Unreachable { socket: "/fake.sock".into(), source: "connection refused".into() }
}
