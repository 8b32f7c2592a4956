//! Services of compose files that have no container yet: those that the set declares, new ones beside others, and those
//! whose container is gone because it was being made anew.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::OnChange;

use crate::actions::Action;
use crate::debt::{Change, Debt, Made, Was};
use crate::decide::Scene;
use crate::definitions::key;
use crate::manner::Manner;
use crate::plan::Plan;

pub(crate) fn make_what_is_missing(scene: &Scene, plan: &mut Plan) {
    let (goal, ledger) = (scene.goal, scene.ledger);
    for (compose, name, service) in scene.definitions.all() {
        let file = compose.file.clone();
        let is_declared = goal.compose.contains(&compose);
        let made = Made { compose, service: name.clone() };
        if scene.containers.iter().any(|container| made.is_project_and_service_of(container)) {
            continue;
        }
        let owed = ledger.owed.iter().find(|(_, debt)| debt.made.as_ref() == Some(&made));
        // One that was never there is owed only as long as its file is another one than before.
        let owed = owed.filter(|(_, debt)| debt.before.is_some() || debt.has_changes(goal));
        let is_new = plan.changes.contains_key(&file) && !ledger.definitions.contains_key(&key(&file, name));
        if !(is_declared || is_new || owed.is_some()) {
            continue;
        }
        let usual = || service.container_name.clone().unwrap_or_else(|| name.clone());
        let called = owed.map_or_else(usual, |(called, _)| called.clone());
        let manner = Manner::of_service(&[name, &called], &goal.services);
        let was = plan.changes.get(&file).copied().unwrap_or(Was::Unknown);
        let change = BTreeMap::from([(file, Change { was, how: OnChange::Recreate })]);
        let debt = Debt { made: Some(made.clone()), ..Debt::new(change, None) };
        let debt = owed.map_or(debt.clone(), |(_, owed)| debt.join(owed));
        let files: BTreeSet<_> = debt.files.keys().cloned().collect();
        plan.debts.insert(called.clone(), debt);
        plan.actions.push(Action {
            id: None,
            name: called,
            started: None,
            what: made.recreate(),
            files,
            upstreams: BTreeSet::new(),
            must_start: false,
            overdue: owed.is_some(),
            rank: 0,
            health: manner.health,
            limit: manner.limit,
        });
    }
}
