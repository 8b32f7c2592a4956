//! The Docker engine on its socket, through bollard.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, MountPoint};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, RestartContainerOptions};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::container::{Container, Mount, State};
use crate::engine::{Containers, EngineError};

/// How long the engine may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);

/// How much longer than the container's own grace a restart may take.
const RESTART_MARGIN: Duration = Duration::from_secs(30);

/// What the engine grants a container that names no grace of its own.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A container may ask to be waited for without end; nobody waits longer than this.
const LONGEST_GRACE: Duration = Duration::from_mins(10);

/// Containers that are looked at side by side.
const SIDE_BY_SIDE: usize = 4;

/// A Docker engine.
#[derive(Debug, Clone)]
pub struct Docker {
    socket: PathBuf,
}

impl Docker {
    /// The engine on a Unix socket; nothing is asked yet, so it may be down.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// A connection that speaks the engine's version; made anew for each piece of work, as engines get upgraded.
    async fn connect(&self, limit: Duration) -> Result<bollard::Docker, EngineError> {
        let unreachable =
            |source: Error| EngineError::Unreachable { socket: self.socket.clone(), source: Box::new(source) };
        let client = bollard::Docker::connect_with_unix(
            &self.socket.to_string_lossy(),
            limit.as_secs(),
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(unreachable)?;
        within(ANSWER, "say its version", client.negotiate_version()).await?.map_err(unreachable)
    }
}

impl Containers for Docker {
    async fn list(&self, matters: impl Fn(&Mount) -> bool) -> Result<Vec<Container>, EngineError> {
        let client = self.connect(ANSWER).await?;
        let all = ListContainersOptionsBuilder::new().all(true).build();
        let summaries = within(ANSWER, "list its containers", client.list_containers(Some(all))).await?;
        let summaries = summaries.map_err(|source| refused("list its containers", source))?;
        let readers = summaries.into_iter().filter_map(|summary| {
            let does_matter = mounts(summary.mounts.unwrap_or_default()).iter().any(&matters);
            let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            does_matter.then_some((summary.id?, plain(&name).to_owned()))
        });
        let looks = readers.map(|(id, name)| inspect(&client, id, name));
        let looks = futures_util::stream::iter(looks).buffered(SIDE_BY_SIDE);
        // One that went since it was listed is no container of the machine any more.
        looks.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }

    async fn look(&self, id: &str) -> Result<Option<Container>, EngineError> {
        inspect(&self.connect(ANSWER).await?, id.to_owned(), id.to_owned()).await
    }

    async fn restart(&self, container: &Container) -> Result<(), EngineError> {
        check_name(&container.id)?;
        let limit = container.stop_grace + RESTART_MARGIN;
        let client = self.connect(limit).await?;
        let action = format!("restart {}", container.name);
        // Without `t` the engine grants the container's own grace.
        let restarted = client.restart_container(&container.id, None::<RestartContainerOptions>);
        within(limit, &action, restarted).await?.map_err(|source| refused(&action, source))
    }
}

async fn inspect(client: &bollard::Docker, id: String, name: String) -> Result<Option<Container>, EngineError> {
    check_name(&id)?;
    let action = format!("inspect {name}");
    match within(ANSWER, &action, client.inspect_container(&id, None::<InspectContainerOptions>)).await? {
        Ok(answer) => Ok(Some(container(id, answer))),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(source) => Err(refused(&action, source)),
    }
}

fn container(id: String, answer: ContainerInspectResponse) -> Container {
    let name = answer.name.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let code = state.exit_code.unwrap_or(0);
    let grace = answer.config.and_then(|config| config.stop_timeout);
    Container {
        id: answer.id.unwrap_or(id),
        name: plain(&name).to_owned(),
        state: match state.status {
            Some(ContainerStateStatusEnum::RUNNING) => State::Running,
            Some(ContainerStateStatusEnum::RESTARTING) => State::Restarting,
            Some(ContainerStateStatusEnum::PAUSED) => State::Paused,
            Some(ContainerStateStatusEnum::CREATED) => State::Created,
            _ => State::Exited { code },
        },
        started: state.started_at.unwrap_or_default(),
        mounts: mounts(answer.mounts.unwrap_or_default()),
        stop_grace: grace.map_or(DEFAULT_GRACE, |seconds| {
            u64::try_from(seconds).map_or(LONGEST_GRACE, Duration::from_secs).min(LONGEST_GRACE)
        }),
    }
}

/// A name without the slash that the engine writes before it.
fn plain(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

fn mounts(points: Vec<MountPoint>) -> Vec<Mount> {
    let mount = |point: MountPoint| {
        let source = point.source.filter(|source| source.starts_with('/'))?;
        Some(Mount { source: source.into(), destination: point.destination?.into() })
    };
    points.into_iter().filter_map(mount).collect()
}

/// Docker's alphabet for names and ids. bollard puts them into the path as they are, so `a/../b` would be sent as `b`.
fn check_name(name: &str) -> Result<(), EngineError> {
    let mut bytes = name.bytes();
    let is_good = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && name.len() <= 128;
    if is_good { Ok(()) } else { Err(EngineError::NoName(name.to_owned())) }
}

async fn within<T>(limit: Duration, action: &str, work: impl Future<Output = T>) -> Result<T, EngineError> {
    let too_slow = |_| EngineError::TooSlow { action: action.to_owned(), limit };
    tokio::time::timeout(limit, work).await.map_err(too_slow)
}

fn refused(action: &str, source: Error) -> EngineError {
    EngineError::Refused { action: action.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_reach_the_engine() {
        for good in ["core", "pryvio_core", "a.b-c", &"f".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a/../b", "..%2fb", "/core", "-core", "é", "a b", &"a".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
