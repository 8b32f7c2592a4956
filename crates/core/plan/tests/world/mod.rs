//! A machine in memory that carries out plans: a disk, containers that remember what they read when they started.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use pconf_bundle::{
    Bundle, Class, Content, Directory, EnrolmentKey, File, Keys, VerifiedBundle, open_bundle, seal_bundle,
};
use pconf_names::{Digest, Mode, Owner, RelativePath, RevisionId};
use pconf_plan::{
    Admission, Container, ContainerState, Ledger, Observed, Obstacle, OnDisk, Plan, Purpose, Reads, Refusal, Step,
    What, admit, places_to_look, plan, plan_owed,
};

#[derive(Debug, Clone, Default)]
pub struct World {
    pub disk: BTreeMap<RelativePath, Node>,
    pub containers: Vec<Container>,
    /// What each container read when it started.
    pub memory: BTreeMap<String, BTreeMap<RelativePath, Node>>,
    pub ledger: Ledger,
    pub clock: u64,
    /// Effects that may still happen before the plug is pulled.
    pub power: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File(Vec<u8>, Owner, u32),
    Folder,
    Other(&'static str),
}

pub fn path(text: &str) -> RelativePath {
    text.parse().unwrap()
}

fn owner() -> Owner {
    Owner { uid: 9999, gid: 9999 }
}

fn mode() -> Mode {
    "0640".parse().unwrap()
}

pub fn bundle(number: u64, directories: &[&str], files: &[(&str, &str)]) -> VerifiedBundle {
    let bundle = Bundle {
        directories: directories
            .iter()
            .map(|text| Directory { path: path(text), owner: owner(), mode: "0750".parse().unwrap() })
            .collect(),
        files: files
            .iter()
            .map(|(text, content)| File {
                path: path(text),
                class: Class::Config,
                owner: owner(),
                mode: mode(),
                on_change: None,
                content: Content::from(content.as_bytes().to_vec()),
            })
            .collect(),
        ..Bundle::empty(RevisionId { epoch: 1, number }, "co1".parse().unwrap(), "core".parse().unwrap())
    };
    // Only what was opened is verified.
    let keys = Keys::derive("co1.1".parse().unwrap(), &EnrolmentKey::from([7; 32]));
    let sealed = seal_bundle(&keys, &bundle, [0; 24]);
    open_bundle(&keys, &bundle.role, bundle.revision, &sealed.bytes).unwrap()
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

impl World {
    pub fn with(containers: Vec<Container>) -> Self {
        Self { containers, ..Self::default() }
    }

    pub fn put(&mut self, at: &str, text: &str) {
        let at = path(at);
        for folder in std::iter::successors(at.parent(), RelativePath::parent) {
            self.disk.insert(folder, Node::Folder);
        }
        self.disk.insert(at, Node::File(text.as_bytes().to_vec(), owner(), mode().bits()));
    }

    pub fn give_away(&mut self, at: &str) {
        if let Some(Node::File(_, owner, _)) = self.disk.get_mut(&path(at)) {
            *owner = Owner { uid: 0, gid: 0 };
        }
    }

    pub fn obstruct(&mut self, at: &str, what: &'static str) {
        self.disk.insert(path(at), Node::Other(what));
    }

    pub fn files(&self) -> Vec<&str> {
        self.disk.iter().filter(|(_, node)| matches!(node, Node::File(..))).map(|(path, _)| path.as_str()).collect()
    }

    fn look(&self, at: &RelativePath) -> OnDisk {
        let mut way: Vec<_> = std::iter::successors(Some(at.clone()), RelativePath::parent).collect();
        way.reverse();
        for step in way {
            match self.disk.get(&step) {
                None => return OnDisk::Nothing,
                Some(Node::Folder) if step != *at => {}
                Some(Node::Folder) => return OnDisk::Folder,
                Some(Node::File(bytes, owner, mode)) if step == *at => {
                    return OnDisk::File { digest: Some(Digest::of(bytes)), owner: *owner, mode: *mode };
                }
                Some(Node::File(..)) => return OnDisk::Obstacle(Obstacle { at: step, what: "a file" }),
                Some(Node::Other(what)) => return OnDisk::Obstacle(Obstacle { at: step, what }),
            }
        }
        OnDisk::Nothing
    }

    pub fn observe(&self, goal: &VerifiedBundle) -> Observed {
        let places = places_to_look(goal, &self.ledger);
        Observed {
            disk: places.into_keys().map(|path| (path.clone(), self.look(&path))).collect(),
            containers: Some(self.containers.clone()),
        }
    }

    pub fn plan(&self, goal: &VerifiedBundle) -> Result<Plan, Refusal> {
        assert_eq!(admit(goal, &self.ledger)?, Admission::Taken);
        plan(goal, &self.ledger, &self.observe(goal))
    }

    fn has_power(&mut self) -> bool {
        match &mut self.power {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    pub fn start(&mut self, name: &str) {
        self.clock += 1;
        let clock = self.clock.to_string();
        let disk = &self.disk;
        if let Some(container) = self.containers.iter_mut().find(|container| container.name == name) {
            container.state = ContainerState::Up;
            container.started = clock;
            let memory = disk.iter().filter(|(path, _)| container.can_read(path));
            let memory = memory.map(|(path, node)| (path.clone(), node.clone())).collect();
            self.memory.insert(name.to_owned(), memory);
        }
    }

    /// The container reads its files without being started.
    fn reread(&mut self, name: &str) {
        if let Some(container) = self.containers.iter().find(|container| container.name == name) {
            let memory = self.disk.iter().filter(|(path, _)| container.can_read(path));
            self.memory.insert(name.to_owned(), memory.map(|(path, node)| (path.clone(), node.clone())).collect());
        }
    }

    /// Intent, files and actions; `false` when the plug was pulled.
    pub fn begin(&mut self, goal: &VerifiedBundle) -> bool {
        let plan = self.plan(goal).unwrap();
        self.ledger.intend(goal, Purpose::Goal, &plan);
        for stop in &plan.stops {
            if !self.has_power() {
                return false;
            }
            let container = self.containers.iter_mut().find(|container| container.name == stop.name).unwrap();
            container.state = ContainerState::Stopped;
        }
        for step in &plan.steps {
            if !self.has_power() {
                return false;
            }
            self.take(goal, step);
        }
        if !self.has_power() {
            return false;
        }
        self.ledger.written(goal, &self.containers);
        for action in plan_owed(goal, &self.ledger, &self.containers).actions {
            if !self.has_power() {
                return false;
            }
            match action.what {
                What::Verify => {}
                What::Signal(_) | What::Exec(_) => self.reread(&action.name),
                What::Restart | What::Start => self.start(&action.name),
                What::Recreate { .. } => {
                    let container = self.containers.iter_mut().find(|container| container.name == action.name);
                    container.unwrap().id += "'";
                    self.start(&action.name);
                }
                What::Remove => self.containers.retain(|container| container.name != action.name),
            }
            if !self.has_power() {
                return false;
            }
            self.ledger.paid(&action.name);
        }
        true
    }

    /// One whole cycle; `false` when the plug was pulled.
    pub fn converge(&mut self, goal: &VerifiedBundle) -> bool {
        let done = self.begin(goal);
        if done {
            self.ledger.finish(&self.containers);
        }
        done
    }

    fn take(&mut self, goal: &VerifiedBundle, step: &Step) {
        match step {
            Step::MakeFolder { path, .. } => {
                assert!(path.parent().is_none_or(|parent| self.disk.get(&parent) == Some(&Node::Folder)), "{path}");
                assert_eq!(self.disk.insert(path.clone(), Node::Folder), None, "{path}");
            }
            Step::WriteFile { path, replaces, .. } => {
                assert!(path.parent().is_none_or(|parent| self.disk.get(&parent) == Some(&Node::Folder)), "{path}");
                let file = goal.files.iter().find(|file| file.path == *path).unwrap();
                let node = Node::File(file.content.as_bytes().to_vec(), file.owner, file.mode.bits());
                assert_eq!(self.disk.insert(path.clone(), node).is_some(), *replaces, "{path}");
            }
            Step::SetPermission { path, owner, mode } => match self.disk.get_mut(path) {
                Some(Node::File(_, is, bits)) => (*is, *bits) = (*owner, mode.bits()),
                other => panic!("{path}: {other:?}"),
            },
            Step::RemoveFile { path } => assert!(matches!(self.disk.remove(path), Some(Node::File(..))), "{path}"),
            Step::RemoveFolder { path } => {
                if !self.disk.keys().any(|each| each != path && each.is_within(path)) {
                    assert_eq!(self.disk.remove(path), Some(Node::Folder), "{path}");
                }
            }
        }
    }
}
