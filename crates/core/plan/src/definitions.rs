//! What compose is told to make: the services of the compose files among a machine's files.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, ComposeFile};
use pconf_names::{Digest, RelativePath};

use crate::compose::{ComposeService, ComposeServices, compose_services};
use crate::observed::Container;

/// The compose files that concern a machine: those that the set declares, and those that containers were made from.
pub(crate) struct Definitions<'a> {
    goal: &'a Bundle,
    /// The projects, by file and name.
    projects: BTreeSet<(RelativePath, String)>,
    /// The services of those files that the goal has and that are compose files.
    services: BTreeMap<RelativePath, ComposeServices>,
}

impl<'a> Definitions<'a> {
    pub(crate) fn of(goal: &'a Bundle, containers: &[Container]) -> Self {
        let made_from = containers.iter().filter_map(|container| container.made_from.as_ref());
        let all = goal.compose.iter().chain(made_from);
        let projects: BTreeSet<_> = all.map(|ComposeFile { file, project }| (file.clone(), project.clone())).collect();
        let concerned = goal.files.iter().filter(|file| projects.iter().any(|(path, _)| *path == file.path));
        let read = concerned
            .filter_map(|file| Some((file.path.clone(), compose_services(&file.path, file.content.as_bytes())?)));
        let services = read.collect();
        Self { goal, projects, services }
    }

    /// The services of the compose file at `path`; `None` where the goal has no such file, or it is none.
    pub(crate) fn services(&self, path: &RelativePath) -> Option<&ComposeServices> {
        self.services.get(path)
    }

    /// The service that a container is one of.
    pub(crate) fn service_of(&self, container: &Container) -> Option<&ComposeService> {
        self.services.get(&container.made_from.as_ref()?.file)?.0.get(&container.service)
    }

    /// Every service with the compose file and project that it belongs to.
    pub(crate) fn all(&self) -> impl Iterator<Item = (ComposeFile, &String, &ComposeService)> {
        self.projects.iter().flat_map(|(file, project)| {
            let services = self.services.get(file).into_iter().flat_map(|services| &services.0);
            services
                .map(|(name, service)| (ComposeFile { file: file.clone(), project: project.clone() }, name, service))
        })
    }

    /// What a service is made of, its `env_file`s included.
    pub(crate) fn definition(&self, service: &ComposeService) -> Digest {
        let mut text = service.definition.to_string();
        for path in &service.env_files {
            let content = self.goal.files.iter().find(|file| file.path == *path).map(|file| file.content.digest());
            text += &format!("\n{path} {}", content.map_or_else(|| "-".to_owned(), |digest| digest.to_string()));
        }
        Digest::of(text.as_bytes())
    }

    /// How every service is defined, by [`key`].
    pub(crate) fn digests(&self) -> BTreeMap<String, Digest> {
        self.all().map(|(compose, name, service)| (key(&compose.file, name), self.definition(service))).collect()
    }
}

/// How the ledger calls a service of a compose file.
pub(crate) fn key(file: &RelativePath, service: &str) -> String {
    format!("{file}#{service}")
}
