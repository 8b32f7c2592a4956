//! Three columns that are never confused, for each service: what is wanted, what is on disk, what runs.

use pconf_names::RevisionId;
use serde::Serialize;

use crate::debt::DebtState;
use crate::ledger::Ledger;
use crate::observed::{Container, ContainerState};

/// Where one service stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The container's name.
    pub service: String,
    /// The newest revision that the leader has named.
    pub desired: Option<RevisionId>,
    /// The revision whose files are all on disk; `None` while they are being written.
    pub on_disk: Option<RevisionId>,
    /// The revision that it has taken; `None` while it does not run, or where nobody knows.
    pub running: Option<RevisionId>,
    /// Why these differ, where they do.
    pub reason: Option<String>,
}

impl Ledger {
    /// Where each service that reads files of ours stands, sorted by name.
    #[must_use]
    pub fn standing(&self, desired: Option<RevisionId>, containers: &[Container]) -> Vec<Standing> {
        let on_disk = self.on_disk();
        let mut all: Vec<Standing> = containers
            .iter()
            .filter(|container| self.files.keys().any(|path| container.reads_or_is_made_from(path)))
            .map(|container| {
                let taken = self.services.get(&container.name).and_then(|taken| taken.revision);
                let debt = self.owed.get(&container.name);
                let owed = debt.map(|debt| match &debt.state {
                    DebtState::Failed { reason } => reason.clone(),
                    DebtState::Since { .. } if debt.has_been_taken(container) => "not seen to be well yet".to_owned(),
                    DebtState::Open | DebtState::Since { .. } => "has not taken the new files yet".to_owned(),
                });
                let (running, reason) = match (container.state, owed) {
                    (ContainerState::Died, owed) => (None, Some(owed.unwrap_or_else(|| "has died".to_owned()))),
                    (ContainerState::Stopped, _) => (None, Some("stopped by its operator".to_owned())),
                    // Whether one that was acted on has taken the new files is not known before that is seen.
                    (ContainerState::Up, Some(owed)) => {
                        (taken.filter(|_| debt.is_some_and(|debt| debt.is_as_before(container))), Some(owed))
                    }
                    // What it reads has not changed since.
                    (ContainerState::Up, None) => (on_disk.or(taken), self.gap(desired)),
                };
                Standing { service: container.name.clone(), desired, on_disk, running, reason }
            })
            .collect();
        all.sort_unstable_by(|a, b| a.service.cmp(&b.service));
        all
    }

    /// Why the machine is not at `desired`, where it is not.
    #[must_use]
    pub fn gap(&self, desired: Option<RevisionId>) -> Option<String> {
        if let Some(suspended) = &self.suspended {
            return Some(format!("suspended: {}", suspended.reason));
        }
        match &self.quarantined {
            Some(known) if desired.is_none_or(|desired| desired <= known.revision.revision) => {
                Some(format!("{} is not taken: {}", known.revision.revision, known.reason))
            }
            _ if desired == self.on_disk() => None,
            _ => desired.map(|desired| format!("{desired} is not taken yet")),
        }
    }
}
