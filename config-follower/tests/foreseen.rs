//! What is foreseen is what happens: a machine is told to its leader, random changes come, and what the planner makes of the
//! telling is what the follower then does to files and containers, in that order.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::collections::BTreeMap;

use common::{TestMachine, bundle};
use config_follower::{Config, DriftPolicy, Follower, Outcome};
use pconf_bundle::{Bundle, Check, ComposeFile, OnChange, ServiceRule};
use pconf_containers::Docker;
use pconf_daemon::Shutdown;
use pconf_plan::{Action, Foreseen, Plan, Snapshot, What};
use scripted_engine::{Spec, State};
use serde_json::json;

/// So many changes are made.
const CHANGES: u64 = 240;

/// Where files may be; the last one is mounted by itself.
const FILES: [&str; 7] = [
    "core/conf/core.yml",
    "core/conf/more.yml",
    "hfs/conf/hfs.yml",
    "hfs/extra/deep/x.yml",
    "nginx/conf/site.conf",
    "unread.txt",
    "single.yml",
];
const COMPOSE: &str = "pryv.yml";
const SERVICES: [&str; 3] = ["web", "worker", "cache"];

/// Containers that nobody made with compose, and what each mounts.
const CONTAINERS: [(&str, &str); 4] =
    [("core", "core/conf"), ("hfs", "hfs"), ("nginx", "nginx/conf"), ("one", "single.yml")];

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }
}

/// What the leader wants by now.
#[derive(Debug, Default)]
struct Wanted {
    files: BTreeMap<&'static str, usize>,
    on_change: BTreeMap<&'static str, OnChange>,
    rules: Vec<ServiceRule>,
    /// The version of each service's definition.
    services: BTreeMap<&'static str, usize>,
    is_declared: bool,
}

impl Wanted {
    fn bundle(&self, number: u64) -> Bundle {
        let texts: Vec<(&str, String)> =
            self.files.iter().map(|(path, version)| (*path, format!("version {version}\n"))).collect();
        let mut files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let compose = self.compose();
        if !self.services.is_empty() {
            files.push((COMPOSE, &compose));
        }
        let mut bundle = bundle(number, &files);
        for file in &mut bundle.files {
            file.on_change = self.on_change.get(file.path.as_str()).cloned();
        }
        bundle.services.extend(self.rules.iter().cloned());
        if self.is_declared && !self.services.is_empty() {
            bundle.compose.push(ComposeFile { file: COMPOSE.parse().unwrap(), project: "p".to_owned() });
        }
        bundle
    }

    fn compose(&self) -> String {
        let service = |(name, version): (&&str, &usize)| {
            format!(
                "  {name}:\n    image: x:{version}\n    container_name: {name}\n    volumes:\n      - ./core/conf:/conf\n"
            )
        };
        format!("services:\n{}", self.services.iter().map(service).collect::<String>())
    }
}

fn on_change(dice: &mut Dice) -> OnChange {
    match dice.roll(6) {
        0 => OnChange::None,
        1 => OnChange::Reload("SIGHUP".to_owned()),
        2 => OnChange::Exec(vec!["reload".to_owned()]),
        3 => OnChange::Restart,
        4 => OnChange::StopFirst,
        _ => OnChange::Recreate,
    }
}

/// One of the leader's changes.
fn change_wanted(dice: &mut Dice, wanted: &mut Wanted, round: u64) {
    let version = usize::try_from(round).unwrap();
    let file = dice.pick(&FILES);
    match dice.roll(9) {
        0..3 => drop(wanted.files.insert(file, version)),
        3 => drop(wanted.files.remove(file)),
        4 => drop(wanted.on_change.insert(file, on_change(dice))),
        5 | 6 => {
            let who = dice.pick(&["core", "hfs", "nginx", "one", "web", "worker"]);
            let other = dice.pick(&["core", "hfs", "nginx", "web"]);
            let mut rule: ServiceRule = serde_json::from_value(json!({ "match": who })).unwrap();
            match dice.roll(4) {
                0 => rule.on_change = Some(on_change(dice)),
                1 => rule.after = Some(vec![other.to_owned()]),
                2 => rule.upstreams = Some(vec![other.to_owned()]),
                _ => rule.check = Some(Check::Run(vec!["test".to_owned(), who.to_owned()])),
            }
            wanted.rules.retain(|known| known.service != rule.service);
            wanted.rules.push(rule);
        }
        7 => drop(wanted.services.insert(dice.pick(&SERVICES), version)),
        _ => {
            wanted.services.remove(dice.pick(&SERVICES));
            wanted.is_declared = !wanted.is_declared;
        }
    }
    // Something has to be left to be guarded.
    wanted.files.entry(FILES[0]).or_insert(version);
    wanted.files.entry(FILES[2]).or_insert(version);
}

