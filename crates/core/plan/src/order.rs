//! Whose turn comes when: after what it depends on.

use std::collections::{BTreeMap, BTreeSet};

use crate::actions::{Action, What};
use crate::decide::Scene;
use crate::manner::Manner;
use crate::plan::Plan;

/// Gives every action its rank, and sorts them by rank and name. An order that goes in a circle is told, and broken.
pub(crate) fn put_in_order(scene: &Scene, plan: &mut Plan) {
    let mut waits = waits(scene, &plan.actions);
    let mut rank = 0;
    while !waits.is_empty() {
        let mut ready: BTreeSet<String> =
            waits.iter().filter(|(_, others)| others.is_empty()).map(|(name, _)| name.clone()).collect();
        if ready.is_empty() {
            ready = circle(&waits);
            let names: Vec<&str> = ready.iter().map(String::as_str).collect();
            plan.warnings.push(format!("{} wait for each other: they go at once", names.join(", ")));
        }
        for action in plan.actions.iter_mut().filter(|action| ready.contains(&action.name)) {
            action.rank = rank;
        }
        waits.retain(|name, _| !ready.contains(name));
        for others in waits.values_mut() {
            others.retain(|name| !ready.contains(name));
        }
        rank += 1;
    }
    plan.actions.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
}

/// The actions that each action waits for, by name.
fn waits(scene: &Scene, actions: &[Action]) -> BTreeMap<String, BTreeSet<String>> {
    // What others call it: its container's name and its compose service.
    let mut called: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut named: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for action in actions {
        let container = scene.containers.iter().find(|container| container.name == action.name);
        let service = match (&action.what, container) {
            (_, Some(container)) => container.service.as_str(),
            (What::Recreate { service, .. }, None) => service,
            (_, None) => &action.name,
        };
        for name in [service, &action.name] {
            called.entry(name).or_default().insert(&action.name);
        }
        let defined = match (&action.what, container) {
            (What::Recreate { file, service, .. }, _) => {
                scene.definitions.services(file).and_then(|services| services.0.get(service))
            }
            (_, Some(container)) => scene.definitions.service_of(container),
            (_, None) => None,
        };
        let manner = match container {
            Some(container) => scene.manner(container).clone(),
            None => Manner::of_service(&[service, &action.name], &scene.goal.services),
        };
        let depends_on = defined.into_iter().flat_map(|service| service.depends_on.iter().cloned());
        named.insert(&action.name, manner.after.into_iter().chain(manner.upstreams).chain(depends_on).collect());
    }
    let others = |(own, names): (&&str, &BTreeSet<String>)| {
        let others = names.iter().filter_map(|name| called.get(name.as_str())).flatten();
        ((*own).to_owned(), others.filter(|other| *other != own).map(|other| (*other).to_owned()).collect())
    };
    named.iter().map(others).collect()
}

/// A circle that waits for nothing outside itself; there is one where everybody waits for somebody.
fn circle(waits: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let all_that = |name: &String| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![name.clone()]);
        while let Some(name) = next.pop() {
            if let Some(others) = waits.get(&name) {
                next.extend(others.iter().filter(|other| !reached.contains(*other)).cloned());
                reached.extend(others.iter().cloned());
            }
        }
        reached
    };
    waits.keys().map(all_that).min_by_key(BTreeSet::len).unwrap_or_default()
}
