//! `role.json`: what a role's files are made of, who owns them, and how its services take them.

use globset::{GlobBuilder, GlobMatcher};
use pconf_names::{Class, ComposeFile, Mode, OnChange, Owner, RelativePath, ServiceRule};
use serde::Deserialize;

use crate::manifest;
use crate::problem::{self, Problem};
use crate::services;

/// What `role.json` says.
#[derive(Debug, Clone)]
pub struct RoleManifest {
    /// What the role is for, for people.
    pub description: String,
    /// Which roles can stand together: all roles of a platform are of one topology.
    pub topology: String,
    /// How many machines of a platform may have the role.
    pub machines: Count,
    /// Folders of the set whose files the role has too, in order; the role's own folder comes after them.
    pub trees: Vec<RelativePath>,
    /// Directories of data and logs that have to exist on the machine, sorted by path.
    pub directories: Vec<ManagedDirectory>,
    /// What is said about services; every rule that matches applies, in order.
    pub services: Vec<ServiceRule>,
    /// Compose files among the role's files whose services are made and removed with them.
    pub compose: Vec<ComposeFile>,
    every_file: Attributes,
    rules: Vec<Rule>,
}

/// How many machines may have a role in a platform of its topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// At least so many.
    pub min: usize,
    /// At most so many; `None` for any number.
    pub max: Option<usize>,
}

/// A directory that is made on the machine; what is in it is never touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedDirectory {
    /// Where, below the machine's root.
    pub path: RelativePath,
    /// Its owner.
    pub owner: Owner,
    /// Its mode.
    pub mode: Mode,
}

/// How a file lands on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// How it is treated.
    pub class: Class,
    /// Numeric owner.
    pub owner: Owner,
    /// Permission bits.
    pub mode: Mode,
    /// How services take a change of it; each in its own way where nothing is said.
    pub on_change: Option<OnChange>,
}

/// What changes for the files that a glob matches.
#[derive(Debug, Clone)]
struct Rule {
    files: GlobMatcher,
    class: Option<Class>,
    owner: Option<Owner>,
    mode: Option<Mode>,
    on_change: Option<OnChange>,
}

impl RoleManifest {
    /// Reads `role.json`; `file_name` is how problems call it.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let json = manifest::read(file_name, text, SCHEMA)?;
        let written: Written = manifest::typed(&json)?;
        let mut problems = Vec::new();

        let Count { min, max } = Count { min: written.machines.min, max: written.machines.max };
        if max.is_some_and(|max| max < min) {
            let message = format!("no number is at least {min} and at most {}", max.unwrap_or_default());
            problems.push(json.problem("/machines", "impossible-count", message, "make `min` no larger than `max`"));
        }
        let mut rules = Vec::new();
        for (index, rule) in written.files.into_iter().enumerate() {
            match glob(&rule.files) {
                Ok(files) => {
                    let WrittenRule { class, owner, mode, on_change, .. } = rule;
                    rules.push(Rule { files, class, owner, mode, on_change });
                }
                Err(error) => {
                    let message = format!("`{}` is not a file pattern: {}", rule.files, error.kind());
                    problems.push(json.problem(&format!("/files/{index}/match"), "wrong-format", message, ""));
                }
            }
        }
        let first = rules.first().filter(|rule| rule.files.glob().glob() == "**");
        let every_file = first.and_then(|rule| {
            let on_change = rule.on_change.clone();
            Some(Attributes { class: rule.class?, owner: rule.owner?, mode: rule.mode?, on_change })
        });
        problems.extend(services::problems(&json, &written.services, &written.compose));
        let Some(every_file) = every_file else {
            let help =
                "start with { \"match\": \"**\", \"class\": \"config\", \"owner\": \"9999:9999\", \"mode\": \"0640\" }";
            let message = "the first rule does not say class, owner and mode of every file";
            problems.push(json.problem("/files/0", "incomplete-rule", message, help));
            problem::put_in_order(&mut problems);
            return Err(problems);
        };
        let mut directories: Vec<ManagedDirectory> = Vec::new();
        for (index, directory) in written.directories.into_iter().enumerate() {
            if directories.iter().any(|known| known.path == directory.path) {
                let message = format!("directory `{}` is declared twice", directory.path);
                let at = format!("/directories/{index}/path");
                problems.push(json.problem(&at, "repeated-item", message, "remove one of the two"));
            }
            directories.push(ManagedDirectory { path: directory.path, owner: directory.owner, mode: directory.mode });
        }
        directories.sort_by(|a, b| a.path.cmp(&b.path));
        if !problems.is_empty() {
            problem::put_in_order(&mut problems);
            return Err(problems);
        }
        Ok(Self {
            description: written.description,
            topology: written.topology,
            machines: Count { min, max },
            trees: written.trees,
            directories,
            services: written.services,
            compose: written.compose,
            every_file,
            rules,
        })
    }

    /// How the file at `path` (as it lands, `.tera` dropped) lands: every rule that matches applies, in order.
    #[must_use]
    pub fn attributes(&self, path: &RelativePath) -> Attributes {
        let mut attributes = self.every_file.clone();
        for rule in self.rules.iter().filter(|rule| rule.files.is_match(path.as_str())) {
            attributes.class = rule.class.unwrap_or(attributes.class);
            attributes.owner = rule.owner.unwrap_or(attributes.owner);
            attributes.mode = rule.mode.unwrap_or(attributes.mode);
            attributes.on_change = rule.on_change.clone().or(attributes.on_change);
        }
        attributes
    }
}

/// A file pattern; `*` stays within a folder, `**` does not.
pub(crate) fn glob(text: &str) -> Result<GlobMatcher, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).build().map(|glob| glob.compile_matcher())
}

const SCHEMA: &str = include_str!("role.schema.json");

#[derive(Deserialize)]
struct Written {
    description: String,
    topology: String,
    #[serde(default)]
    machines: WrittenCount,
    #[serde(default)]
    trees: Vec<RelativePath>,
    files: Vec<WrittenRule>,
    #[serde(default)]
    directories: Vec<WrittenDirectory>,
    #[serde(default)]
    services: Vec<ServiceRule>,
    #[serde(default)]
    compose: Vec<ComposeFile>,
}

#[derive(Deserialize, Default)]
struct WrittenCount {
    #[serde(default)]
    min: usize,
    max: Option<usize>,
}

#[derive(Deserialize)]
struct WrittenRule {
    #[serde(rename = "match")]
    files: String,
    class: Option<Class>,
    owner: Option<Owner>,
    mode: Option<Mode>,
    #[serde(rename = "onChange")]
    on_change: Option<OnChange>,
}

#[derive(Deserialize)]
struct WrittenDirectory {
    path: RelativePath,
    owner: Owner,
    mode: Mode,
}
