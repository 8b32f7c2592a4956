//! What only the publisher of a running leader can do, on its way there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use pconf_names::{MachineName, RoleName, Span};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::fleet_plan::PlanHash;
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
    /// Only if the plan of this hash still holds.
    pub(crate) plan: Option<String>,
    /// It may change more than is usual.
    pub(crate) accept: bool,
    /// To these machines only, until the rollout is resumed.
    pub(crate) machines: Vec<MachineName>,
    /// To the machines of these roles only, likewise.
    pub(crate) roles: Vec<RoleName>,
    /// To the machines on which these services are acted on only, likewise.
    pub(crate) services: Vec<String>,
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
    /// What that means for the machines of a platform. `hash` tells what the plan's hash is now, `acting` which machines act on
    /// a service.
    pub(crate) fn terms(
        &self,
        machines: &BTreeMap<&MachineName, &RoleName>,
        hash: impl FnOnce() -> anyhow::Result<PlanHash>,
        acting: impl Fn(&str) -> anyhow::Result<BTreeSet<MachineName>>,
    ) -> anyhow::Result<Terms> {
        if let Some(planned) = &self.plan {
            let moved = hash()?.moved_since(&planned.parse()?);
            let way_out = "look at `config-leader plan` again, and apply that";
            ensure!(moved.is_empty(), "the plan does not hold any more: {} moved since; {way_out}", moved.join(", "));
        }
        for name in &self.machines {
            ensure!(machines.contains_key(name), "`{name}` is no machine of this platform");
        }
        let mut only: BTreeSet<MachineName> = self.machines.iter().cloned().collect();
        for role in &self.roles {
            let of_role = machines.iter().filter(|(_, known)| *known == &role).map(|(name, _)| (*name).clone());
            let before = only.len();
            only.extend(of_role);
            let is_known = only.len() > before || machines.values().any(|known| *known == role);
            ensure!(is_known, "no machine has the role `{role}`");
        }
        for service in &self.services {
            let acting = acting(service)?;
            ensure!(
                !acting.is_empty(),
                "nothing is done to a service `{service}` on any machine, for all that they told"
            );
            only.extend(acting);
        }
        let confirm_within = self.confirm_within.map(|span| span.seconds);
        Ok(Terms { only: (!only.is_empty()).then_some(only), confirm_within })
    }
}
