//! What a publication would do on every machine, before anything is done.
//!
//! The leader asks the planner of the followers about the bundle that each of them would get, and the machine as its
//! follower last told it: nothing is guessed, and what nobody has told is said to be unknown.

mod basis;
mod machine;
mod show;

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, UnixSeconds};
use pconf_names::{MachineName, RevisionId};
use pconf_platform::SecretId;
use pconf_publish::{Publication, Rollout, publish};
use serde::Serialize;

use crate::epoch;
use crate::folder::Folder;
use crate::inputs::{Inputs, Reader};
use crate::publication;
use crate::secrets::Purpose;
use crate::server::{kept_rollout, last_contacts};
use crate::snapshots;
use crate::terminal::Failure;
use basis::Basis;
pub(crate) use basis::PlanHash;
use machine::{Known, MachinePlan};

/// What a publication would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FleetPlan {
    /// Of all that the plan follows from.
    pub(crate) hash: PlanHash,
    /// The revision that every machine would get.
    revision: RevisionId,
    /// Whether it is one that would be published, and not the one that is.
    is_new: bool,
    /// Values that would be made with it.
    secrets: Vec<NewSecret>,
    machines: BTreeMap<MachineName, MachinePlan>,
    /// Machines that the platform would have no more.
    removed: Vec<MachineName>,
}

/// A value that would be made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NewSecret {
    id: SecretId,
    /// Whether it takes the place of another one: a certificate whose time has come.
    is_renewed: bool,
}

/// Plans what the folder's platform, or `text` in its place, would do now.
pub(crate) fn plan(folder: &Folder, text: Option<String>, now: UnixSeconds) -> Result<FleetPlan, Failure> {
    let mut reader = Reader::default();
    let inputs = match text {
        None => reader.read(folder, Purpose::Look)?,
        Some(text) => reader.read_as_if(folder, text, Purpose::Look)?,
    };
    let published = publication::read(folder)?;
    let before = published.as_ref().map(|published| (published.revision, published.digest));
    let policy = &inputs.looked.scene.platform().rollout;
    let next = publish(before, epoch::wanted(folder)?, inputs.evaluate()?, policy);
    let assigned = assigned(folder, published.as_ref())?;
    let is_new = next.is_some();
    let Some(goal) = next.or(published) else { return Err(anyhow::anyhow!("a platform publishes something").into()) };

    let mut basis = Basis::of(folder, &inputs)?;
    let contacts = last_contacts(folder)?;
    let mut machines = BTreeMap::new();
    for (name, bundle) in &goal.machines {
        let assigned = assigned.get(name);
        let told = snapshots::read(folder, name)?;
        basis.machine(name, assigned.map(|bundle| bundle.revision), told.as_ref().map(|told| &told.snapshot));
        let known = Known { assigned, told: told.as_ref(), contact: contacts.get(name).map(String::as_str), now };
        machines.insert(name.clone(), MachinePlan::new(bundle, &known));
    }
    let removed: BTreeSet<&MachineName> = assigned.keys().filter(|name| !goal.machines.contains_key(*name)).collect();
    for name in &removed {
        basis.machine(name, Some(assigned[*name].revision), None);
    }
    Ok(FleetPlan {
        hash: basis.hash(),
        revision: goal.revision,
        is_new,
        secrets: inputs.made().map(|(id, is_renewed)| NewSecret { id: id.clone(), is_renewed }).collect(),
        machines,
        removed: removed.into_iter().cloned().collect(),
    })
}

/// The hash that a plan for these inputs would have now, without rendering anything.
pub(crate) fn hash(folder: &Folder, inputs: &Inputs) -> anyhow::Result<PlanHash> {
    let assigned = assigned(folder, publication::read(folder)?.as_ref())?;
    let mut basis = Basis::of(folder, inputs)?;
    let declared = inputs.looked.scene.machines().keys();
    for name in declared.chain(assigned.keys()).collect::<BTreeSet<_>>() {
        let is_declared = inputs.looked.scene.machines().contains_key(name);
        let told = if is_declared { snapshots::read(folder, name)? } else { None };
        let revision = assigned.get(name).map(|bundle| bundle.revision);
        basis.machine(name, revision, told.as_ref().map(|told| &told.snapshot));
    }
    Ok(basis.hash())
}

/// What every machine is told now: the newest revision, or an older one where its turn has not come.
fn assigned(folder: &Folder, newest: Option<&Publication>) -> anyhow::Result<BTreeMap<MachineName, Bundle>> {
    let Some(newest) = newest else { return Ok(BTreeMap::new()) };
    let rollout = kept_rollout(folder)?.filter(|rollout| rollout.goal == newest.revision);
    let mut assigned = newest.machines.clone();
    for revision in rollout.as_ref().map(Rollout::older).unwrap_or_default() {
        let is_told = |name: &MachineName| rollout.as_ref().and_then(|rollout| rollout.told(name)) == Some(revision);
        let Some(mut older) = publication::read_at(folder, revision)? else { continue };
        for (name, bundle) in assigned.iter_mut().filter(|(name, _)| is_told(name)) {
            if let Some(before) = older.machines.remove(name) {
                *bundle = before;
            }
        }
    }
    Ok(assigned)
}

impl FleetPlan {
    /// The machines on which something would be done, or that would get something else than they have.
    pub(crate) fn changing(&self) -> impl Iterator<Item = &MachineName> {
        self.machines.iter().filter(|(_, machine)| machine.changes()).map(|(name, _)| name)
    }

    /// The machines with an action on a service, by the name of its container or compose service.
    pub(crate) fn acting_on(&self, service: &str) -> BTreeSet<MachineName> {
        let acting = self.machines.iter().filter(|(_, machine)| machine.acts_on(service));
        acting.map(|(name, _)| name.clone()).collect()
    }

    /// Only these machines; the hash stays that of the whole.
    pub(crate) fn narrowed(mut self, to: &BTreeSet<MachineName>) -> Self {
        self.machines.retain(|name, _| to.contains(name));
        self.removed.retain(|name| to.contains(name));
        self
    }

    /// The names of all machines.
    pub(crate) fn names(&self) -> impl Iterator<Item = &MachineName> {
        self.machines.keys().chain(&self.removed)
    }
}
