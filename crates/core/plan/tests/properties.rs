//! Random machines, random histories, the plug pulled anywhere.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::VerifiedBundle;
use pconf_plan::ContainerState;
use proptest::prelude::*;
use world::{Node, World, bundle, container};

const PATHS: [&str; 7] = ["a", "a/b", "a/c/d", "e/f", "e/g", "h/i/j/k", "l"];
const CONTAINERS: [(&str, &[&str]); 5] =
    [("one", &["a"]), ("two", &["e/f"]), ("three", &["h", "a/c"]), ("four", &["."]), ("five", &[])];

#[derive(Debug, Clone)]
enum Event {
    Publish(BTreeMap<usize, u8>, Option<usize>),
    Stop(usize),
    Start(usize),
    Plant(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let set = prop::collection::btree_map(0..PATHS.len(), 0..3_u8, 0..6);
    prop_oneof![
        4 => (set, prop::option::of(0..12_usize)).prop_map(|(set, power)| Event::Publish(set, power)),
        1 => (0..CONTAINERS.len()).prop_map(Event::Stop),
        1 => (0..CONTAINERS.len()).prop_map(Event::Start),
        1 => any::<u8>().prop_map(Event::Plant),
    ]
}

/// A set without contradictions: a file's ancestors are left out.
fn goal(number: u64, set: &BTreeMap<usize, u8>) -> VerifiedBundle {
    let names: BTreeSet<&str> = set.keys().map(|index| PATHS[*index]).collect();
    let texts = ["zero", "one", "two"];
    let files: Vec<(&str, &str)> = set
        .iter()
        .map(|(index, text)| (PATHS[*index], texts[usize::from(*text)]))
        .filter(|(path, _)| !names.iter().any(|other| other.starts_with(&format!("{path}/"))))
        .collect();
    bundle(number, &["data/deep"], &files)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_every_running_container_has_read_what_is_on_disk(events in prop::collection::vec(event(), 1..14)) {
        let mut world = World::with(CONTAINERS.iter().map(|(name, places)| container(name, places)).collect());
        for (name, _) in CONTAINERS {
            world.start(name);
        }
        let mut number = 0;
        let mut planted = BTreeSet::new();
        for event in events {
            match event {
                Event::Publish(set, power) => {
                    number += 1;
                    let goal = goal(number, &set);
                    // A folder that holds a foreign file stays, and then no file can take its place: refused, untouched.
                    let Ok(_) = world.plan(&goal) else { continue };
                    world.power = power;
                    let done = world.converge(&goal);
                    world.power = None;
                    if !done {
                        prop_assert!(world.converge(&goal));
                    }
                    let after = world.plan(&goal).unwrap();
                    prop_assert!(after.is_empty(), "{after}");
                    check(&world, &goal, &planted);
                }
                Event::Stop(index) => world.containers[index].state = ContainerState::Stopped,
                Event::Start(index) => world.start(CONTAINERS[index].0),
                Event::Plant(index) => {
                    let place = ["data/deep/theirs", "data/theirs", "e/theirs", "h/i/theirs"][usize::from(index % 4)];
                    if world.disk.contains_key(&world::path(place).parent().unwrap()) {
                        world.put(place, "theirs");
                        planted.insert(place);
                        // The planter tells the containers; the follower does not know of the file.
                        let up: Vec<String> = world.containers.iter().filter(|each| each.state == ContainerState::Up).map(|each| each.name.clone()).collect();
                        for name in up {
                            world.start(&name);
                        }
                    }
                }
            }
        }
    }
}

fn check(world: &World, goal: &VerifiedBundle, planted: &BTreeSet<&str>) {
    let wanted: BTreeSet<&str> =
        goal.files.iter().map(|file| file.path.as_str()).chain(planted.iter().copied()).collect();
    assert_eq!(world.files().into_iter().collect::<BTreeSet<_>>(), wanted);
    for file in &goal.files {
        let node = Node::File(file.content.as_bytes().to_vec(), file.owner, file.mode.bits());
        assert_eq!(world.disk.get(&file.path), Some(&node));
    }
    for each in world.containers.iter().filter(|each| each.state == ContainerState::Up) {
        let files = |nodes: &BTreeMap<_, _>| -> BTreeMap<_, _> {
            nodes
                .iter()
                .filter(|(_, node)| matches!(node, Node::File(..)))
                .map(|(path, node): (&pconf_names::RelativePath, &Node)| (path.clone(), node.clone()))
                .collect()
        };
        let on_disk: BTreeMap<_, _> = files(&world.disk).into_iter().filter(|(path, _)| each.can_read(path)).collect();
        assert_eq!(files(&world.memory[&each.name]), on_disk, "{} runs on something else", each.name);
    }
}
