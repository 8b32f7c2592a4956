//! Sealing: what travels is unreadable to everybody but the two who share the key, on plain HTTP and in a proxy's log.
//!
//! XChaCha20-Poly1305, `nonce (24 bytes) || ciphertext || tag (16 bytes)`. The associated data name the profile, the key
//! and what is sealed, so that bytes made for one machine, role or revision open as nothing else.

use std::fmt;
use std::ops::Deref;

use chacha20poly1305::aead::{Aead as _, AeadInOut as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use pconf_names::{Digest, MachineName, RevisionId, RoleName};
use zeroize::Zeroizing;

use crate::bundle::Bundle;
use crate::entity_tag::EntityTag;
use crate::keys::{KeyId, Keys, Secret};
use crate::report::Report;
use crate::signature::Direction;

/// The nonce of a seal: 24 random bytes, never used twice.
pub type SealNonce = [u8; 24];

/// Poly1305's.
const TAG: usize = 16;

/// A bundle under seal and what an answer says about it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBundle {
    /// The revision of the bundle.
    pub revision: RevisionId,
    /// The name of the plaintext.
    pub tag: EntityTag,
    /// What travels.
    pub bytes: Vec<u8>,
}

/// A bundle that was opened with our key and is for this machine, role and revision. Only [`open_bundle`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBundle {
    bundle: Bundle,
    tag: EntityTag,
}

/// Why sealed bytes do not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Sealed with another key, for another machine, role or revision, or changed on the way.
    #[error("the seal of the key `{0}` does not fit: it was made for something else, or the bytes were changed")]
    Seal(KeyId),
    /// The seal is good and the content is not of this version's form. The content is not quoted: it holds secrets.
    #[error("what was sealed is not understood here (line {line}, column {column}): are both sides of one version?")]
    Content {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// The content names another machine.
    #[error("the bundle is for the machine `{found}`, this is `{expected}`")]
    Machine {
        /// This machine.
        expected: MachineName,
        /// Whose it is.
        found: MachineName,
    },
    /// The content names another role.
    #[error("the bundle is for the role `{found}`, this machine is a `{expected}`")]
    Role {
        /// This machine's role.
        expected: RoleName,
        /// Whose it is.
        found: RoleName,
    },
    /// The content names another revision than the answer.
    #[error("the bundle is of the revision {found}, the answer said {expected}")]
    Revision {
        /// What was announced.
        expected: RevisionId,
        /// What it is.
        found: RevisionId,
    },
}

/// Seals a bundle for the machine that `keys` belong to.
#[must_use]
pub fn seal_bundle(keys: &Keys, bundle: &Bundle, nonce: SealNonce) -> SealedBundle {
    let plaintext = to_json(bundle);
    let data = associated(keys, &[bundle.role.as_str(), &bundle.revision.to_string()]);
    SealedBundle {
        revision: bundle.revision,
        tag: tag(bundle, &plaintext),
        bytes: seal(keys.seal(Direction::ToFollower), &data, &plaintext, nonce),
    }
}

/// The name that [`seal_bundle`] gives it, without sealing it.
#[must_use]
pub fn name_bundle(bundle: &Bundle) -> EntityTag {
    tag(bundle, &to_json(bundle))
}

/// Opens a bundle that was announced as `revision` for `role`. Nothing in it is read before the seal was found good.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open_bundle(
    keys: &Keys,
    role: &RoleName,
    revision: RevisionId,
    sealed: &[u8],
) -> Result<VerifiedBundle, OpenError> {
    let data = associated(keys, &[role.as_str(), &revision.to_string()]);
    let plaintext = opened(keys, Direction::ToFollower, &data, sealed)?;
    let bundle: Bundle = from_json(&plaintext)?;
    if bundle.machine != keys.id().machine {
        return Err(OpenError::Machine { expected: keys.id().machine.clone(), found: bundle.machine });
    }
    if bundle.role != *role {
        return Err(OpenError::Role { expected: role.clone(), found: bundle.role });
    }
    if bundle.revision != revision {
        return Err(OpenError::Revision { expected: revision, found: bundle.revision });
    }
    Ok(VerifiedBundle { tag: tag(&bundle, &plaintext), bundle })
}

/// Seals a report for the leader.
#[must_use]
pub fn seal_report(keys: &Keys, report: &Report, nonce: SealNonce) -> Vec<u8> {
    seal(keys.seal(Direction::ToLeader), &associated(keys, &["report"]), &to_json(report), nonce)
}

/// Opens a report of the machine that `keys` belong to.
///
/// # Errors
///
/// [`OpenError::Seal`] or [`OpenError::Content`].
pub fn open_report(keys: &Keys, sealed: &[u8]) -> Result<Report, OpenError> {
    from_json(&opened(keys, Direction::ToLeader, &associated(keys, &["report"]), sealed)?)
}

/// Seals a snapshot for the leader. What is in it is for those who plan: here it is bytes.
#[must_use]
pub fn seal_snapshot(keys: &Keys, snapshot: &[u8], nonce: SealNonce) -> Vec<u8> {
    seal(keys.seal(Direction::ToLeader), &associated(keys, &["snapshot"]), snapshot, nonce)
}

