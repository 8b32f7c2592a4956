//! A machine in memory that carries out plans: a disk with inodes, containers that remember what they took and of what
//! they were made, and a follower's cycle that can be cut off before any effect.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod compose;
pub mod follower;
pub mod goal;

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{ComposeFile, VerifiedBundle};
use pconf_names::{Digest, Owner, RelativePath};
use pconf_plan::{
    Admission, Container, ContainerState, Ledger, Observed, Obstacle, OnDisk, Plan, Reads, Refusal, Step, admit,
    places_to_look, plan,
};

pub use goal::path;

#[derive(Debug, Clone, Default)]
pub struct World {
    pub disk: BTreeMap<RelativePath, Node>,
    /// The bytes of every inode that there ever was.
    pub inodes: Vec<String>,
    pub containers: Vec<Container>,
    pub lives: BTreeMap<String, Life>,
    /// What is durable of the follower's memory.
    pub ledger: Ledger,
    pub clock: u64,
    /// Effects that may still happen before the plug is pulled.
    pub power: Option<usize>,
    /// The container that is not well after the next action on it.
    pub failing: Option<String>,
    /// What was done in the last cycle, in order, in the words of a printed plan.
    pub calls: Vec<String>,
    /// Those of them that compose left something to do for.
    pub again: Vec<String>,
    /// The plan of the last cycle.
    pub planned: Option<Plan>,
    /// What the printed plan of the last cycle said would be done.
    pub announced: Vec<String>,
    /// How often the follower's memory was made durable.
    pub saves: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File { inode: usize, owner: Owner, mode: u32 },
    Folder,
    Other(&'static str),
}

/// What cannot be seen of a container.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// What it took last of every file that it can see: at its start, or when it was told to.
    pub taken: BTreeMap<RelativePath, String>,
    /// The inodes behind its mounts of single files.
    pub mounted: BTreeMap<RelativePath, usize>,
    /// What compose made it of.
    pub made: Option<String>,
    /// Whether its operator was the last to stop it.
    pub is_stopped_by_operator: bool,
    /// The container whose address it keeps.
    pub upstream: Option<String>,
    /// Files that it was not to be told of, and has not taken since.
    pub excused: BTreeSet<RelativePath>,
    /// How often it was stopped, started, made or told anything.
    pub touched: usize,
}

/// A container that runs and mounts these places; `.` is the whole root.
pub fn container(name: &str, places: &[&str]) -> Container {
    let reads = places.iter().map(|place| if *place == "." { Reads::Everything } else { Reads::Within(path(place)) });
    Container {
        id: format!("{name}-id"),
        name: name.to_owned(),
        service: name.to_owned(),
        state: ContainerState::Up,
        started: "0".to_owned(),
        reads: reads.collect(),
        made_from: None,
        labels: BTreeMap::new(),
    }
}

/// One that compose made from `pryv.yml` of the project `p`.
pub fn composed(name: &str, places: &[&str]) -> Container {
    let made_from = Some(ComposeFile { file: path("pryv.yml"), project: "p".to_owned() });
    Container { service: name.to_owned(), made_from, ..container(&format!("p_{name}_1"), places) }
}

pub fn labelled(mut container: Container, labels: &[(&str, &str)]) -> Container {
    container.labels = labels.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    container
}

fn owner() -> Owner {
    Owner { uid: 9999, gid: 9999 }
}

impl World {
    pub fn with(containers: Vec<Container>) -> Self {
        let names: Vec<String> = containers.iter().map(|container| container.name.clone()).collect();
        let mut world = Self { containers, ..Self::default() };
        for name in names {
            world.start(&name);
        }
        world
    }

    /// Somebody writes a file, by a rename.
    pub fn put(&mut self, at: &str, text: &str) {
        let at = path(at);
        for folder in std::iter::successors(at.parent(), RelativePath::parent) {
            self.disk.insert(folder, Node::Folder);
        }
        let inode = self.new_inode(text);
        self.disk.insert(at, Node::File { inode, owner: owner(), mode: 0o640 });
    }

