//! What is asked of an engine, and how it fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Container, Glimpse, Summary};

/// An engine that runs containers. Every question and every deed has a time limit.
#[allow(async_fn_in_trait, reason = "used with concrete types on one thread; nobody needs the futures to be Send")]
pub trait Containers {
    /// Every container of the machine, running or not, for which `matters` holds. About any other container nothing is
    /// asked, so one that is stuck is in nobody's way. Containers of [`Containers::try_out`] are never among them.
    async fn list(&self, matters: impl Fn(&Summary) -> bool) -> Result<Vec<Container>, EngineError>;

    /// Every container of the machine and what it is doing, by name: one question in all, and none about each container.
    async fn states(&self) -> Result<BTreeMap<String, Glimpse>, EngineError>;

    /// Waits until one of these containers was started, ended, removed or fell ill.
    async fn news_of(&self, names: &[String]) -> Result<(), EngineError>;

    /// One container; `None` when it is gone.
    async fn look(&self, id: &str) -> Result<Option<Container>, EngineError>;

    /// Stops a container, with its own grace before it is killed, and starts it; starts one that is stopped.
    async fn restart(&self, container: &Container) -> Result<(), EngineError>;

    /// Stops a container, with its own grace before it is killed.
    async fn stop(&self, container: &Container) -> Result<(), EngineError>;

    /// Starts a container that is stopped.
    async fn start(&self, container: &Container) -> Result<(), EngineError>;

    /// Stops a container as [`Containers::stop`] does and removes it; its volumes stay. One that is gone is removed.
    async fn remove(&self, container: &Container) -> Result<(), EngineError>;

    /// Sends a signal, e.g. `SIGHUP`, to the first process of a container.
    async fn signal(&self, container: &Container, signal: &str) -> Result<(), EngineError>;

    /// Runs a command inside a container and waits for its end.
    async fn execute(&self, container: &Container, command: &[String], limit: Duration) -> Result<Ended, EngineError>;

    /// Runs a command in a container of its own, made like `container`: the same image, environment, user, working
    /// folder, networks and mounts, all of them read-only. Where the source of a mount is the first path of a pair of
    /// `swaps`, the second is mounted instead; a folder that the service writes to is an empty one here. It is waited for,
    /// and removed whatever happens.
    async fn try_out(
        &self,
        container: &Container,
        command: &[String],
        swaps: &[(PathBuf, PathBuf)],
        limit: Duration,
    ) -> Result<Ended, EngineError>;

    /// Waits until no [`Containers::compose_up`] is at work that nobody waits for any more: half of one is worse than all.
    async fn settle(&self);

    /// Removes the containers of [`Containers::try_out`] that a crash left behind.
    async fn sweep(&self) -> Result<(), EngineError>;

    /// The last lines that a container wrote, the oldest first.
    async fn last_lines(&self, id: &str, lines: usize) -> Result<Vec<String>, EngineError>;

    /// Lets compose make what is missing of `services` and make anew what differs from `file`; neither builds images nor
    /// touches other services. With `docker compose`, or `docker-compose` where that is missing.
    async fn compose_up(
        &self,
        file: &Path,
        project: &str,
        services: &[String],
        limit: Duration,
    ) -> Result<Ended, EngineError>;
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: i64,
    /// The last 8 KiB of what it wrote, standard output and error together; bytes that are no UTF-8 are replaced.
    pub output: String,
}

/// The engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers, or the connection broke.
    #[error("cannot reach the Docker engine at `{}` (is it running, and may this user use it?)", socket.display())]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered that it will not.
    #[error("the Docker engine cannot {action}")]
    Refused {
        /// What was asked, e.g. `restart core`.
        action: String,
        /// Its answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not answer in time; it may still be at it.
    #[error("the Docker engine took longer than {} s to {action}: see `docker ps` and the engine's log", limit.as_secs())]
    TooSlow {
        /// What was asked.
        action: String,
        /// How long it had.
        limit: Duration,
    },
    /// A command did not end in time, which is its own fault and not the engine's.
    #[error("{command} did not end within {} s", limit.as_secs())]
    NotEnded {
        /// What was run and where, e.g. `` `nginx -t` in nginx ``.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// The text cannot be a container's name or id, and would be another request if it were sent.
    #[error("`{0}` is no container's name")]
    NoName(String),
    /// Compose is not installed.
    #[error("there is neither `docker compose` nor `docker-compose` here: install one of them, or run `{by_hand}`")]
    NoCompose {
        /// What compose would have been told.
        by_hand: String,
    },
}
