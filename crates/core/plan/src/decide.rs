//! What becomes of each container: acted on in the weakest way that makes it take the change, left as its operator wants
//! it, or not concerned.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, OnChange};
use pconf_names::RelativePath;

use crate::actions::{Action, Left, Stop, Trial, What};
use crate::causes::{Before, causes, has_left};
use crate::debt::{Change, Debt, DebtState, Made, Was};
use crate::definitions::Definitions;
use crate::ledger::Ledger;
use crate::manner::Manner;
use crate::mounts::{keep_inodes, keep_mounted_folders, note_what_is_loose};
use crate::observed::{Container, ContainerState};
use crate::order::put_in_order;
use crate::plan::Plan;
use crate::proxies::tell_proxies;
use crate::services::make_what_is_missing;

/// All that the fate of a machine's containers depends on.
pub(crate) struct Scene<'a> {
    pub(crate) goal: &'a Bundle,
    pub(crate) ledger: &'a Ledger,
    /// Sorted by name.
    pub(crate) containers: Vec<&'a Container>,
    /// By the container's name.
    pub(crate) manners: BTreeMap<&'a str, Manner>,
    pub(crate) definitions: Definitions<'a>,
}

/// Fills in everything about containers.
pub(crate) fn decide(goal: &Bundle, ledger: &Ledger, containers: &[Container], plan: &mut Plan) {
    let definitions = Definitions::of(goal, containers);
    let mut sorted: Vec<&Container> = containers.iter().collect();
    sorted.sort_unstable_by_key(|container| &container.name);
    let manners = sorted.iter().map(|each| (each.name.as_str(), Manner::of(each, &goal.services))).collect();
    let scene = Scene { goal, ledger, containers: sorted, manners, definitions };
    for container in &scene.containers {
        plan.warnings.extend(scene.manner(container).misunderstood.iter().cloned());
        scene.decide_one(container, plan);
    }
    make_what_is_missing(&scene, plan);
    tell_proxies(&scene, plan);
    keep_mounted_folders(&scene, plan);
    keep_inodes(&scene, plan);
    note_what_is_loose(&scene, plan);
    put_in_order(&scene, plan);
    plan.untouched.sort_unstable();
    let is_read = |path: &RelativePath| {
        scene.containers.iter().any(|container| container.reads_or_is_made_from(path))
            || scene
                .definitions
                .all()
                .any(|(compose, _, service)| compose.file == *path || service.env_files.contains(path))
    };
    plan.read_by_nothing = plan.written().filter(|path| !is_read(path)).cloned().collect();
}