/// Opens a snapshot of the machine that `keys` belong to.
///
/// # Errors
///
/// [`OpenError::Seal`].
pub fn open_snapshot(keys: &Keys, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    Ok(opened(keys, Direction::ToLeader, &associated(keys, &["snapshot"]), sealed)?.to_vec())
}

impl VerifiedBundle {
    /// The name of the bundle, for the next `If-None-Match`.
    #[must_use]
    pub fn tag(&self) -> &EntityTag {
        &self.tag
    }
}

impl Deref for VerifiedBundle {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

impl fmt::Debug for SealedBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBundle({}, {} bytes)", self.tag, self.bytes.len())
    }
}

/// The name of a bundle: of its JSON, but for what it says about the connection, which has a serial number instead.
fn tag(bundle: &Bundle, plaintext: &[u8]) -> EntityTag {
    match &bundle.control {
        None => EntityTag::new(bundle.revision, &Digest::of(plaintext), None),
        Some(control) => {
            let files = Bundle { control: None, ..bundle.clone() };
            EntityTag::new(bundle.revision, &Digest::of(&to_json(&files)), Some(control.serial))
        }
    }
}

/// `pconf-v1`, the key id and the purpose, separated by zero bytes, which none of them can hold.
pub(crate) fn associated(keys: &Keys, purpose: &[&str]) -> Vec<u8> {
    let id = keys.id().to_string();
    [&["pconf-v1", &id], purpose].concat().join("\0").into_bytes()
}

pub(crate) fn seal(key: &Secret, associated: &[u8], plaintext: &[u8], nonce: SealNonce) -> Vec<u8> {
    let cipher = XChaCha20Poly1305::new((&**key).into());
    let mut sealed = Vec::with_capacity(nonce.len() + plaintext.len() + TAG);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let text = &mut sealed[nonce.len()..];
    let Ok(tag) = cipher.encrypt_inout_detached(&XNonce::from(nonce), associated, text.into()) else {
        unreachable!("XChaCha20-Poly1305 takes up to 256 GiB")
    };
    sealed.extend_from_slice(&tag);
    sealed
}

/// What was sealed, if the seal is good.
pub(crate) fn open(key: &Secret, associated: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<24>()?;
    let cipher = XChaCha20Poly1305::new((&**key).into());
    let payload = Payload { msg: ciphertext, aad: associated };
    cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).ok()
}

