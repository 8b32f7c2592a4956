//! The Docker engine on its socket, through bollard.

mod describe;
mod execute;
mod try_out;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerSummary, MountPoint};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListVolumesOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, RestartContainerOptions,
    StartContainerOptions, StopContainerOptions,
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use self::describe::Devices;
use crate::compose::{self, Caller};
use crate::container::{Container, Glimpse, Summary};
use crate::engine::{Containers, Ended, EngineError};
use crate::tail::{Tail, last_lines};

/// How long the engine may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);

/// How long it may take to make, start or remove a container, beyond the grace of one that has to stop first.
const DEED: Duration = Duration::from_secs(30);

/// Containers that are looked at side by side.
const SIDE_BY_SIDE: usize = 4;

/// Marks containers of our own that try something out; its value is the name of the container that they are made like.
const CHECK_LABEL: &str = "config-follower.check-of";

/// A Docker engine.
#[derive(Debug, Clone)]
pub struct Docker {
    socket: PathBuf,
    /// Where compose is looked for, as in `PATH`; there where nothing is said.
    programs: Option<OsString>,
    compose: Arc<compose::Known>,
    at_work: compose::AtWork,
}

impl Docker {
    /// The engine on a Unix socket; nothing is asked yet, so it may be down.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), programs: None, compose: Arc::default(), at_work: Arc::default() }
    }

    /// Looks for compose in these folders, written as in `PATH`, and not in those of the environment.
    #[must_use]
    pub fn with_programs_in(self, folders: &OsStr) -> Self {
        Self { programs: Some(folders.to_owned()), compose: Arc::default(), ..self }
    }

    /// A connection that speaks the engine's version; made anew for each piece of work, as engines get upgraded.
    async fn connect(&self, limit: Duration) -> Result<Client, EngineError> {
        let unreachable = |source: Error| unreachable(&self.socket, source);
        let seconds = limit.as_secs() + 1;
        let path = self.socket.to_string_lossy();
        let bollard = bollard::Docker::connect_with_unix(&path, seconds, bollard::API_DEFAULT_VERSION);
        let bollard = bollard.map_err(unreachable)?;
        let bollard = within(ANSWER, "say its version", bollard.negotiate_version()).await?.map_err(unreachable)?;
        Ok(Client { bollard, socket: self.socket.clone() })
    }
}

/// A connection, and how its errors are told.
struct Client {
    bollard: bollard::Docker,
    socket: PathBuf,
}

impl Client {
    /// Waits for an answer.
    async fn get<T>(
        &self,
        limit: Duration,
        action: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        within(limit, action, work).await?.map_err(|source| self.fault(limit, action, source))
    }

