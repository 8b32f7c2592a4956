//! The values of secrets, as templates see them.

use std::collections::BTreeMap;
use std::fmt;

use pconf_platform::{SecretId, SecretName};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// One secret's value. As JSON it is for an envelope only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretValue {
    /// A password, a key, a token.
    Text(String),
    /// Two keys that belong together; who checks needs the public one only.
    Pair {
        /// What everybody may know.
        public: String,
        /// What nobody else may know.
        private: String,
    },
    /// A certificate chain and its private key, both PEM (RFC 7468).
    Certificate {
        /// The chain, leaf first.
        certificate: String,
        /// The key of the leaf.
        key: String,
    },
    /// What is chosen like a secret and is none: Diffie-Hellman parameters.
    Public(String),
}

/// A secret as it is at the moment: the value that is used and, while it is being rotated, the one beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSecret {
    /// What users use. It is accepted, always.
    pub used: SecretValue,
    /// What is accepted besides: the value that will be used, or the one that was.
    pub other: Option<SecretValue>,
}

/// The values that exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretValues(BTreeMap<SecretId, LiveSecret>);

impl SecretValues {
    /// Sets a value.
    pub fn insert(&mut self, id: SecretId, secret: LiveSecret) {
        self.0.insert(id, secret);
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get(&self, id: &SecretId) -> Option<&LiveSecret> {
        self.0.get(id)
    }

    /// The names of two secrets with one value, if there are such: where both become keys of one object they collapse.
    pub(crate) fn first_equal_pair(&self) -> Option<(&SecretName, &SecretName)> {
        let mut names_by_text = BTreeMap::new();
        self.0.iter().find_map(|(SecretId { name, .. }, secret)| match &secret.used {
            SecretValue::Text(text) => {
                names_by_text.insert(text.as_str(), name).filter(|other| *other != name).map(|other| (other, name))
            }
            SecretValue::Pair { .. } | SecretValue::Certificate { .. } | SecretValue::Public(_) => None,
        })
    }
}

impl From<SecretValue> for LiveSecret {
    fn from(used: SecretValue) -> Self {
        Self { used, other: None }
    }
}

impl LiveSecret {
    /// Every value of it.
    pub fn values(&self) -> impl Iterator<Item = &SecretValue> {
        std::iter::once(&self.used).chain(&self.other)
    }

    /// What verifiers compare with, as templates see it: a list of texts, the used one first.
    pub(crate) fn accepted(&self) -> tera::Value {
        tera::Value::from_serializable(&self.values().map(SecretValue::verifying).collect::<Vec<_>>())
    }
}

impl SecretValue {
    /// What nobody may see of it: all of a text, the private half of anything else; empty where all of it is public.
    #[must_use]
    pub fn confidential(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Pair { private, .. } => private,
            Self::Certificate { key, .. } => key,
            Self::Public(_) => "",
        }
    }

    /// What a verifier needs of it: all of a text, the public half of anything else.
    #[must_use]
    pub fn verifying(&self) -> &str {
        match self {
            Self::Text(text) | Self::Public(text) => text,
            Self::Pair { public, .. } => public,
            Self::Certificate { certificate, .. } => certificate,
        }
    }

    /// The value as templates see it.
    pub(crate) fn to_value(&self) -> tera::Value {
        let fields = match self {
            Self::Text(text) | Self::Public(text) => return tera::Value::from(text.as_str()),
            Self::Pair { public, private } => [("public", public), ("private", private)],
            Self::Certificate { certificate, key } => [("certificate", certificate), ("key", key)],
        };
        tera::Value::from_serializable(&BTreeMap::from(fields))
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "secret of {} bytes", text.len()),
            Self::Pair { .. } => f.write_str("pair of keys"),
            Self::Certificate { certificate, .. } => {
                write!(f, "certificate of {} bytes and its key", certificate.len())
            }
            Self::Public(text) => write!(f, "{} bytes for everybody", text.len()),
        }
    }
}
