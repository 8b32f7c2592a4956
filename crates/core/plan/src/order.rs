//! Whose turn comes when: after what it depends on.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::Bundle;

use crate::definitions::services;
use crate::manner::Manner;
use crate::observed::Container;
use crate::plan::Plan;

/// Gives every action its rank, and sorts them by rank and name. An order that goes in a circle is told, and broken.
pub(crate) fn put_in_order(
    goal: &Bundle,
    containers: &[&Container],
    manners: &BTreeMap<&str, Manner>,
    plan: &mut Plan,
) {
    let acted: BTreeSet<String> = plan.actions.iter().map(|action| action.name.clone()).collect();
    // What a service is called by others: its container's name and its compose service.
    let mut called: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for container in containers.iter().filter(|container| acted.contains(&container.name)) {
        called.entry(&container.service).or_default().push(container.name.clone());
        called.entry(&container.name).or_default().push(container.name.clone());
    }
    let mut before: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for action in &plan.actions {
        let container = containers.iter().find(|container| container.name == action.name);
        let manner = match container {
            Some(container) => manners[container.name.as_str()].clone(),
            None => Manner::of_service(&[&action.name], &goal.services),
        };
        let depends_on = container.and_then(|container| {
            let services = services(goal, &container.made_from.as_ref()?.file)?;
            Some(services.0.get(&container.service)?.depends_on.clone())
        });
        let named = manner.after.into_iter().chain(manner.upstreams).chain(depends_on.into_iter().flatten());
        let own = before.entry(action.name.clone()).or_default();
        for name in named {
            own.extend(called.get(name.as_str()).into_iter().flatten().cloned());
            own.extend(acted.get(&name).cloned());
        }
        own.remove(&action.name);
    }
    let mut rank = 0;
    while !before.is_empty() {
        let mut ready: Vec<String> =
            before.iter().filter(|(_, waits)| waits.is_empty()).map(|(name, _)| name.clone()).collect();
        if ready.is_empty() {
            ready = before.keys().cloned().collect();
            plan.warnings.push(format!("{} wait for each other: they go at once", ready.join(", ")));
        }
        for action in plan.actions.iter_mut().filter(|action| ready.contains(&action.name)) {
            action.rank = rank;
        }
        before.retain(|name, _| !ready.contains(name));
        for waits in before.values_mut() {
            waits.retain(|name| !ready.contains(name));
        }
        rank += 1;
    }
    plan.actions.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
}
