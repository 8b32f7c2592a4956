//! A proxy keeps the addresses of its upstreams: it takes a change when one of them is made anew.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::OnChange;

use crate::actions::{Action, What};
use crate::debt::Debt;
use crate::decide::Scene;
use crate::observed::ContainerState;
use crate::plan::Plan;

pub(crate) fn tell_proxies(scene: &Scene, plan: &mut Plan) {
    let mut made: BTreeSet<String> = BTreeSet::new();
    for action in &plan.actions {
        if let What::Recreate { service, .. } = &action.what {
            made.extend([service.clone(), action.name.clone()]);
        }
    }
    for container in &scene.containers {
        let manner = scene.manner(container);
        let upstreams: BTreeSet<String> = manner.upstreams.intersection(&made).cloned().collect();
        let looks_by_itself = manner.on_change == OnChange::None;
        // One that does not run asks for addresses when it is started.
        if upstreams.is_empty() || looks_by_itself || container.state != ContainerState::Up {
            continue;
        }
        let unowed = || Debt::new(BTreeMap::new(), Some(container.started.clone()));
        let debt = plan.debts.entry(container.name.clone()).or_insert_with(unowed);
        debt.awaits.extend(upstreams.iter().cloned());
        let what = What::while_up(&manner.for_upstreams());
        if let Some(action) = plan.actions.iter_mut().find(|action| action.name == container.name) {
            action.upstreams.extend(upstreams);
            action.must_start = true;
            if action.what < what {
                action.what = what;
            }
        } else {
            plan.untouched.retain(|name| *name != container.name);
            plan.actions.push(Action { upstreams, ..Action::on(container, manner, what) });
        }
    }
}
