//! Compose: it reads the file that is on disk, and makes or replaces what differs.

use std::collections::BTreeSet;

use pconf_names::RelativePath;
use pconf_plan::ContainerState;

use super::{Life, World, composed, path};

/// A service of the random compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: &'static str,
    pub image: u8,
    pub env_file: bool,
    pub depends_on: Vec<&'static str>,
}

pub const ENV_FILE: &str = "x.env";

/// The text of a compose file with these services.
pub fn text(services: &[Service]) -> String {
    let mut text = "services:\n".to_owned();
    for service in services {
        text += &format!("  {}:\n    image: i{}\n", service.name, service.image);
        if service.env_file {
            text += &format!("    env_file: {ENV_FILE}\n");
        }
        if !service.depends_on.is_empty() {
            text += &format!("    depends_on: [ {} ]\n", service.depends_on.join(", "));
        }
    }
    if services.is_empty() { "services: {}\n".to_owned() } else { text }
}

/// What the service of that name is made of, as the disk has it: its lines without `depends_on`, and its variables.
pub fn definition(world: &World, service: &str) -> Option<String> {
    let text = world.text(&path("pryv.yml"))?;
    let start = text.find(&format!("  {service}:\n"))?;
    let lines = text[start..].lines().skip(1).take_while(|line| line.starts_with("    "));
    let lines: Vec<&str> = lines.filter(|line| !line.contains("depends_on")).collect();
    let uses_variables = lines.iter().any(|line| line.contains(ENV_FILE));
    let variables = if uses_variables { world.text(&path(ENV_FILE)).unwrap_or("-") } else { "" };
    Some(format!("{} {variables}", lines.join("\n")))
}

impl World {
    /// `up -d --no-deps` of one service; `false` where compose has nothing to change.
    pub fn compose_up(&mut self, service: &str) -> bool {
        let wanted = definition(self, service);
        assert!(wanted.is_some(), "{service} is no service");
        let name = format!("p_{service}_1");
        if self.lives.get(&name).is_some_and(|life| life.made == wanted) {
            let is_up = self.container(&name).unwrap().state == ContainerState::Up;
            if !is_up {
                self.start(&name);
            }
            return !is_up;
        }
        let touched = self.lives.get(&name).map_or(0, |life| life.touched);
        let reads = self.container(&name).map(|container| (container.reads.clone(), container.labels.clone()));
        self.remove(&name);
        let mut container =
            composed(service, &PLACES.iter().find(|(name, _)| *name == service).map_or(vec![], |p| p.1.to_vec()));
        if let Some((reads, labels)) = reads {
            (container.reads, container.labels) = (reads, labels);
        }
        container.id = format!("{name}-{}", self.clock);
        self.containers.push(container);
        self.lives.insert(name.clone(), Life { made: wanted, touched, ..Life::default() });
        self.start(&name);
        true
    }
}

/// What the services of the random compose file mount.
pub const PLACES: [(&str, &[&str]); 3] = [("web", &["a"]), ("db", &["b/conf", "c"]), ("new", &["c"])];

pub fn places(services: &[Service]) -> BTreeSet<RelativePath> {
    services.iter().filter(|service| service.env_file).map(|_| path(ENV_FILE)).collect()
}
