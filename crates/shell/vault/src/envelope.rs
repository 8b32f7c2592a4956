//! One value at rest: JSON that names the key-encryption key and holds the value's own key and the value, both encrypted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pconf_daemon::{StateError, from_state, to_state};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cipher::{Key, open, random, seal};

/// A value cannot be put into an envelope, or does not come out of one.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// No envelope, or one of another version.
    #[error("it is no envelope of this version")]
    Form(#[from] StateError),
    /// Made with another key-encryption key.
    #[error("it was sealed with the key-encryption key `{found}`, this is `{ours}`")]
    OtherKey {
        /// The one that it names.
        found: String,
        /// The one that is here.
        ours: String,
    },
    /// Damaged, or put in another's place.
    #[error("it does not open: it was changed, or is in another's place; restore it from a backup")]
    Broken,
    /// The system's random source fails.
    #[error("the system's random source fails: {0}")]
    Randomness(getrandom::Error),
    /// It cannot be said as JSON.
    #[error("it cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    kek: String,
    key: String,
    value: String,
}

/// What the associated data of a part of the envelope called `name` are; no name holds a zero byte.
fn part(name: &str, what: &str) -> Vec<u8> {
    format!("pconf-vault-v1\0{name}\0{what}").into_bytes()
}

pub(crate) fn close(kek: &Key, kek_id: &str, name: &str, value: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let key = random::<32>().map_err(EnvelopeError::Randomness)?;
    let sealed_key = seal(kek, &part(name, "key"), key.as_slice()).map_err(EnvelopeError::Randomness)?;
    let sealed_value = seal(&key, &part(name, "value"), value).map_err(EnvelopeError::Randomness)?;
    let envelope =
        Envelope { kek: kek_id.to_owned(), key: STANDARD.encode(sealed_key), value: STANDARD.encode(sealed_value) };
    Ok(to_state(&envelope)?)
}

pub(crate) fn unclose(kek: &Key, kek_id: &str, name: &str, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let envelope: Envelope = from_state(bytes)?;
    if envelope.kek != kek_id {
        return Err(EnvelopeError::OtherKey { found: envelope.kek, ours: kek_id.to_owned() });
    }
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| EnvelopeError::Broken);
    let bare = open(kek, &part(name, "key"), &decoded(&envelope.key)?).ok_or(EnvelopeError::Broken)?;
    let mut key = Key::new([0; 32]);
    if bare.len() != key.len() {
        return Err(EnvelopeError::Broken);
    }
    key.copy_from_slice(&bare);
    open(&key, &part(name, "value"), &decoded(&envelope.value)?).ok_or(EnvelopeError::Broken)
}