    pub fn give_away(&mut self, at: &str) {
        if let Some(Node::File { owner, .. }) = self.disk.get_mut(&path(at)) {
            *owner = Owner { uid: 0, gid: 0 };
        }
    }

    pub fn obstruct(&mut self, at: &str, what: &'static str) {
        self.disk.insert(path(at), Node::Other(what));
    }

    pub fn files(&self) -> Vec<&str> {
        self.disk.iter().filter(|(_, node)| matches!(node, Node::File { .. })).map(|(path, _)| path.as_str()).collect()
    }

    pub fn text(&self, at: &RelativePath) -> Option<&str> {
        match self.disk.get(at) {
            Some(Node::File { inode, .. }) => Some(&self.inodes[*inode]),
            _ => None,
        }
    }

    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    pub fn container_mut(&mut self, name: &str) -> &mut Container {
        self.containers.iter_mut().find(|container| container.name == name).unwrap()
    }

    pub fn life(&mut self, name: &str) -> &mut Life {
        self.lives.entry(name.to_owned()).or_default()
    }

    fn new_inode(&mut self, text: &str) -> usize {
        self.inodes.push(text.to_owned());
        self.inodes.len() - 1
    }

    fn look(&self, at: &RelativePath) -> OnDisk {
        let mut way: Vec<_> = std::iter::successors(Some(at.clone()), RelativePath::parent).collect();
        way.reverse();
        for step in way {
            match self.disk.get(&step) {
                None => return OnDisk::Nothing,
                Some(Node::Folder) if step != *at => {}
                Some(Node::Folder) => return OnDisk::Folder,
                Some(Node::File { inode, owner, mode }) if step == *at => {
                    let digest = Some(Digest::of(self.inodes[*inode].as_bytes()));
                    return OnDisk::File { digest, owner: *owner, mode: *mode };
                }
                Some(Node::File { .. }) => return OnDisk::Obstacle(Obstacle { at: step, what: "a file".into() }),
                Some(Node::Other(what)) => return OnDisk::Obstacle(Obstacle { at: step, what: (*what).into() }),
            }
        }
        OnDisk::Nothing
    }

    pub fn observe(&self, goal: &VerifiedBundle, ledger: &Ledger) -> Observed {
        let places = places_to_look(goal, ledger);
        Observed {
            disk: places.into_keys().map(|path| (path.clone(), self.look(&path))).collect(),
            containers: Some(self.containers.clone()),
        }
    }

    /// What would be done for a goal that the leader offers.
    pub fn plan(&self, goal: &VerifiedBundle) -> Result<Plan, Refusal> {
        assert_eq!(admit(goal, &self.ledger)?, Admission::Taken);
        self.plan_back(goal)
    }

    /// What would be done for a goal that was taken before.
    pub fn plan_back(&self, goal: &VerifiedBundle) -> Result<Plan, Refusal> {
        plan(goal, &self.ledger, &self.observe(goal, &self.ledger))
    }

    /// What the container sees at `at` now.
    pub fn view(&self, container: &Container, at: &RelativePath) -> Option<&str> {
        if container.mounts_alone(at) {
            return self.lives[&container.name].mounted.get(at).map(|inode| self.inodes[*inode].as_str());
        }
        self.text(at).filter(|_| container.can_read(at))
    }

    /// A start: mounts show what has their names now, and everything is read.
    pub fn start(&mut self, name: &str) {
        self.clock += 1;
        let started = self.clock.to_string();
        let container = self.container_mut(name);
        container.state = ContainerState::Up;
        container.started = started;
        let container = container.clone();
        let mounted = container.reads.iter().filter_map(|reads| match reads {
            Reads::Within(place) => match self.disk.get(place) {
                Some(Node::File { inode, .. }) => Some((place.clone(), *inode)),
                _ => None,
            },
            Reads::Everything => None,
        });
        let mounted = mounted.collect();
        let life = self.life(name);
        life.mounted = mounted;
        life.is_stopped_by_operator = false;
        life.touched += 1;
        self.read(&container);
    }

