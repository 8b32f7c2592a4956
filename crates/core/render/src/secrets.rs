//! The values of secrets, as templates see them.

use std::collections::BTreeMap;
use std::fmt;

use pconf_names::MachineName;
use pconf_platform::SecretName;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// One secret's value.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub enum SecretValue {
    /// A password, a key, a token.
    Text(String),
    /// A certificate chain and its private key, both PEM (RFC 7468).
    Certificate {
        /// The chain, leaf first.
        certificate: String,
        /// The key of the leaf.
        key: String,
    },
}

/// The values that exist, by name and, where the scope is the machine, by machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretValues(BTreeMap<(SecretName, Option<MachineName>), SecretValue>);

impl SecretValues {
    /// Sets a value; `machine` is `None` for a secret of the whole platform.
    pub fn insert(&mut self, name: SecretName, machine: Option<MachineName>, value: SecretValue) {
        self.0.insert((name, machine), value);
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get(&self, name: &SecretName, machine: Option<&MachineName>) -> Option<&SecretValue> {
        self.0.get(&(name.clone(), machine.cloned()))
    }

    /// The names of two secrets with one value, if there are such: where both become keys of one object they collapse.
    pub(crate) fn first_equal_pair(&self) -> Option<(&SecretName, &SecretName)> {
        let mut names_by_text = BTreeMap::new();
        self.0.iter().find_map(|((name, _), value)| match value {
            SecretValue::Text(text) => {
                names_by_text.insert(text.as_str(), name).filter(|other| *other != name).map(|other| (other, name))
            }
            SecretValue::Certificate { .. } => None,
        })
    }
}

impl SecretValue {
    /// What nobody may see of it: all of a text, the key of a certificate.
    #[must_use]
    pub fn confidential(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Certificate { key, .. } => key,
        }
    }

    /// The value as templates see it.
    pub(crate) fn to_value(&self) -> tera::Value {
        match self {
            Self::Text(text) => tera::Value::from(text.as_str()),
            Self::Certificate { certificate, key } => {
                let fields = BTreeMap::from([("certificate", certificate.as_str()), ("key", key.as_str())]);
                tera::Value::from_serializable(&fields)
            }
        }
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "secret of {} bytes", text.len()),
            Self::Certificate { certificate, .. } => {
                write!(f, "certificate of {} bytes and its key", certificate.len())
            }
        }
    }
}
