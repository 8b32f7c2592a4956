//! What only the publisher of a running leader can do, on its way there.

use std::collections::BTreeSet;

use anyhow::ensure;
use pconf_names::{MachineName, RoleName, Span};
use pconf_publish::Publication;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::orders::{Actor, Outcome};
use crate::server::conductor::Terms;

/// Somebody wants something of the publisher and waits for what comes of it.
pub(crate) struct Wished {
    pub(crate) wish: Wish,
    pub(crate) actor: Actor,
    pub(crate) answer: oneshot::Sender<Outcome>,
}

/// What is wanted of the publisher.
pub(crate) enum Wish {
    /// That what is saved is published.
    Apply(Apply),
    /// Something of the rollout.
    Rollout(RolloutOrder),
}

/// How what is saved is to be published.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Apply {
    /// It may change more than is usual.
    pub(crate) accept: bool,
    /// To these machines only, until the rollout is resumed.
    pub(crate) machines: Vec<MachineName>,
    /// To the machines of these roles only, likewise.
    pub(crate) roles: Vec<RoleName>,
    /// Back again, unless it is confirmed within so long.
    pub(crate) confirm_within: Option<Span>,
    /// Why.
    pub(crate) message: Option<String>,
}

/// What an admin can say to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RolloutOrder {
    Pause,
    Resume,
    Abort,
    Confirm,
}

impl RolloutOrder {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pause => "rollout.pause",
            Self::Resume => "rollout.resume",
            Self::Abort => "rollout.abort",
            Self::Confirm => "rollout.confirm",
        }
    }
}

impl Apply {
    /// What that means for the machines of a revision.
    pub(crate) fn terms(&self, publication: &Publication) -> anyhow::Result<Terms> {
        let machines = &publication.machines;
        for name in &self.machines {
            ensure!(machines.contains_key(name), "`{name}` is no machine of this platform");
        }
        for role in &self.roles {
            ensure!(machines.values().any(|bundle| bundle.role == *role), "no machine has the role `{role}`");
        }
        let is_meant = |name: &MachineName, role: &RoleName| self.machines.contains(name) || self.roles.contains(role);
        let only: BTreeSet<MachineName> = machines
            .iter()
            .filter(|(name, bundle)| is_meant(name, &bundle.role))
            .map(|(name, _)| name.clone())
            .collect();
        let confirm_within = self.confirm_within.map(|span| span.seconds);
        Ok(Terms { only: (!only.is_empty()).then_some(only), confirm_within })
    }
}
