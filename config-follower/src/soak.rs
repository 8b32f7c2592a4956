//! After the last action: every service of the machine has to stay well for as long as the leader's rollout wants, before the
//! revision counts as running.

use std::time::Duration;

use pconf_bundle::{ServiceOutcome, ServiceReport, VerifiedBundle};
use pconf_containers::{Acted, Containers};
use pconf_daemon::Shutdown;
use pconf_plan::{Container, ContainerState, Manner};

use crate::cycle::Follower;

/// What came of it.
pub(crate) enum Soaked {
    /// All stayed well, or nobody asked for it.
    Well,
    /// This one did not.
    Ill(ServiceReport),
    /// The engine could not be asked.
    Unknown(String),
    /// The wish to end came first.
    Interrupted,
}

impl<C: Containers> Follower<C> {
    /// Watches the containers that run now.
    pub(crate) async fn soak(&self, goal: &VerifiedBundle, seen: &[Container], shutdown: &Shutdown) -> Soaked {
        let Some(span) = goal.healthy_for.map(Duration::from_secs) else { return Soaked::Well };
        let running = seen.iter().filter(|container| container.state == ContainerState::Up);
        let watched: Vec<(&Container, Manner)> =
            running.map(|container| (container, Manner::of(container, &goal.services))).collect();
        if !watched.is_empty() {
            tracing::info!(seconds = span.as_secs(), services = watched.len(), "every service has to stay well");
        }
        let mut shutdown = shutdown.clone();
        // Cancel-safe: it only looks.
        let outcome = tokio::select! {
            outcome = self.machine.stay_well(&watched, span) => outcome,
            () = shutdown.requested() => return Soaked::Interrupted,
        };
        let Some((name, acted)) = outcome else { return Soaked::Well };
        match acted {
            Acted::Unhealthy { reason, log } => {
                let log = log.iter().map(|line| goal.masks.hide(line)).collect();
                let reason = goal.masks.hide(&reason);
                Soaked::Ill(ServiceReport { log, ..ServiceReport::new(&name, ServiceOutcome::Failed, reason) })
            }
            Acted::NotTried { reason } => Soaked::Unknown(format!("`{name}`: {}", goal.masks.hide(&reason))),
            Acted::Healthy { .. } | Acted::Gone => Soaked::Well,
        }
    }
}
