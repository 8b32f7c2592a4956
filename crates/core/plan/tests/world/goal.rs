//! Bundles that were sealed and opened, and what they say of a container.

use std::sync::LazyLock;

use pconf_bundle::{
    Bundle, Class, ComposeFile, Content, Directory, EnrolmentKey, File, Keys, OnChange, ServiceRule, VerifiedBundle,
    open_bundle, seal_bundle,
};
use pconf_names::{RelativePath, RevisionId};
use pconf_plan::Container;

pub fn path(text: &str) -> RelativePath {
    text.parse().unwrap()
}

pub fn file(at: &str, text: &str) -> File {
    File {
        path: path(at),
        class: Class::Config,
        owner: super::owner(),
        mode: "0640".parse().unwrap(),
        on_change: None,
        content: Content::from(text.as_bytes().to_vec()),
    }
}

pub fn directory(at: &str) -> Directory {
    Directory { path: path(at), owner: super::owner(), mode: "0750".parse().unwrap() }
}

pub fn empty(number: u64) -> Bundle {
    Bundle::empty(RevisionId { epoch: 1, number }, "co1".parse().unwrap(), "core".parse().unwrap())
}

pub fn bundle(number: u64, directories: &[&str], files: &[(&str, &str)]) -> VerifiedBundle {
    verified(&Bundle {
        directories: directories.iter().map(|at| directory(at)).collect(),
        files: files.iter().map(|(at, text)| file(at, text)).collect(),
        ..empty(number)
    })
}

/// A bundle that says something of services, too; each rule is the JSON of `role.json`.
pub fn ruled(number: u64, files: &[(&str, &str)], rules: &[&str]) -> VerifiedBundle {
    verified(&Bundle {
        files: files.iter().map(|(at, text)| file(at, text)).collect(),
        services: rules.iter().map(|rule| serde_json::from_str(rule).unwrap()).collect(),
        ..empty(number)
    })
}

/// A bundle whose compose file `pryv.yml` is declared.
pub fn declared(number: u64, files: &[(&str, &str)]) -> VerifiedBundle {
    verified(&Bundle {
        files: files.iter().map(|(at, text)| file(at, text)).collect(),
        compose: vec![ComposeFile { file: path("pryv.yml"), project: "p".to_owned() }],
        ..empty(number)
    })
}

/// Only what was opened is verified.
pub fn verified(bundle: &Bundle) -> VerifiedBundle {
    static KEYS: LazyLock<Keys> =
        LazyLock::new(|| Keys::derive("co1.1".parse().unwrap(), &EnrolmentKey::from([7; 32])));
    let sealed = seal_bundle(&KEYS, bundle, [0; 24]);
    open_bundle(&KEYS, &bundle.role, bundle.revision, &sealed.bytes).unwrap()
}

/// How a container takes a change of a file: what its label says, else the last rule that matches, unless the file says so.
pub fn manner(goal: &Bundle, container: &Container, path: &RelativePath) -> OnChange {
    let file = goal.files.iter().find(|file| file.path == *path);
    file.and_then(|file| file.on_change.clone()).unwrap_or_else(|| own_manner(goal, container))
}

pub fn own_manner(goal: &Bundle, container: &Container) -> OnChange {
    let named =
        |rule: &&ServiceRule| [container.name.as_str(), &container.service, "*"].contains(&rule.service.as_str());
    let mut rules = goal.services.iter().filter(named).filter_map(|rule| rule.on_change.clone());
    let label = container.labels.get("on-change").map(|text| word(text));
    label.or(rules.next_back()).unwrap_or(OnChange::Restart)
}

pub fn word(text: &str) -> OnChange {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::from_value(text.into()).unwrap())
}
