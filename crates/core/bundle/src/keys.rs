//! The secret that a leader and one follower share, and the keys that are derived from it.
//!
//! One key per direction and purpose: a message that is sent back to its author, or a MAC taken for a sealing key, is
//! refused by arithmetic instead of by a check that could be forgotten.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use hkdf::Hkdf;
use pconf_names::MachineName;
use serde::{Deserialize, Deserializer, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::base64url;
use crate::signature::Direction;

/// 32 random bytes, shared by the leader and one machine; their text form is 43 characters of base64url without padding.
///
/// `Debug` shows nothing of it and the memory is wiped on drop.
#[derive(Clone)]
pub struct EnrolmentKey(Zeroizing<[u8; 32]>);

/// The text is no enrolment key. The text is not repeated: it may be one with a typing error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an enrolment key is 43 characters of base64url without padding, the text of 32 random bytes")]
pub struct InvalidKey;

/// Which key of which machine, e.g. `co1.1`; the `keyid` of a signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    /// The machine that shares the key with the leader.
    pub machine: MachineName,
    /// Counts the keys of that machine; a number is never used twice.
    pub version: u32,
}

/// The text is no key id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key id: it is written `<machine>.<version>`, e.g. `co1.1`")]
pub struct InvalidKeyId(String);

/// What is derived from one [`EnrolmentKey`]: HKDF-SHA256 (RFC 5869), salt `pconf-v1`, info `<purpose> 0x00 <keyid>`.
pub struct Keys {
    id: KeyId,
    mac_to_leader: hmac::Key,
    mac_to_follower: hmac::Key,
    seal_to_leader: Secret,
    seal_to_follower: Secret,
}

pub(crate) type Secret = Zeroizing<[u8; 32]>;

impl EnrolmentKey {
    /// The text form, for the one file that holds it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::encode(self.0.as_slice()))
    }

    /// For the sealed messages that carry a key and the files that hold one: each says so, and nothing writes one down by
    /// accident.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn serialize_text<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl From<[u8; 32]> for EnrolmentKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl FromStr for EnrolmentKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        base64url::decode(text).map(Self::from).ok_or(InvalidKey)
    }
}

impl PartialEq for EnrolmentKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for EnrolmentKey {}

impl<'de> Deserialize<'de> for EnrolmentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Zeroizing::new(String::deserialize(deserializer)?).parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for EnrolmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolmentKey(32 bytes)")
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.rsplit_once('.').and_then(|(machine, version)| {
            // One key has one spelling: no sign, no leading zero.
            let is_canonical = version == "0" || version.starts_with(|digit: char| ('1'..='9').contains(&digit));
            let version = is_canonical.then(|| version.parse().ok())??;
            Some(Self { machine: machine.parse().ok()?, version })
        });
        id.ok_or_else(|| InvalidKeyId(text.to_owned()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.machine, self.version)
    }
}

impl Keys {
    /// Derives the keys of `id`.
    #[must_use]
    pub fn derive(id: KeyId, key: &EnrolmentKey) -> Self {
        let root = Hkdf::<Sha256>::new(Some(b"pconf-v1"), key.0.as_slice());
        let derive = |purpose: &str| {
            let mut secret = Zeroizing::new([0; 32]);
            let info = format!("{purpose}\0{id}");
            match root.expand(info.as_bytes(), secret.as_mut_slice()) {
                Ok(()) => secret,
                Err(_) => unreachable!("RFC 5869 gives 255 blocks of 32 bytes, this is one"),
            }
        };
        Self {
            mac_to_leader: mac_key(&derive("mac f2l")),
            mac_to_follower: mac_key(&derive("mac l2f")),
            seal_to_leader: derive("seal f2l"),
            seal_to_follower: derive("seal l2f"),
            id,
        }
    }

    /// Whose keys these are.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    pub(crate) fn mac(&self, direction: Direction) -> &hmac::Key {
        match direction {
            Direction::ToLeader => &self.mac_to_leader,
            Direction::ToFollower => &self.mac_to_follower,
        }
    }

    pub(crate) fn seal(&self, direction: Direction) -> &Secret {
        match direction {
            Direction::ToLeader => &self.seal_to_leader,
            Direction::ToFollower => &self.seal_to_follower,
        }
    }
}

/// A secret as MACs are made with it: what begins each of them is done once.
pub(crate) fn mac_key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice())
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_nothing_of_itself() -> Result<(), Box<dyn std::error::Error>> {
        let key = EnrolmentKey::from([0x42; 32]);
        assert_eq!(format!("{key:?}"), "EnrolmentKey(32 bytes)");
        assert_eq!(format!("{:?}", Keys::derive("co1.1".parse()?, &key)), "Keys(co1.1)");
        Ok(())
    }

    #[test]
    fn the_published_keys_are_derived() -> Result<(), Box<dyn std::error::Error>> {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../../../../tests/vectors/keys.json"))?;
        for case in vectors.as_array().into_iter().flatten() {
            let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".parse()?;
            let keys = Keys::derive(case["key-id"].as_str().unwrap_or_default().parse()?, &key);
            let published = |purpose: &str| case["derived"][purpose].as_str().unwrap_or_default();
            let shown = |secret: &[u8]| secret.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            for (purpose, secret) in [("seal f2l", &keys.seal_to_leader), ("seal l2f", &keys.seal_to_follower)] {
                assert_eq!(shown(secret.as_slice()), published(purpose), "{purpose}");
            }
            // These do not show themselves any more, but the MACs that they make.
            for (purpose, key) in [("mac f2l", &keys.mac_to_leader), ("mac l2f", &keys.mac_to_follower)] {
                let mut secret = Zeroizing::new([0; 32]);
                for (byte, digits) in secret.iter_mut().zip(published(purpose).as_bytes().chunks(2)) {
                    *byte = u8::from_str_radix(str::from_utf8(digits)?, 16)?;
                }
                let macs = [key, &mac_key(&secret)].map(|key| shown(hmac::sign(key, b"text").as_ref()));
                assert_eq!(macs[0], macs[1], "{purpose}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_key_has_one_text_form() -> Result<(), InvalidKey> {
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        assert_eq!(*text.parse::<EnrolmentKey>()?.to_text(), text);
        for bad in ["", "AAEC", &text[1..], &format!("{text}="), &text.replace("h8", "h9"), &text.replace('A', "+")] {
            assert!(bad.parse::<EnrolmentKey>().is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn a_key_id_has_one_spelling() -> Result<(), pconf_names::InvalidName> {
        assert_eq!("core-a.1".parse(), Ok(KeyId { machine: "core-a".parse()?, version: 1 }));
        for bad in
            ["co1", "co1.", ".1", "co1.01", "co1.+1", "co1.-1", "Co1.1", "a.b.1", "co1.1 ", "co1.00", "co1.4294967296"]
        {
            assert_eq!(bad.parse::<KeyId>(), Err(InvalidKeyId(bad.to_owned())));
        }
        Ok(())
    }
}
