//! What is asked of an engine, and how it fails.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Container, Mount};

/// An engine that runs containers.
#[allow(async_fn_in_trait, reason = "used with concrete types on one thread; nobody needs the futures to be Send")]
pub trait Containers {
    /// Every container of the machine, running or not, that has a mount for which `matters` holds. About any other
    /// container nothing is asked, so one that is stuck is in nobody's way.
    async fn list(&self, matters: impl Fn(&Mount) -> bool) -> Result<Vec<Container>, EngineError>;

    /// One container; `None` when it is gone.
    async fn look(&self, id: &str) -> Result<Option<Container>, EngineError>;

    /// Stops a container, with its own grace before it is killed, and starts it; starts one that is stopped.
    async fn restart(&self, container: &Container) -> Result<(), EngineError>;
}

/// The engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers.
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
    /// The text cannot be a container's name or id, and would be another request if it were sent.
    #[error("`{0}` is no container's name")]
    NoName(String),
}
