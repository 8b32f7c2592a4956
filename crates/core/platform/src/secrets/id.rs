//! How a secret is called, and how one value of it.

use std::fmt;
use std::str::FromStr;

use pconf_names::{InvalidName, MachineName, RoleName};
use serde::{Deserialize, Serialize};

/// The name of a secret: 1 to 63 of `a-z`, `0-9` and `_`, starting with a letter, so that it is a template variable, a
/// file name and half of `name@machine` without quoting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// The text is no name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a secret: use 1 to 63 of a-z, 0-9 and `_`, starting with a letter")]
pub struct InvalidSecretName(String);

/// Who shares one value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretOwner {
    /// All machines.
    Platform,
    /// The machines of one role.
    Role(RoleName),
    /// One machine.
    Machine(MachineName),
}

/// One value of a secret: `name`, `name@role:core` or `name@co1`. No machine's name holds a `:`. The file that holds the
/// value is called the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SecretId {
    /// The secret.
    pub name: SecretName,
    /// Who shares the value.
    pub owner: SecretOwner,
}

/// The text is not how a value of a secret is called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretId {
    /// What stands before the `@`.
    #[error(transparent)]
    Name(#[from] InvalidSecretName),
    /// What stands behind it.
    #[error("a value of a secret is called `NAME`, `NAME@MACHINE` or `NAME@role:ROLE`")]
    Owner(#[from] InvalidName),
}

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

impl SecretId {
    /// The value of the whole platform.
    #[must_use]
    pub fn of_platform(name: SecretName) -> Self {
        Self { name, owner: SecretOwner::Platform }
    }
}

impl FromStr for SecretId {
    type Err = InvalidSecretId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((name, owner)) = text.split_once('@') else { return Ok(Self::of_platform(text.parse()?)) };
        let owner = match owner.strip_prefix("role:") {
            Some(role) => SecretOwner::Role(role.parse()?),
            None => SecretOwner::Machine(owner.parse()?),
        };
        Ok(Self { name: name.parse()?, owner })
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            SecretOwner::Platform => write!(f, "{}", self.name),
            SecretOwner::Role(role) => write!(f, "{}@role:{role}", self.name),
            SecretOwner::Machine(machine) => write!(f, "{}@{machine}", self.name),
        }
    }
}

impl From<SecretId> for String {
    fn from(id: SecretId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SecretId {
    type Error = InvalidSecretId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_called_as_its_file_is_and_nothing_else_is_a_name() {
        for good in ["key", "key@co1", "key@role:core", "key@co-1"] {
            assert_eq!(good.parse::<SecretId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "Key", "key@", "key@role:", "key@a:b", "key@co.1", "key@../x", "@co1", "key@a@b", "a/b"] {
            assert!(bad.parse::<SecretId>().is_err(), "{bad}");
        }
    }
}