/// Something happens on the machine.
fn change_machine(dice: &mut Dice, machine: &TestMachine) {
    let (name, place) = dice.pick(&CONTAINERS);
    match dice.roll(8) {
        0 | 1 => machine.engine.set_state(name, State::Exited(0)),
        2 => machine.engine.set_state(name, State::Running),
        3 => {
            machine.engine.remove(name);
            let labels = match dice.roll(3) {
                0 => BTreeMap::new(),
                1 => BTreeMap::from([("config-follower.on-change".to_owned(), r#"{"reload":"SIGUSR1"}"#.to_owned())]),
                _ => BTreeMap::from([("config-follower.after".to_owned(), "hfs".to_owned())]),
            };
            machine.engine.add_with(Spec {
                name: name.to_owned(),
                mounts: vec![(machine.root().join(place), "/app/conf".into())],
                labels,
                ..Spec::default()
            });
        }
        4 => machine.engine.remove(dice.pick(&SERVICES)),
        5 => machine.engine.set_state(dice.pick(&SERVICES), State::Exited(0)),
        6 => drop(std::fs::write(machine.root().join(dice.pick(&FILES)), "by hand\n")),
        _ => drop(std::fs::remove_file(machine.root().join(dice.pick(&FILES)))),
    }
}

async fn cycle(follower: &mut Follower<Docker>) -> Outcome {
    let (_trigger, mut shutdown) = Shutdown::by_hand();
    follower.cycle(&mut shutdown).await
}

/// What the engine hears of a plan: checks one after the other, then stops, then each rank; those of one group go side by
/// side, sorted.
fn calls(plan: &Plan) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    for trial in &plan.checks {
        let Check::Run(command) = &trial.check else { continue };
        groups.push(vec![format!("try {} {}", trial.name, command.join(" "))]);
    }
    groups.push(plan.stops.iter().map(|stop| format!("stop {}", stop.name)).collect());
    groups.extend(plan.actions.chunk_by(|a, b| a.rank == b.rank).map(|rank| rank.iter().flat_map(calls_of).collect()));
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn calls_of(action: &Action) -> Vec<String> {
    let name = &action.name;
    match &action.what {
        What::Verify => Vec::new(),
        What::Signal(signal) => vec![format!("signal {name} {signal}")],
        What::Exec(command) => vec![format!("exec {name} {}", command.join(" "))],
        What::Restart => vec![format!("restart {name}")],
        What::Start => vec![format!("start {name}")],
        What::Recreate { service, .. } => vec![format!("compose up {service}")],
        What::Remove => vec![format!("stop {name}"), format!("remove {name}")],
    }
}

/// The same groups out of what the engine heard.
fn grouped(heard: Vec<String>, like: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut heard = heard.into_iter();
    let mut groups: Vec<Vec<String>> = like.iter().map(|group| heard.by_ref().take(group.len()).collect()).collect();
    groups.extend(heard.map(|call| vec![call]));
    for group in &mut groups {
        group.sort_unstable();
    }
    groups
}

fn paths<'a>(paths: impl Iterator<Item = &'a pconf_names::RelativePath>) -> Vec<String> {
    paths.map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_is_foreseen_of_a_machine_that_told_of_itself_is_what_happens_there() {
    let seed = std::env::var("PCONF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_0032);
    let mut dice = Dice(seed);
    let machine = TestMachine::new().await;
    for (name, place) in CONTAINERS {
        machine.container(name, place);
    }
    let config = Config { drift: DriftPolicy::Report, ..machine.config() };
    let mut follower = machine.follower_of(&config);
    let mut wanted = Wanted::default();
    wanted.files.extend([(FILES[0], 0), (FILES[2], 0), (FILES[4], 0)]);
    machine.leader.publish(wanted.bundle(1));
    assert!(matches!(cycle(&mut follower).await, Outcome::Running { .. }));

    let (mut acted, mut refused) = (0, 0);
    for round in 2..CHANGES + 2 {
        let note = format!("PCONF_SEED={seed} round {round}");
        for _ in 0..dice.roll(3) {
            change_machine(&mut dice, &machine);
        }
        follower.look_closely();
        let _ = cycle(&mut follower).await;
        change_wanted(&mut dice, &mut wanted, round);
        let goal = wanted.bundle(round);
        let told: Snapshot = machine.leader.change(|served| served.snapshots.last().cloned().unwrap());
        // As the leader has it: through its text form.
        let told: Snapshot = serde_json::from_slice(&told.to_bytes()).unwrap();
        let foreseen = told.foresee(&goal);

        machine.engine.forget_calls();
        machine.leader.publish(goal);
        let outcome = cycle(&mut follower).await;
        let report = machine.leader.last_report();
        match foreseen {
            Foreseen::Taken(plan) => {
                let expected = calls(&plan);
                let mut heard = grouped(machine.engine.calls(), &expected);
                // Compose alone knows whether there is something to make anew; where there is not, what a service mounts has
                // changed all the same.
                let may_restart = |action: &Action| action.must_start && matches!(action.what, What::Recreate { .. });
                let may_restart = plan.actions.iter().filter(|action| may_restart(action));
                let restarts: Vec<_> = may_restart.map(|action| vec![format!("restart {}", action.name)]).collect();
                let known = heard.len().min(expected.len());
                let extra: Vec<_> =
                    heard.split_off(known).into_iter().filter(|call| !restarts.contains(call)).collect();
                heard.extend(extra);
                let note = format!("{note}\n{plan}{outcome:?}\n{told:#?}");
                assert_eq!(heard, expected, "{note}");
                let (written, mut removed) = (paths(plan.written()), paths(plan.removed()));
                removed.sort_unstable();
                assert_eq!((paths(report.written.iter()), paths(report.removed.iter())), (written, removed), "{note}");
                assert_eq!(report.read_by_nothing, plan.read_by_nothing, "{note}");
                assert!(matches!(outcome, Outcome::Running { .. }), "{note}");
                acted += usize::from(!expected.is_empty());
            }
            Foreseen::Refused(refusal) => {
                let Outcome::Refused { reason, .. } = outcome else { panic!("{note}: {refusal}, {outcome:?}") };
                assert_eq!((reason, machine.engine.calls()), (refusal.to_string(), Vec::new()), "{note}");
                refused += 1;
            }
            Foreseen::Quarantined(reason) => panic!("{note}: {reason}"),
        }
    }
    assert!(acted > 100 && refused < 20, "{acted} {refused}");
}