    /// The same, where the engine's answer may be that there is no such thing.
    async fn find<T>(
        &self,
        limit: Duration,
        action: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, EngineError> {
        match within(limit, action, work).await? {
            Ok(found) => Ok(Some(found)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(source) => Err(self.fault(limit, action, source)),
        }
    }

    fn fault(&self, limit: Duration, action: &str, source: Error) -> EngineError {
        let action = action.to_owned();
        match source {
            Error::RequestTimeoutError => EngineError::TooSlow { action, limit },
            Error::IOError { .. } | Error::HyperResponseError { .. } | Error::HyperLegacyError { .. } => {
                unreachable(&self.socket, source)
            }
            Error::DockerResponseServerError { message, .. } => {
                EngineError::Refused { action, source: message.trim().into() }
            }
            other => EngineError::Refused { action, source: Box::new(other) },
        }
    }

    async fn inspect(&self, id: String, name: &str, devices: &Devices) -> Result<Option<Container>, EngineError> {
        check_name(&id)?;
        let answer = self.bollard.inspect_container(&id, None::<InspectContainerOptions>);
        let answer = self.find(ANSWER, &format!("inspect {name}"), answer).await?;
        Ok(answer.map(|answer| describe::container(id, answer, devices)))
    }

    /// What the volumes among `points` are other names of; nothing is asked when there is none.
    async fn devices(&self, mut points: impl Iterator<Item = &MountPoint>) -> Result<Devices, EngineError> {
        if !points.any(describe::is_volume) {
            return Ok(Devices::new());
        }
        let local = ListVolumesOptionsBuilder::new().filters(&HashMap::from([("driver", vec!["local"])])).build();
        let answer = self.get(ANSWER, "list its volumes", self.bollard.list_volumes(Some(local))).await?;
        Ok(describe::devices(answer.volumes.unwrap_or_default()))
    }

    async fn summaries(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let all = ListContainersOptionsBuilder::new().all(true).build();
        self.get(ANSWER, "list its containers", self.bollard.list_containers(Some(all))).await
    }
}

impl Containers for Docker {
    async fn list(&self, matters: impl Fn(&Summary) -> bool) -> Result<Vec<Container>, EngineError> {
        let client = self.connect(ANSWER).await?;
        let summaries = client.summaries().await?;
        let devices = client.devices(summaries.iter().flat_map(|summary| summary.mounts.iter().flatten())).await?;
        let chosen = summaries.into_iter().filter_map(|summary| {
            let summary_labels = describe::labels(summary.labels);
            let is_check = summary_labels.contains_key(CHECK_LABEL);
            let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            let seen = Summary {
                name: describe::plain(&name).to_owned(),
                mounts: describe::mounts(summary.mounts.unwrap_or_default(), &devices),
                labels: summary_labels,
            };
            (!is_check && matters(&seen)).then_some((summary.id?, seen.name))
        });
        let (client, devices) = (&client, &devices);
        let looks = chosen.map(|(id, name)| async move { client.inspect(id, &name, devices).await });
        let looks = futures_util::stream::iter(looks).buffered(SIDE_BY_SIDE);
        // One that went since it was listed is no container of the machine any more.
        looks.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }

    async fn states(&self) -> Result<BTreeMap<String, Glimpse>, EngineError> {
        let summaries = self.connect(ANSWER).await?.summaries().await?;
        Ok(summaries.into_iter().filter_map(describe::glimpse).collect())
    }

    async fn news_of(&self, names: &[String]) -> Result<(), EngineError> {
        let client = self.connect(ANSWER).await?;
        let mut filters = HashMap::from([
            ("type", vec!["container"]),
            ("event", vec!["start", "die", "destroy", "pause", "unpause", "health_status: unhealthy"]),
        ]);
        filters.insert("container", names.iter().map(String::as_str).collect());
        let events = client.bollard.events(Some(EventsOptionsBuilder::new().filters(&filters).build()));
        match std::pin::pin!(events).next().await {
            Some(Ok(_)) => Ok(()),
            Some(Err(source)) => Err(client.fault(ANSWER, "tell its events", source)),
            None => Err(EngineError::Refused {
                action: "tell its events".to_owned(),
                source: "it ended the connection".into(),
            }),
        }
    }

    async fn look(&self, id: &str) -> Result<Option<Container>, EngineError> {
        check_name(id)?;
        let client = self.connect(ANSWER).await?;
        let answer = client.bollard.inspect_container(id, None::<InspectContainerOptions>);
        let Some(answer) = client.find(ANSWER, &format!("inspect {id}"), answer).await? else { return Ok(None) };
        let devices = client.devices(answer.mounts.iter().flatten()).await?;
        Ok(Some(describe::container(id.to_owned(), answer, &devices)))
    }

    async fn restart(&self, container: &Container) -> Result<(), EngineError> {
        check_name(&container.id)?;
        let limit = container.stop_grace + DEED;
        let client = self.connect(limit).await?;
        // Without `t` the engine grants the container's own grace.
        let restarted = client.bollard.restart_container(&container.id, None::<RestartContainerOptions>);
        client.get(limit, &format!("restart {}", container.name), restarted).await
    }

    async fn stop(&self, container: &Container) -> Result<(), EngineError> {
        check_name(&container.id)?;
        let limit = container.stop_grace + DEED;
        let client = self.connect(limit).await?;
        let stopped = client.bollard.stop_container(&container.id, None::<StopContainerOptions>);
        client.get(limit, &format!("stop {}", container.name), stopped).await
    }

    async fn start(&self, container: &Container) -> Result<(), EngineError> {
        check_name(&container.id)?;
        let client = self.connect(DEED).await?;
        let started = client.bollard.start_container(&container.id, None::<StartContainerOptions>);
        client.get(DEED, &format!("start {}", container.name), started).await
    }

    async fn remove(&self, container: &Container) -> Result<(), EngineError> {
        check_name(&container.id)?;
        let limit = container.stop_grace + DEED;
        let client = self.connect(limit).await?;
        let (stop, remove) = (format!("stop {}", container.name), format!("remove {}", container.name));
        let stopped = client.bollard.stop_container(&container.id, None::<StopContainerOptions>);
        if client.find(limit, &stop, stopped).await?.is_none() {
            return Ok(());
        }
        let volumes_stay = RemoveContainerOptionsBuilder::new().v(false).force(false).build();
        let removed = client.bollard.remove_container(&container.id, Some(volumes_stay));
        client.find(DEED, &remove, removed).await.map(drop)
    }

    async fn signal(&self, container: &Container, signal: &str) -> Result<(), EngineError> {
        check_name(&container.id)?;
        let client = self.connect(ANSWER).await?;
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let sent = client.bollard.kill_container(&container.id, Some(options));
        client.get(ANSWER, &format!("send {signal} to {}", container.name), sent).await
    }

    async fn execute(&self, container: &Container, command: &[String], limit: Duration) -> Result<Ended, EngineError> {
        check_name(&container.id)?;
        execute::execute(&self.connect(limit.max(ANSWER)).await?, container, command, limit).await
    }

    async fn try_out(
        &self,
        container: &Container,
        command: &[String],
        swaps: &[(PathBuf, PathBuf)],
        limit: Duration,
    ) -> Result<Ended, EngineError> {
        check_name(&container.id)?;
        try_out::try_out(&self.connect(limit.max(DEED)).await?, container, command, swaps, limit).await
    }

    async fn sweep(&self) -> Result<(), EngineError> {
        let client = self.connect(DEED).await?;
        let ours = HashMap::from([("label", vec![CHECK_LABEL])]);
        let all = ListContainersOptionsBuilder::new().all(true).filters(&ours).build();
        let left = client.get(ANSWER, "list its containers", client.bollard.list_containers(Some(all))).await?;
        for id in left.into_iter().filter_map(|summary| summary.id) {
            try_out::discard(&client, &id).await?;
        }
        Ok(())
    }

    async fn last_lines(&self, id: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        check_name(id)?;
        let client = self.connect(ANSWER).await?;
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let log = async {
            let mut log = client.bollard.logs(id, Some(options));
            let mut tail = Tail::default();
            while let Some(piece) = log.try_next().await? {
                tail.push(piece.as_ref());
            }
            Ok(tail.text())
        };
        Ok(last_lines(&client.get(ANSWER, &format!("show the log of {id}"), log).await?, lines))
    }

    async fn settle(&self) {
        drop(self.at_work.write().await);
    }

    async fn compose_up(
        &self,
        file: &Path,
        project: &str,
        services: &[String],
        limit: Duration,
    ) -> Result<Ended, EngineError> {
        check_name(project)?;
        services.iter().try_for_each(|service| check_name(service))?;
        compose::up(
            &Caller {
                socket: &self.socket,
                programs: self.programs.as_deref(),
                known: &self.compose,
                at_work: &self.at_work,
            },
            file,
            project,
            services,
            limit,
        )
        .await
    }
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

fn unreachable(socket: &Path, source: Error) -> EngineError {
    EngineError::Unreachable { socket: socket.to_owned(), source: Box::new(source) }
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
