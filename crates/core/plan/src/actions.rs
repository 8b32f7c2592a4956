//! What becomes of each container: acted on in the weakest way that makes it take the change, left as its operator wants
//! it, or not concerned.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, Check, ComposeFile, Health, OnChange};
use pconf_names::RelativePath;
use serde::Serialize;

use crate::debt::{Change, Debt, DebtState, Was};
use crate::definitions::{definition, key, projects, services};
use crate::ledger::Ledger;
use crate::manner::Manner;
use crate::observed::{Container, ContainerState, Reads};
use crate::order::put_in_order;
use crate::plan::{Plan, Step};

/// The application's judgement of files that are not in place yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// The engine's id of the service's container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What to run.
    pub check: Check,
    /// What the container mounts of the root.
    #[serde(skip)]
    pub reads: Vec<Reads>,
    /// How many seconds it may take.
    pub limit: u32,
}

/// A container to stop before the first file changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What is done to a container, and how it is then seen to be well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The engine's id; `None` where compose makes the container.
    pub id: Option<String>,
    /// Its name; the service's where there is no container yet.
    pub name: String,
    /// What is done.
    pub what: What,
    /// The changed files that it reads.
    pub files: BTreeSet<RelativePath>,
    /// The services that are made anew and whose addresses it keeps.
    pub upstreams: BTreeSet<String>,
    /// Whether an earlier cycle owed it already.
    pub overdue: bool,
    /// Its turn; 0 goes first.
    pub rank: usize,
    /// How its health is seen, where it is not by the image's HEALTHCHECK or by running on.
    pub health: Option<Health>,
    /// How many seconds each external step may take.
    pub limit: u32,
}

/// What is done to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Nothing: it was started since the files changed, and only has to be seen to be well.
    Verify,
    /// It is sent this signal.
    Signal(String),
    /// This command is run inside it.
    Exec(Vec<String>),
    /// It is restarted.
    Restart,
    /// It is started: we stopped it, or what we wrote did.
    Start,
    /// Compose makes it, or makes it anew.
    Recreate {
        /// The compose file.
        file: RelativePath,
        /// The compose project.
        project: String,
        /// The service in it.
        service: String,
    },
    /// It is stopped and removed: its service has left the compose file.
    Remove,
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

/// Fills in everything about containers.
pub(crate) fn decide(goal: &Bundle, ledger: &Ledger, containers: &[Container], plan: &mut Plan) {
    let mut containers: Vec<&Container> = containers.iter().collect();
    containers.sort_unstable_by_key(|container| &container.name);
    let manners: BTreeMap<&str, Manner> =
        containers.iter().map(|each| (each.name.as_str(), Manner::of(each, &goal.services))).collect();
    for container in &containers {
        let manner = &manners[container.name.as_str()];
        plan.warnings.extend(manner.misunderstood.iter().cloned());
        decide_one(goal, ledger, container, manner, plan);
    }
    make_what_is_missing(goal, ledger, &containers, plan);
    tell_proxies(&containers, &manners, plan);
    keep_inodes(goal, &containers, &manners, plan);
    put_in_order(goal, &containers, &manners, plan);
    plan.untouched.sort_unstable();
    let is_read = |path: &RelativePath| containers.iter().any(|container| container.reads_or_is_made_from(path));
    plan.read_by_nothing = plan.written().filter(|path| !is_read(path)).cloned().collect();
}

