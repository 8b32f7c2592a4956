//! What becomes of each container: restarted, left as its operator wants it, or not concerned.

use std::collections::BTreeSet;

use pconf_names::RelativePath;
use serde::Serialize;

use crate::ledger::{Debt, DebtState, Ledger};
use crate::observed::{Container, ContainerState};

/// A container to restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The changed files that it reads; never empty.
    pub files: BTreeSet<RelativePath>,
    /// Whether an earlier cycle owed it already.
    pub overdue: bool,
}

/// A container that is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The changed files that it would read.
    pub files: BTreeSet<RelativePath>,
}

/// The restarts that an earlier cycle owes when all files are in place; nothing else is looked at.
#[must_use]
pub fn owed_restarts(ledger: &Ledger, containers: &[Container]) -> (Vec<Restart>, Vec<Left>) {
    let (mut restarts, mut stopped) = (Vec::new(), Vec::new());
    for container in containers {
        match act(container, BTreeSet::new(), ledger.owed.get(&container.name)) {
            Act::Restart(restart) => restarts.push(restart),
            Act::LeaveStopped(left) => stopped.push(left),
            Act::Nothing => {}
        }
    }
    restarts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    stopped.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    (restarts, stopped)
}

/// What is done about one container.
pub(crate) enum Act {
    Nothing,
    Restart(Restart),
    LeaveStopped(Left),
}

/// What becomes of one container, for the files that change now (`causes`) and what is owed from before.
pub(crate) fn act(container: &Container, causes: BTreeSet<RelativePath>, debt: Option<&Debt>) -> Act {
    let debt = debt.filter(|debt| !is_paid(debt, container));
    let overdue = debt.is_some();
    let has_failed = debt.is_some_and(|debt| matches!(debt.state, DebtState::Failed { .. }));
    let mut files = causes;
    files.extend(debt.into_iter().flat_map(|debt| debt.files.iter().cloned()));
    if files.is_empty() {
        return Act::Nothing;
    }
    let name = container.name.clone();
    match container.state {
        ContainerState::Up => Act::Restart(Restart { id: container.id.clone(), name, files, overdue }),
        // It is down because of what we wrote, so it is ours to start.
        ContainerState::Stopped if has_failed => {
            Act::Restart(Restart { id: container.id.clone(), name, files, overdue })
        }
        ContainerState::Stopped => Act::LeaveStopped(Left { id: container.id.clone(), name, files }),
    }
}

pub(crate) fn is_paid(debt: &Debt, container: &Container) -> bool {
    match &debt.state {
        DebtState::Since { started } => *started != container.started,
        DebtState::Open | DebtState::Failed { .. } => false,
    }
}
