//! `plan`: what publishing the platform as it is saved, or as a file has it, would do on every machine.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use pconf_names::MachineName;
use pconf_wire::Clock;
use serde::{Deserialize, Serialize};

use crate::fleet_plan;
use crate::folder::Folder;
use crate::terminal::{Failure, Said};

/// What is to be planned.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PlanOrder {
    /// The text of another `platform.json` than the saved one.
    pub(crate) text: Option<String>,
    /// Only this machine is shown.
    pub(crate) machine: Option<MachineName>,
    /// Only machines with an action on this service are shown.
    pub(crate) service: Option<String>,
}

/// The text of the candidate, `-` being standard input.
pub(super) fn candidate(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))
}

pub(crate) fn carry_out(folder: &Folder, order: PlanOrder) -> Result<Said, Failure> {
    let mut plan = fleet_plan::plan(folder, order.text, Clock::system().now().wall)?;
    if let Some(service) = &order.service {
        let acting = plan.acting_on(service);
        plan = plan.narrowed(&acting);
    }
    if let Some(machine) = order.machine {
        if !plan.names().any(|name| *name == machine) && order.service.is_none() {
            return Err(anyhow!("there is no machine `{machine}` in the platform").into());
        }
        plan = plan.narrowed(&BTreeSet::from([machine]));
    }
    let json = serde_json::to_value(&plan).context("cannot write the plan as JSON")?;
    Ok(Said { text: plan.to_string(), json })
}