fn opened(
    keys: &Keys,
    direction: Direction,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    open(keys.seal(direction), associated, sealed).ok_or_else(|| OpenError::Seal(keys.id().clone()))
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Zeroizing<Vec<u8>> {
    let Ok(json) = serde_json::to_vec(value) else { unreachable!("wire types hold nothing that JSON cannot say") };
    Zeroizing::new(json)
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, OpenError> {
    serde_json::from_slice(json).map_err(|error| OpenError::Content { line: error.line(), column: error.column() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Control, NextKey};
    use crate::keys::EnrolmentKey;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn keys(id: &str) -> Result<Keys, Box<dyn std::error::Error>> {
        let mut bytes = [0; 32];
        (0..).zip(&mut bytes).for_each(|(value, byte)| *byte = value);
        Ok(Keys::derive(id.parse()?, &EnrolmentKey::from(bytes)))
    }

    fn bundle() -> Result<Bundle, Box<dyn std::error::Error>> {
        Ok(Bundle::empty("1.42".parse()?, "core-a".parse()?, "core".parse()?))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    #[test]
    fn the_published_seals_come_out_byte_for_byte() -> Outcome {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../../../../tests/vectors/seals.json"))?;
        let keys = keys(vectors["key-id"].as_str().unwrap_or_default())?;
        for case in vectors["cases"].as_array().into_iter().flatten() {
            let text = |name: &str| case[name].as_str().unwrap_or_default();
            let names: Vec<&str> = case["names"].as_array().into_iter().flatten().filter_map(|n| n.as_str()).collect();
            let mut nonce = [0; 24];
            for (byte, digits) in nonce.iter_mut().zip(text("nonce").as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(digits)?, 16)?;
            }
            let direction = if text("purpose") == "seal l2f" { Direction::ToFollower } else { Direction::ToLeader };
            let data = associated(&keys, &names);
            let sealed = seal(keys.seal(direction), &data, text("plaintext").as_bytes(), nonce);
            assert_eq!(hex(&sealed), text("sealed"), "{}", text("name"));
            assert_eq!(*opened(&keys, direction, &data, &sealed)?, text("plaintext").as_bytes());
        }
        let sealed =
            seal_bundle(&keys, &bundle()?, std::array::from_fn(|index| 0x40 + u8::try_from(index).unwrap_or(0)));
        assert_eq!(hex(&sealed.bytes), vectors["cases"][1]["sealed"].as_str().unwrap_or_default());
        assert_eq!(sealed.tag.to_string(), vectors["cases"][1]["etag"].as_str().unwrap_or_default());

        let key = EnrolmentKey::from(std::array::from_fn(|index| 0x20 + u8::try_from(index).unwrap_or(0)));
        let next_key = Some(NextKey { version: 2, key });
        let bundle = Bundle { control: Some(Control { serial: 7, next_key, authorities: None }), ..bundle()? };
        let nonce = std::array::from_fn(|index| 0x80 + u8::try_from(index).unwrap_or(0));
        let sealed = seal_bundle(&keys, &bundle, nonce);
        assert_eq!(hex(&sealed.bytes), vectors["cases"][2]["sealed"].as_str().unwrap_or_default());
        assert_eq!(sealed.tag.to_string(), vectors["cases"][2]["etag"].as_str().unwrap_or_default());
        Ok(())
    }

    #[test]
    fn a_seal_opens_only_as_what_it_was_made_for() -> Outcome {
        let (keys, role) = (keys("core-a.1")?, "core".parse()?);
        let sealed = seal_bundle(&keys, &bundle()?, [7; 24]);
        let opened = open_bundle(&keys, &role, "1.42".parse()?, &sealed.bytes)?;
        assert_eq!((&*opened, opened.tag()), (&bundle()?, &sealed.tag));

        let refused = |keys: &Keys, role: &RoleName, revision: &str, bytes: &[u8]| -> Outcome {
            let outcome = open_bundle(keys, role, revision.parse()?, bytes);
            assert!(matches!(outcome, Err(OpenError::Seal(_))), "{outcome:?}");
            Ok(())
        };
        refused(&self::keys("core-b.1")?, &role, "1.42", &sealed.bytes)?;
        refused(&self::keys("core-a.2")?, &role, "1.42", &sealed.bytes)?;
        refused(&keys, &"web".parse()?, "1.42", &sealed.bytes)?;
        refused(&keys, &role, "2.42", &sealed.bytes)?;
        for length in [0, 23, 24, 39, sealed.bytes.len() - 1] {
            refused(&keys, &role, "1.42", &sealed.bytes[..length])?;
        }
        for index in 0..sealed.bytes.len() {
            let mut spoilt = sealed.bytes.clone();
            spoilt[index] ^= 1;
            refused(&keys, &role, "1.42", &spoilt)?;
        }
        assert!(open_report(&keys, &sealed.bytes).is_err());
        Ok(())
    }

    #[test]
    fn what_is_said_of_the_connection_is_no_part_of_the_digest_but_has_its_own_number() -> Outcome {
        let (keys, role) = (keys("core-a.1")?, "core".parse()?);
        let plain = seal_bundle(&keys, &bundle()?, [7; 24]).tag.to_string();
        for serial in [0, 7] {
            let next_key = Some(NextKey { version: 2, key: EnrolmentKey::from([9; 32]) });
            let bundle = Bundle { control: Some(Control { serial, next_key, authorities: None }), ..bundle()? };
            let sealed = seal_bundle(&keys, &bundle, [7; 24]);
            assert_eq!(sealed.tag.to_string(), format!("{}-{serial}\"", plain.trim_end_matches('"')));
            let opened = open_bundle(&keys, &role, "1.42".parse()?, &sealed.bytes)?;
            assert_eq!((&*opened, opened.tag()), (&bundle, &sealed.tag));
        }
        Ok(())
    }

    #[test]
    fn what_is_sealed_for_one_and_says_another_is_refused() -> Outcome {
        let (keys, role) = (keys("core-a.1")?, "core".parse::<RoleName>()?);
        let refusal = |lying: Bundle| -> Result<String, Box<dyn std::error::Error>> {
            let data = associated(&keys, &["core", "1.42"]);
            let sealed = seal(keys.seal(Direction::ToFollower), &data, &to_json(&lying), [7; 24]);
            let outcome = open_bundle(&keys, &role, "1.42".parse()?, &sealed);
            Ok(outcome.err().map_or_else(|| "opened".to_owned(), |error| error.to_string()))
        };
        assert_eq!(
            [
                refusal(Bundle { machine: "core-b".parse()?, ..bundle()? })?,
                refusal(Bundle { role: "web".parse()?, ..bundle()? })?,
                refusal(Bundle { revision: "1.43".parse()?, ..bundle()? })?,
            ],
            [
                "the bundle is for the machine `core-b`, this is `core-a`",
                "the bundle is for the role `web`, this machine is a `core`",
                "the bundle is of the revision 1.43, the answer said 1.42",
            ]
        );
        Ok(())
    }

    #[test]
    fn content_that_is_not_understood_is_not_quoted() -> Outcome {
        let keys = keys("core-a.1")?;
        let data = associated(&keys, &["report"]);
        let sealed = seal(keys.seal(Direction::ToLeader), &data, br#"{"verdict":"hunter2"}"#, [7; 24]);
        let error = open_report(&keys, &sealed).err().map(|error| format!("{error} {error:?}")).unwrap_or_default();
        assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
        Ok(())
    }
}
