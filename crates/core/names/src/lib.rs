//! The words that everything else is said in.
//!
//! Each type is valid once it exists: a [`RelativePath`] that climbs out of its root, a [`Mode`] with a setuid bit or a
//! [`MachineName`] that could be read as two path segments cannot be made, so no later line checks again.

mod class;
mod digest;
mod name;
mod path;
mod permission;
mod revision;
mod rules;
mod span;

pub use class::Class;
pub use digest::Digest;
pub use name::{InvalidName, MachineName, RoleName};
pub use path::{InvalidPath, RelativePath};
pub use permission::{InvalidMode, InvalidOwner, Mode, Owner};
pub use revision::{InvalidRevision, RevisionId};
pub use rules::{Check, ComposeFile, Health, OnChange, ServiceRule};
pub use span::{InvalidSpan, Span};

/// Implements the text form of a type once: `FromStr` and `Display` exist, serde follows them.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;
