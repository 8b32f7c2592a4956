//! `secrets.json`: what must be secret, how it is made and who reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use pconf_names::RoleName;
use serde::Deserialize;

use crate::json_text::JsonText;
use crate::manifest;
use crate::pointer;
use crate::problem::{self, Problem};
use crate::role::RoleManifest;
use crate::suggest;

/// What `secrets.json` says: the secrets of a set by name. It declares them; it holds none.
#[derive(Debug, Clone)]
pub struct SecretsManifest {
    /// The secrets by name.
    pub secrets: BTreeMap<SecretName, Secret>,
}

/// How one secret is made and who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// What it is for, for people.
    pub description: String,
    /// How it comes to be.
    pub kind: SecretKind,
    /// Whether all machines share it.
    pub scope: SecretScope,
    /// The roles whose templates may use it; at least one.
    pub roles: BTreeSet<RoleName>,
}

/// How a secret comes to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// Made by the leader: so many characters of `A-Za-z0-9`.
    Random {
        /// The number of characters, 16 to 1024.
        length: usize,
    },
    /// A certificate and its private key, PEM; made self-signed by the leader until the admin brings others.
    Certificate {
        /// DNS names that it is for; Tera text over settings and machines.
        names: Vec<String>,
    },
    /// Brought by the admin.
    External,
}

/// Whether all machines share a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretScope {
    /// One value for the whole platform.
    #[default]
    Platform,
    /// A value of its own for each machine.
    Machine,
}

/// The name of a secret: 1 to 63 of `a-z`, `0-9` and `_`, starting with a letter, so that it is a template variable, a
/// file name and half of `name@machine` without quoting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// The text is no name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a secret: use 1 to 63 of a-z, 0-9 and `_`, starting with a letter")]
pub struct InvalidSecretName(String);

impl SecretName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = InvalidSecretName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alphabet = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let good = text.len() <= 63 && text.bytes().all(alphabet) && text.starts_with(|c: char| c.is_ascii_lowercase());
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidSecretName(text.to_owned())) }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SecretsManifest {
    /// Reads `secrets.json`; the roles that it names must be among `roles`. `file_name` is how problems call it.
    pub fn parse(file_name: &str, text: &str, roles: &BTreeMap<RoleName, RoleManifest>) -> Result<Self, Vec<Problem>> {
        let json = manifest::read(file_name, text, SCHEMA)?;
        let written: BTreeMap<String, Written> = manifest::typed(&json)?;
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
            match (name.parse(), secret.understood(&at, &json)) {
                (Ok(name), Ok(secret)) => {
                    secrets.insert(name, secret);
                }
                (_, Err(found)) => problems.extend(found),
                // The schema's `secret-name` is this very rule.
                (Err(InvalidSecretName(_)), Ok(_)) => {}
            }
        }
        problem::put_in_order(&mut problems);
        if problems.is_empty() { Ok(Self { secrets }) } else { Err(problems) }
    }
}

const SCHEMA: &str = include_str!("secrets.schema.json");

#[derive(Deserialize)]
struct Written {
    description: String,
    kind: WrittenKind,
    length: Option<usize>,
    #[serde(default)]
    scope: SecretScope,
    roles: Vec<RoleName>,
    names: Option<Vec<String>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum WrittenKind {
    Random,
    Certificate,
    External,
}

impl Written {
    fn understood(self, at: &str, json: &JsonText) -> Result<Secret, Vec<Problem>> {
        let stray = |key: &str, of: &str| {
            let message = format!("`{key}` is for {of}");
            Err(vec![json.key_problem(&pointer::child(at, key), "stray-key", message, "remove it, or change the kind")])
        };
        if self.length.is_some() && self.kind != WrittenKind::Random {
            return stray("length", "random secrets only");
        }
        if self.names.is_some() && self.kind != WrittenKind::Certificate {
            return stray("names", "certificates only");
        }
        let kind = match (self.kind, self.names) {
            (WrittenKind::Random, _) => SecretKind::Random { length: self.length.unwrap_or(32) },
            (WrittenKind::Certificate, Some(names)) => SecretKind::Certificate { names },
            (WrittenKind::Certificate, None) => {
                let help = "write \"names\": [\"{{ settings.domain }}\"]";
                return Err(vec![json.problem(at, "missing-key", "a certificate needs `names`", help)]);
            }
            (WrittenKind::External, _) => SecretKind::External,
        };
        let roles = self.roles.into_iter().collect();
        Ok(Secret { description: self.description, kind, scope: self.scope, roles })
    }
}