    /// The container takes all that it sees.
    pub fn read(&mut self, container: &Container) {
        let places: BTreeSet<&RelativePath> =
            self.disk.keys().chain(self.lives[&container.name].mounted.keys()).collect();
        let taken = places.into_iter().filter_map(|at| Some((at.clone(), self.view(container, at)?.to_owned())));
        let taken = taken.collect();
        let upstream = self.container("p_web_1").map(|web| web.id.clone());
        let excused = self.lives[&container.name].excused.iter();
        // No reload reaches the new inode of a file that it was not to be told of.
        let excused = excused.filter(|at| self.view(container, at) != self.text(at)).cloned().collect();
        let life = self.life(&container.name);
        (life.taken, life.upstream, life.excused) = (taken, upstream, excused);
    }

    pub fn stop(&mut self, name: &str, is_by_operator: bool) {
        self.container_mut(name).state = ContainerState::Stopped;
        let life = self.life(name);
        life.is_stopped_by_operator = is_by_operator;
        life.touched += 1;
    }

    pub fn remove(&mut self, name: &str) {
        self.containers.retain(|container| container.name != name);
        self.lives.remove(name);
    }

    fn take(&mut self, goal: &VerifiedBundle, step: &Step) {
        match step {
            Step::MakeFolder { path, .. } => {
                assert!(path.parent().is_none_or(|parent| self.disk.get(&parent) == Some(&Node::Folder)), "{path}");
                assert_eq!(self.disk.insert(path.clone(), Node::Folder), None, "{path}");
            }
            Step::WriteFile { path, replaces, in_place } => {
                assert!(path.parent().is_none_or(|parent| self.disk.get(&parent) == Some(&Node::Folder)), "{path}");
                let file = goal.files.iter().find(|file| file.path == *path).unwrap();
                let text = std::str::from_utf8(file.content.as_bytes()).unwrap();
                self.nobody_watches(goal, path);
                self.excuse(goal, path);
                let inode = match self.disk.get(path) {
                    Some(Node::File { inode, .. }) if *in_place => {
                        let inode = *inode;
                        text.clone_into(&mut self.inodes[inode]);
                        inode
                    }
                    _ => self.new_inode(text),
                };
                let node = Node::File { inode, owner: file.owner, mode: file.mode.bits() };
                assert_eq!(self.disk.insert(path.clone(), node).is_some(), *replaces, "{path}");
            }
            Step::SetPermission { path, owner, mode } => match self.disk.get_mut(path) {
                Some(Node::File { owner: is, mode: bits, .. }) => (*is, *bits) = (*owner, mode.bits()),
                other => panic!("{path}: {other:?}"),
            },
            Step::RemoveFile { path } => {
                self.nobody_watches(goal, path);
                self.excuse(goal, path);
                assert!(matches!(self.disk.remove(path), Some(Node::File { .. })), "{path}");
            }
            Step::RemoveFolder { path } => {
                let mounts = |each: &Container| each.reads.contains(&Reads::Within(path.clone()));
                assert!(!self.containers.iter().any(mounts), "somebody mounts {path}");
                if !self.disk.keys().any(|each| each != path && each.is_within(path)) {
                    assert_eq!(self.disk.remove(path), Some(Node::Folder), "{path}");
                }
            }
        }
    }

    /// Those that look by themselves are not told of a change.
    fn excuse(&mut self, goal: &VerifiedBundle, path: &RelativePath) {
        for container in self.containers.clone().iter().filter(|each| each.can_read(path)) {
            if goal::manner(goal, container, path) == pconf_bundle::OnChange::None {
                self.life(&container.name).excused.insert(path.clone());
            }
        }
    }

    /// No container runs that must not see the file changing.
    fn nobody_watches(&self, goal: &VerifiedBundle, path: &RelativePath) {
        for container in self.containers.iter().filter(|each| each.state == ContainerState::Up && each.can_read(path)) {
            let how = goal::manner(goal, container, path);
            assert_ne!(how, pconf_bundle::OnChange::StopFirst, "{} runs while {path} changes", container.name);
        }
    }
}
