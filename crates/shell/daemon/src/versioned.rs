//! What state files have in common: readable JSON, with the version of its form beside the content.
//!
//! A file of a newer program is refused and not guessed at: what this program does not know of it would be lost with the
//! next write.

use std::borrow::Cow;

use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, forward_to_deserialize_any};

/// The form that this program writes.
const VERSION: u32 = 1;

/// A state file cannot be used. The caller says which one, and what is lost with it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is not what any version writes.
    #[error("it is damaged")]
    Damaged(#[source] serde_json::Error),
    /// Another version of this program wrote it.
    #[error("it is of version {found} and this program knows {VERSION}: use the program that wrote it")]
    Foreign {
        /// Its version.
        found: u32,
    },
}

#[derive(Serialize)]
struct Versioned<'c, T> {
    version: u32,
    #[serde(flatten)]
    content: &'c T,
}

#[derive(Deserialize)]
struct Peek {
    version: Option<u32>,
}

/// The bytes of a state file. `content` is a struct, or a map without a key `version`.
pub fn to_state<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(&Versioned { version: VERSION, content })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The content of a state file. One without a version is from before there were any, and of the same form.
pub fn from_state<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    let Peek { version } = serde_json::from_slice(bytes).map_err(StateError::Damaged)?;
    if let Some(found) = version.filter(|found| *found != VERSION) {
        return Err(StateError::Foreign { found });
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let content = T::deserialize(Unversioned(&mut json)).map_err(StateError::Damaged)?;
    json.end().map_err(StateError::Damaged)?;
    Ok(content)
}

/// An object without its version, read in one go: some states are large.
struct Unversioned<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Unversioned<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Unversioned(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Unversioned<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Unversioned(map))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Unversioned<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.0.next_key::<Cow<'de, str>>()? {
            if key != "version" {
                return seed.deserialize(CowStrDeserializer::new(key)).map(Some);
            }
            self.0.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Known {
        owed: Vec<String>,
    }

    #[test]
    fn content_comes_back_with_or_without_a_version() -> Result<(), Box<dyn std::error::Error>> {
        let known = Known { owed: vec!["core".to_owned()] };
        let bytes = to_state(&known)?;
        assert_eq!(std::str::from_utf8(&bytes)?, "{\n  \"version\": 1,\n  \"owed\": [\n    \"core\"\n  ]\n}\n");
        assert_eq!(from_state::<Known>(&bytes)?, known);
        assert_eq!(from_state::<Known>(br#"{"owed":["core"]}"#)?, known);
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_not_guessed_at() {
        let said = |bytes: &[u8]| from_state::<Known>(bytes).map_err(|error| error.to_string());
        for damaged in ["", "{", "[]", r#"{"version":1}"#, r#"{"version":"1","owed":[]}"#, r#"{"owed":[],"paid":[]}"#] {
            assert_eq!(said(damaged.as_bytes()), Err("it is damaged".to_owned()), "{damaged}");
        }
        let foreign = "it is of version 2 and this program knows 1: use the program that wrote it";
        assert_eq!(said(br#"{"version":2,"anything":[]}"#), Err(foreign.to_owned()));
    }
}
