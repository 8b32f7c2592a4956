//! What compose is told to make: the services of the compose files among a machine's files.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, ComposeFile};
use pconf_names::{Digest, RelativePath};

use crate::compose::{ComposeService, ComposeServices, compose_services};
use crate::observed::Container;

/// The compose files that concern a machine: those that the set declares, and those that containers were made from.
pub(crate) fn projects(goal: &Bundle, containers: &[Container]) -> BTreeSet<(RelativePath, String)> {
    let made_from = containers.iter().filter_map(|container| container.made_from.as_ref());
    goal.compose.iter().chain(made_from).map(|ComposeFile { file, project }| (file.clone(), project.clone())).collect()
}

/// The services of the compose file at `path`; `None` where the goal has no such file, or it is none.
pub(crate) fn services(goal: &Bundle, path: &RelativePath) -> Option<ComposeServices> {
    let file = goal.files.iter().find(|file| file.path == *path)?;
    compose_services(path, file.content.as_bytes())
}

/// What a service is made of, its `env_file`s included.
pub(crate) fn definition(goal: &Bundle, service: &ComposeService) -> Digest {
    let mut text = service.definition.to_string();
    for path in &service.env_files {
        let content = goal.files.iter().find(|file| file.path == *path).map(|file| file.content.digest());
        text += &format!("\n{path} {}", content.map_or_else(|| "-".to_owned(), |digest| digest.to_string()));
    }
    Digest::of(text.as_bytes())
}

/// How every service of the compose files that concern a machine is defined, by [`key`].
pub(crate) fn definitions(goal: &Bundle, containers: &[Container]) -> BTreeMap<String, Digest> {
    let mut all = BTreeMap::new();
    for (file, _) in projects(goal, containers) {
        for (name, service) in services(goal, &file).into_iter().flat_map(|services| services.0) {
            all.insert(key(&file, &name), definition(goal, &service));
        }
    }
    all
}

/// How the ledger calls a service of a compose file.
pub(crate) fn key(file: &RelativePath, service: &str) -> String {
    format!("{file}#{service}")
}