fn decide_one(goal: &Bundle, ledger: &Ledger, container: &Container, manner: &Manner, plan: &mut Plan) {
    let earlier = ledger.owed.get(&container.name);
    let name = container.name.clone();
    if let Some(file) = has_left(goal, ledger, container, plan) {
        let change = Change { was: plan.changes.get(&file).copied().unwrap_or(Was::Unknown), how: OnChange::Recreate };
        let debt = Debt::new(BTreeMap::from([(file.clone(), change)]), Some(container.started.clone()));
        plan.debts.insert(name, earlier.map_or(debt.clone(), |earlier| debt.join(earlier)));
        plan.actions.push(action(container, manner, What::Remove, BTreeSet::from([file]), earlier.is_some()));
        return;
    }
    let causes = causes(goal, ledger, container, manner, plan);
    let taken = earlier.filter(|debt| debt.has_been_taken(container));
    let debt = match (earlier, taken) {
        // It read everything but what changes now.
        (Some(_), Some(_)) | (None, None) => Debt::new(causes.clone(), Some(container.started.clone())),
        (Some(earlier), None) => Debt::new(causes.clone(), Some(container.started.clone())).join(earlier),
        (None, Some(_)) => unreachable!("only what is owed can be taken"),
    };
    let remaining = debt.remaining(goal, Some(container));
    let is_due = !remaining.is_empty() || !debt.upstreams.is_empty();
    let files: BTreeSet<RelativePath> = remaining.keys().cloned().collect();
    let has_failed = matches!(debt.state, DebtState::Failed { .. });
    let is_ours_to_start = has_failed || debt.held;
    if !is_due {
        if let Some(earlier) = taken {
            plan.debts.insert(name, earlier.clone());
            match container.state {
                ContainerState::Up | ContainerState::Died => {
                    let files = earlier.files.keys().cloned().collect();
                    plan.actions.push(action(container, manner, What::Verify, files, true));
                }
                // Started and stopped again: it has read the new files.
                ContainerState::Stopped => drop(plan.debts.remove(&container.name)),
            }
        } else {
            // A debt stays in the ledger until the files are seen to be as they were.
            if !debt.files.is_empty() {
                plan.debts.insert(name.clone(), debt);
            }
            if goal.files.iter().any(|file| container.can_read(&file.path)) {
                plan.untouched.push(name);
            }
        }
        return;
    }
    let how = remaining.values().map(|change| &change.how).max().cloned();
    let how = how.unwrap_or_else(|| for_upstreams(manner));
    let does_change_now = remaining.keys().any(|path| plan.changes.contains_key(path));
    let overdue = earlier.is_some() && taken.is_none();
    let what = match (container.state, &how, &container.made_from) {
        (ContainerState::Stopped, ..) if !is_ours_to_start => {
            plan.stopped.push(Left { id: container.id.clone(), name: name.clone(), files });
            plan.debts.insert(name, debt);
            return;
        }
        (_, OnChange::Recreate, Some(compose)) => {
            let (file, project, service) = (compose.file.clone(), compose.project.clone(), container.service.clone());
            What::Recreate { file, project, service }
        }
        (ContainerState::Stopped | ContainerState::Died, ..) => What::Start,
        (ContainerState::Up, OnChange::StopFirst, _) if does_change_now => {
            plan.stops.push(Stop { id: container.id.clone(), name: name.clone() });
            plan.debts.insert(name, Debt { held: true, ..debt });
            plan.actions.push(action(container, manner, What::Start, files, overdue));
            try_first(container, manner, does_change_now, plan);
            return;
        }
        (ContainerState::Up, how, _) => while_up(how),
    };
    plan.debts.insert(name, debt);
    plan.actions.push(action(container, manner, what, files, overdue));
    try_first(container, manner, does_change_now, plan);
}

/// The files whose change concerns the container now.
fn causes(
    goal: &Bundle,
    ledger: &Ledger,
    container: &Container,
    manner: &Manner,
    plan: &Plan,
) -> BTreeMap<RelativePath, Change> {
    let read = plan.changes.iter().filter(|(path, _)| container.can_read(path));
    let mut causes: BTreeMap<_, _> = read
        .map(|(path, was)| (path.clone(), Change { was: *was, how: manner.takes(goal, path) }))
        .filter(|(_, change)| change.how != OnChange::None)
        .collect();
    let Some(compose) = &container.made_from else { return causes };
    let Some(known) = services(goal, &compose.file) else { return causes };
    let Some(service) = known.0.get(&container.service) else { return causes };
    let before = ledger.definitions.get(&key(&compose.file, &container.service));
    if before.is_some_and(|before| *before == definition(goal, service)) {
        return causes;
    }
    for path in service.env_files.iter().chain([&compose.file]) {
        if let Some(was) = plan.changes.get(path) {
            causes.insert(path.clone(), Change { was: *was, how: OnChange::Recreate });
        }
    }
    causes
}

/// The compose file whose service the container was, if that has left it now or the file has left the set.
fn has_left(goal: &Bundle, ledger: &Ledger, container: &Container, plan: &Plan) -> Option<RelativePath> {
    let compose = container.made_from.as_ref()?;
    let file = &compose.file;
    let is_known = ledger.definitions.contains_key(&key(file, &container.service)) || goal.compose.contains(compose);
    let owed = ledger.owed.get(&container.name).and_then(|debt| debt.files.get(file));
    let is_owed = owed.is_some_and(|change| change.how == OnChange::Recreate);
    let is_concerned = is_owed || (is_known && plan.changes.contains_key(file));
    let is_there = match services(goal, file) {
        Some(services) => services.0.contains_key(&container.service),
        // Without a list of services nobody has left it.
        None => goal.files.iter().any(|each| each.path == *file),
    };
    (is_concerned && !is_there).then(|| file.clone())
}