impl Scene<'_> {
    pub(crate) fn manner(&self, container: &Container) -> &Manner {
        &self.manners[container.name.as_str()]
    }

    /// What an earlier cycle owed to a container, or to the compose service that it was made for since.
    pub(crate) fn earlier(&self, container: &Container) -> Option<&Debt> {
        self.ledger.owed.get(&container.name).or_else(|| {
            let made = Made::of(container)?;
            let is_here = |name: &String| self.containers.iter().any(|container| container.name == *name);
            let all = self.ledger.owed.iter();
            all.filter(|(name, _)| !is_here(name)).map(|(_, debt)| debt).find(|debt| debt.made.as_ref() == Some(&made))
        })
    }

    fn decide_one(&self, container: &Container, plan: &mut Plan) {
        let (goal, manner) = (self.goal, self.manner(container));
        let earlier = self.earlier(container);
        let to_stop = self.files_to_stop_for(container, plan);
        let name = container.name.clone();
        if let Some((file, mut debt)) = self.leaves(container, plan) {
            if !to_stop.is_empty() {
                stop_first(container, &mut debt, plan);
            }
            plan.debts.insert(name, debt);
            let (files, overdue) = (BTreeSet::from([file]), earlier.is_some());
            plan.actions.push(Action { files, overdue, ..Action::on(container, manner, What::Remove) });
            return;
        }
        let taken = earlier.filter(|debt| debt.has_been_taken(container));
        let debt = self.debt(container, plan);
        let remaining = debt.remaining(goal, Some(container));
        let is_ours_to_start = matches!(debt.state, DebtState::Failed { .. }) || debt.stands_still_by_us(container);
        let has_to_start = container.state == ContainerState::Stopped && is_ours_to_start;
        if remaining.is_empty() && debt.upstreams.is_empty() && to_stop.is_empty() && !has_to_start {
            match (taken, container.state) {
                (Some(earlier), ContainerState::Up | ContainerState::Died) => {
                    let (files, overdue) = (earlier.files.keys().cloned().collect(), true);
                    plan.debts.insert(name, earlier.clone());
                    plan.actions.push(Action { files, overdue, ..Action::on(container, manner, What::Verify) });
                }
                // Started and stopped again: it has read the new files.
                (Some(_), ContainerState::Stopped) => {}
                (None, _) => {
                    // A debt stays in the ledger until the files are seen to be as they were.
                    if !debt.files.is_empty() {
                        plan.debts.insert(name.clone(), debt);
                    }
                    if goal.files.iter().any(|file| container.can_read(&file.path)) {
                        plan.untouched.push(name);
                    }
                }
            }
            self.try_first(container, plan);
            return;
        }
        let strongest = remaining.values().map(|change| change.how.clone()).max();
        let how =
            strongest.max((!debt.upstreams.is_empty()).then(|| manner.for_upstreams())).unwrap_or(OnChange::Restart);
        let is_read = |path: &RelativePath| container.can_read(path) && manner.takes(goal, path) != OnChange::None;
        let must_start = remaining.keys().any(is_read) || !debt.upstreams.is_empty();
        let files: BTreeSet<RelativePath> = remaining.into_keys().chain(to_stop.iter().cloned()).collect();
        if container.state == ContainerState::Stopped && !is_ours_to_start {
            plan.stopped.push(Left { id: container.id.clone(), name: name.clone(), files });
            plan.debts.insert(name, debt);
            return;
        }
        // Compose is asked for what the set has; anything else is started again at least.
        let is_known = self.definitions.service_of(container).is_some();
        let made = Made::of(container).filter(|_| is_known && how == OnChange::Recreate);
        let what = match (&made, container.state) {
            (Some(made), _) => made.recreate(),
            (None, ContainerState::Stopped | ContainerState::Died) => What::Start,
            (None, ContainerState::Up) if !to_stop.is_empty() => What::Start,
            (None, ContainerState::Up) => What::while_up(&how),
        };
        let mut debt = Debt { made, ..debt };
        if !to_stop.is_empty() {
            stop_first(container, &mut debt, plan);
        }
        let (upstreams, overdue) = (debt.upstreams.clone(), earlier.is_some() && taken.is_none());
        plan.debts.insert(name, debt);
        plan.actions.push(Action { files, upstreams, must_start, overdue, ..Action::on(container, manner, what) });
        self.try_first(container, plan);
    }

    /// The compose file that a container's service has left, with what is owed then.
    fn leaves(&self, container: &Container, plan: &Plan) -> Option<(RelativePath, Debt)> {
        let file = has_left(self.goal, &self.definitions, self.ledger, &plan.changes, container)?;
        let was = plan.changes.get(&file).copied().unwrap_or(Was::Unknown);
        let files = BTreeMap::from([(file.clone(), Change { was, how: OnChange::Recreate })]);
        let mut debt = Debt::new(files, Some(container.started.clone()));
        if let Some(earlier) = self.earlier(container) {
            debt = debt.join(earlier);
        }
        debt.remaining(self.goal, Some(container)).contains_key(&file).then_some((file, debt))
    }

    /// What is owed to a container, what it has taken since left out.
    fn debt(&self, container: &Container, plan: &Plan) -> Debt {
        let before = Before {
            changes: &plan.changes,
            definitions: &self.ledger.definitions,
            is_late: self.ledger.is_late(container),
            is_loose: |path: &RelativePath| plan.doubtful.contains(path) || self.ledger.is_loose(container, path),
        };
        let causes = causes(self.goal, &self.definitions, &before, (container, self.manner(container)));
        let Some(earlier) = self.earlier(container) else {
            // It may have read any form of a file whose writing was cut off.
            return Debt::new(causes, (!before.is_late).then(|| container.started.clone()));
        };
        let mut debt = Debt::new(causes, Some(container.started.clone()));
        if earlier.has_been_taken(container) {
            // It read everything but what changes now; its upstreams may have been made anew after it was started.
            debt.upstreams.clone_from(&earlier.upstreams);
            debt.begun.clone_from(&earlier.begun);
        } else {
            debt = debt.join(earlier);
        }
        debt
    }

    /// The files that change now and that the container must not see changing.
    fn files_to_stop_for(&self, container: &Container, plan: &Plan) -> BTreeSet<RelativePath> {
        let manner = self.manner(container);
        let is_held =
            |path: &&RelativePath| container.can_read(path) && manner.takes(self.goal, path) == OnChange::StopFirst;
        let now = plan.written().chain(plan.removed()).filter(is_held);
        now.filter(|_| container.state == ContainerState::Up).cloned().collect()
    }

    /// The application judges its files before any of them changes, whether or not it is acted on then.
    fn try_first(&self, container: &Container, plan: &mut Plan) {
        let manner = self.manner(container);
        let is_concerned = plan.written().chain(plan.removed()).any(|path| container.can_read(path));
        if let Some(check) = manner.check.clone().filter(|_| is_concerned) {
            let (id, name, reads) = (container.id.clone(), container.name.clone(), container.reads.clone());
            plan.checks.push(Trial { id, name, check, reads, limit: manner.limit });
        }
    }
}

/// The container is stopped before its files change, and is then ours to start.
fn stop_first(container: &Container, debt: &mut Debt, plan: &mut Plan) {
    plan.stops.push(Stop::of(container));
    debt.begun = Some(container.started.clone());
}
