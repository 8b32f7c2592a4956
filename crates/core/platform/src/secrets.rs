//! `secrets.json`: what must be secret, how it is made, who reads it, and how it changes.

mod id;
mod kind;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::{MachineName, RoleName};
use serde::Deserialize;

use crate::json_text::JsonText;
use crate::manifest;
use crate::pointer;
use crate::problem::{self, Problem};
use crate::role::RoleManifest;
use crate::suggest;
use written::Written;

pub use id::{InvalidSecretId, InvalidSecretName, SecretId, SecretName, SecretOwner};
pub use kind::{DhGroup, SecretKind};

/// What `secrets.json` says: the secrets of a set by name. It declares them; it holds none.
#[derive(Debug, Clone)]
pub struct SecretsManifest {
    /// The secrets by name.
    pub secrets: BTreeMap<SecretName, Secret>,
}

/// How one secret is made, who reads it, and how it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// What it is for, for people.
    pub description: String,
    /// How it comes to be.
    pub kind: SecretKind,
    /// Who shares one value.
    pub scope: SecretScope,
    /// The roles whose templates may use it; at least one.
    pub roles: BTreeSet<RoleName>,
    /// How a new value takes the place of the old one.
    pub rotation: Rotation,
    /// Since which version of the set there is such a secret, for people.
    pub introduced_in: Option<String>,
    /// Whether the value stays for good once a revision has used it.
    pub is_immutable: bool,
    /// What is lost with the old value, where that is too much to lose by mistake.
    pub loss: Option<String>,
}

/// Who shares one value of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretScope {
    /// One value for the whole platform.
    #[default]
    Platform,
    /// A value of its own for each role.
    Role,
    /// A value of its own for each machine.
    Machine,
}

/// How a new value takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// In one revision.
    #[default]
    Replace,
    /// In three: both are accepted before the new one is used, and until nobody uses the old one.
    Overlap,
}

impl SecretScope {
    /// Whose value a machine of that role has.
    #[must_use]
    pub fn owner(self, machine: &MachineName, role: &RoleName) -> SecretOwner {
        match self {
            Self::Platform => SecretOwner::Platform,
            Self::Role => SecretOwner::Role(role.clone()),
            Self::Machine => SecretOwner::Machine(machine.clone()),
        }
    }

    /// Whether a value of this scope can be that owner's.
    #[must_use]
    pub fn fits(self, owner: &SecretOwner) -> bool {
        match owner {
            SecretOwner::Platform => self == Self::Platform,
            SecretOwner::Role(_) => self == Self::Role,
            SecretOwner::Machine(_) => self == Self::Machine,
        }
    }
}

impl SecretsManifest {
    /// Reads `secrets.json`; the roles that it names must be among `roles`. `file_name` is how problems call it.
    pub fn parse(file_name: &str, text: &str, roles: &BTreeMap<RoleName, RoleManifest>) -> Result<Self, Vec<Problem>> {
        let json = manifest::read(file_name, text, SCHEMA)?;
        let mut written: BTreeMap<String, Written> = manifest::typed(&json)?;
        let scopes: BTreeMap<_, _> = written.iter().map(|(name, one)| (name.clone(), one.scope)).collect();
        for one in written.values_mut().filter(|one| one.scope.is_none()) {
            // Where nothing is said, a derived secret is shared as its source is.
            one.scope = one.source().and_then(|source| *scopes.get(source)?);
        }
        let mut problems = Vec::new();
        let mut secrets = BTreeMap::new();
        for (name, secret) in written {
            let at = pointer::child("", &name);
            for (index, role) in secret.roles.iter().enumerate().filter(|(_, role)| !roles.contains_key(*role)) {
                let known: Vec<_> = roles.keys().map(RoleName::as_str).collect();
                let help = suggest::help(role.as_str(), &known, "the template set has no roles");
                let message = format!("there is no role `{role}`");
                problems.push(json.problem(&format!("{at}/roles/{index}"), "unknown-role", message, help));
            }
            let (secret, found) = secret.understood(&at, &json);
            problems.extend(found);
            // The schema's `secret-name` is the very rule of the type.
            secrets.extend(name.parse().ok().zip(secret));
        }
        problems.extend(underivable(&secrets, &json));
        problem::put_in_order(&mut problems);
        if problems.is_empty() { Ok(Self { secrets }) } else { Err(problems) }
    }

    /// The secrets that are derived from this one.
    pub fn derived_from<'s>(&'s self, source: &'s SecretName) -> impl Iterator<Item = (&'s SecretName, &'s Secret)> {
        self.secrets
            .iter()
            .filter(move |(_, secret)| matches!(&secret.kind, SecretKind::Derived { from, .. } if from == source))
    }

    /// The roles that read a secret, by itself or through one that is derived from it.
    #[must_use]
    pub fn readers<'s>(&'s self, name: &'s SecretName) -> BTreeSet<&'s RoleName> {
        let own = self.secrets.get(name).into_iter();
        own.chain(self.derived_from(name).map(|(_, secret)| secret)).flat_map(|secret| &secret.roles).collect()
    }
}

/// Derived secrets whose source is none.
fn underivable(secrets: &BTreeMap<SecretName, Secret>, json: &JsonText) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, secret) in secrets {
        let SecretKind::Derived { from, .. } = &secret.kind else { continue };
        let at = pointer::child("", name.as_str());
        let from_at = pointer::child(&at, "from");
        match secrets.get(from) {
            None => {
                let known: Vec<_> = secrets.keys().filter(|one| *one != name).map(SecretName::as_str).collect();
                let help = suggest::help(from.as_str(), &known, "declare it");
                problems.push(json.problem(&from_at, "unknown-secret", format!("there is no secret `{from}`"), help));
            }
            Some(source) if matches!(source.kind, SecretKind::Derived { .. }) || !source.kind.is_text() => {
                let message = format!("nothing is derived from a secret of the kind {}", source.kind.name());
                let help = "name one that is a text, and is not derived itself";
                problems.push(json.problem(&from_at, "contradiction", message, help));
            }
            Some(source) if source.scope != secret.scope => {
                let message = format!("`{from}` is shared otherwise");
                let help = "a derived secret has the scope of its source: remove `scope`";
                problems.push(json.problem(&pointer::child(&at, "scope"), "contradiction", message, help));
            }
            Some(_) => {}
        }
    }
    problems
}

const SCHEMA: &str = include_str!("secrets.schema.json");