/// Services of compose files that have no container yet: those that the set declares, and new ones beside others.
fn make_what_is_missing(goal: &Bundle, ledger: &Ledger, containers: &[&Container], plan: &mut Plan) {
    let seen: Vec<Container> = containers.iter().map(|container| (*container).clone()).collect();
    for (file, project) in projects(goal, &seen) {
        let compose = ComposeFile { file: file.clone(), project: project.clone() };
        let is_declared = goal.compose.contains(&compose);
        for (name, service) in services(goal, &file).into_iter().flat_map(|services| services.0) {
            let has_container = containers.iter().any(|container| {
                container.service == name && container.made_from.as_ref().is_some_and(|from| from.project == project)
            });
            let called = service.container_name.clone().unwrap_or_else(|| name.clone());
            let is_owed = ledger.owed.contains_key(&called);
            let is_new = plan.changes.contains_key(&file) && !ledger.definitions.contains_key(&key(&file, &name));
            if has_container || !(is_declared || is_new || is_owed) {
                continue;
            }
            let manner = Manner::of_service(&[&name, &called], &goal.services);
            let was = plan.changes.get(&file).copied().unwrap_or(Was::Unknown);
            let files = BTreeMap::from([(file.clone(), Change { was, how: OnChange::Recreate })]);
            plan.debts.insert(called.clone(), Debt::new(files, None));
            plan.actions.push(Action {
                id: None,
                name: called,
                what: What::Recreate { file: file.clone(), project: project.clone(), service: name },
                files: BTreeSet::from([file.clone()]),
                upstreams: BTreeSet::new(),
                overdue: is_owed,
                rank: 0,
                health: manner.health,
                limit: manner.limit,
            });
        }
    }
}

/// A proxy keeps the addresses of its upstreams: it takes a change when one of them is made anew.
fn tell_proxies(containers: &[&Container], manners: &BTreeMap<&str, Manner>, plan: &mut Plan) {
    let made: BTreeSet<String> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.what {
            What::Recreate { service, .. } => Some([service.clone(), action.name.clone()]),
            _ => None,
        })
        .flatten()
        .collect();
    for container in containers {
        let manner = &manners[container.name.as_str()];
        let upstreams: BTreeSet<String> = manner.upstreams.intersection(&made).cloned().collect();
        if upstreams.is_empty() || container.state != ContainerState::Up {
            continue;
        }
        let debt = plan
            .debts
            .entry(container.name.clone())
            .or_insert_with(|| Debt::new(BTreeMap::new(), Some(container.started.clone())));
        debt.upstreams.extend(upstreams.iter().cloned());
        if let Some(action) = plan.actions.iter_mut().find(|action| action.name == container.name) {
            action.upstreams.extend(upstreams);
            if action.what != What::Verify {
                continue;
            }
        }
        plan.actions.retain(|action| action.name != container.name);
        plan.untouched.retain(|name| *name != container.name);
        let what = while_up(&for_upstreams(manner));
        let upstreams = debt.upstreams.clone();
        plan.actions.push(Action { upstreams, ..action(container, manner, what, BTreeSet::new(), false) });
    }
}

/// How a proxy forgets the addresses that it keeps.
fn for_upstreams(manner: &Manner) -> OnChange {
    match &manner.on_change {
        reload @ (OnChange::Reload(_) | OnChange::Exec(_)) => reload.clone(),
        OnChange::None | OnChange::Restart | OnChange::StopFirst | OnChange::Recreate => OnChange::Restart,
    }
}

fn while_up(how: &OnChange) -> What {
    match how {
        OnChange::Reload(signal) => What::Signal(signal.clone()),
        OnChange::Exec(command) => What::Exec(command.clone()),
        OnChange::None | OnChange::Restart | OnChange::StopFirst | OnChange::Recreate => What::Restart,
    }
}

/// A file that a running container mounts by itself keeps its inode, unless the container is started again anyway.
fn keep_inodes(goal: &Bundle, containers: &[&Container], manners: &BTreeMap<&str, Manner>, plan: &mut Plan) {
    let keeps = |path: &RelativePath| {
        containers.iter().any(|container| {
            let how = manners[container.name.as_str()].takes(goal, path);
            container.state == ContainerState::Up && container.mounts_alone(path) && how < OnChange::Restart
        })
    };
    for step in &mut plan.steps {
        if let Step::WriteFile { path, replaces: true, in_place } = step {
            *in_place = keeps(path);
        }
    }
}

fn try_first(container: &Container, manner: &Manner, does_change_now: bool, plan: &mut Plan) {
    if let Some(check) = manner.check.clone().filter(|_| does_change_now) {
        let (id, name, reads) = (container.id.clone(), container.name.clone(), container.reads.clone());
        plan.checks.push(Trial { id, name, check, reads, limit: manner.limit });
    }
}

fn action(container: &Container, manner: &Manner, what: What, files: BTreeSet<RelativePath>, overdue: bool) -> Action {
    Action {
        id: Some(container.id.clone()),
        name: container.name.clone(),
        what,
        files,
        upstreams: BTreeSet::new(),
        overdue,
        rank: 0,
        health: manner.health.clone(),
        limit: manner.limit,
    }
}
