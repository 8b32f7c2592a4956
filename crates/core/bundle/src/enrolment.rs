//! Enrolment: a machine that holds a token gets its first key.
//!
//! The answer is sealed under the token and an ephemeral X25519 exchange together: who records it and finds the token
//! later opens nothing, and who sits between the two without the token cannot put a key of its own in.

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::base64url;
use crate::keys::{EnrolmentKey, Keys, Secret};
use crate::seal::{OpenError, SealNonce, associated, from_json, open, seal, to_json};
use crate::signature::Direction;

/// The body of a request for enrolment. The same one is sent until its answer is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Random; the one who used a token first is known by it.
    #[serde(with = "base64url")]
    pub id: [u8; 16],
    /// The machine's ephemeral X25519 public key (RFC 7748).
    #[serde(with = "base64url")]
    pub ephemeral: [u8; 32],
}

/// What a machine is told when it enrols: its first key, and what it needs to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// The version of the key.
    pub version: u32,
    /// The key that the machine uses from now on.
    #[serde(serialize_with = "EnrolmentKey::serialize_text")]
    pub key: EnrolmentKey,
    /// The certificate authorities (PEM) to trust for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    /// The folder that the machine's files lie below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The origins by which the leader reaches the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The origin of the leader, where it is another than the one enrolled at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

impl Enrolment {
    /// The request of a machine that keeps `secret`, 32 random bytes, until it has the answer.
    #[must_use]
    pub fn new(id: [u8; 16], secret: &[u8; 32]) -> Self {
        Self { id, ephemeral: public(secret) }
    }
}

/// Seals the answer to `enrolment`. `token` holds the keys of the token that the request was signed with, `secret` is a
/// fresh one of the leader's, used for this answer only. The bytes are the leader's ephemeral public key (32 bytes), then
/// a seal.
///
/// `None` when the machine's point makes no secret (RFC 7748 section 6.1): nobody honest sends such a one.
#[must_use]
pub fn seal_enrolled(
    token: &Keys,
    enrolment: &Enrolment,
    secret: &[u8; 32],
    enrolled: &Enrolled,
    nonce: SealNonce,
) -> Option<Vec<u8>> {
    let ours = public(secret);
    let key = key(token, enrolment, secret, &enrolment.ephemeral)?;
    let sealed = seal(&key, &data(token, enrolment, &ours), &to_json(enrolled), nonce);
    Some([ours.as_slice(), &sealed].concat())
}

/// Opens the answer to `enrolment`, whose ephemeral key has the secret half `secret`.
///
/// # Errors
///
/// [`OpenError::Seal`] or [`OpenError::Content`].
pub fn open_enrolled(
    token: &Keys,
    enrolment: &Enrolment,
    secret: &[u8; 32],
    sealed: &[u8],
) -> Result<Enrolled, OpenError> {
    let broken = || OpenError::Seal(token.id().clone());
    let (theirs, sealed) = sealed.split_first_chunk::<32>().ok_or_else(broken)?;
    let key = key(token, enrolment, secret, theirs).ok_or_else(broken)?;
    let plaintext = open(&key, &data(token, enrolment, theirs), sealed).ok_or_else(broken)?;
    from_json(&plaintext)
}

fn public(secret: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

/// HKDF-SHA256, salt `pconf-v1`, over the token's sealing key and the shared secret; info `enroll l2f`, key id and
/// enrolment id. The exchange alone proves nothing and the token alone may leak: both have to be right.
fn key(token: &Keys, enrolment: &Enrolment, secret: &[u8; 32], theirs: &[u8; 32]) -> Option<Secret> {
    let shared = StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*theirs));
    if !shared.was_contributory() {
        return None;
    }
    let known = token.seal(Direction::ToFollower);
    let material = Zeroizing::new([known.as_slice(), shared.as_bytes()].concat());
    let info = ["enroll l2f", &token.id().to_string(), &base64url::encode(&enrolment.id)].join("\0");
    let mut key = Zeroizing::new([0; 32]);
    match Hkdf::<Sha256>::new(Some(b"pconf-v1"), &material).expand(info.as_bytes(), key.as_mut_slice()) {
        Ok(()) => Some(key),
        Err(_) => unreachable!("RFC 5869 gives 255 blocks of 32 bytes, this is one"),
    }
}

/// Both public keys belong to what is sealed: the machine's first, then the leader's.
fn data(token: &Keys, enrolment: &Enrolment, leader: &[u8; 32]) -> Vec<u8> {
    associated(token, &["enroll", &hexadecimal(&enrolment.ephemeral), &hexadecimal(leader)])
}

fn hexadecimal(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const MACHINE: [u8; 32] = [1; 32];
    const LEADER: [u8; 32] = [2; 32];
    const NONCE: SealNonce = [7; 24];

    fn token(id: &str, seed: u8) -> Result<Keys, Box<dyn std::error::Error>> {
        Ok(Keys::derive(id.parse()?, &EnrolmentKey::from([seed; 32])))
    }

    fn enrolled() -> Enrolled {
        Enrolled {
            version: 2,
            key: EnrolmentKey::from([9; 32]),
            authorities: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
            root: Some("/var/pryv/pryv".to_owned()),
            urls: vec!["http://10.0.0.5:6000".to_owned()],
            leader: None,
        }
    }

    fn sealed(token: &Keys, enrolment: &Enrolment) -> Result<Vec<u8>, &'static str> {
        seal_enrolled(token, enrolment, &LEADER, &enrolled(), NONCE).ok_or("the point is weak")
    }

    #[test]
    fn only_the_token_and_the_ephemeral_key_together_open_an_answer() -> Outcome {
        let (token, enrolment) = (token("co1.1", 3)?, Enrolment::new([4; 16], &MACHINE));
        let sealed = sealed(&token, &enrolment)?;
        assert_eq!(open_enrolled(&token, &enrolment, &MACHINE, &sealed)?, enrolled());

        let refused = |token: &Keys, enrolment: &Enrolment, secret: &[u8; 32]| {
            let outcome = open_enrolled(token, enrolment, secret, &sealed);
            assert!(matches!(outcome, Err(OpenError::Seal(_))), "{outcome:?}");
        };
        refused(&self::token("co1.1", 4)?, &enrolment, &MACHINE);
        refused(&self::token("co1.2", 3)?, &enrolment, &MACHINE);
        refused(&self::token("co2.1", 3)?, &enrolment, &MACHINE);
        refused(&token, &enrolment, &[5; 32]);
        refused(&token, &Enrolment::new([4; 16], &[5; 32]), &[5; 32]);
        refused(&token, &Enrolment::new([4; 16], &[5; 32]), &MACHINE);
        refused(&token, &Enrolment::new([5; 16], &MACHINE), &MACHINE);
        Ok(())
    }

    #[test]
    fn an_answer_with_a_changed_or_missing_byte_never_opens() -> Outcome {
        let (token, enrolment) = (token("co1.1", 3)?, Enrolment::new([4; 16], &MACHINE));
        let sealed = sealed(&token, &enrolment)?;
        let is_refused =
            |sealed: &[u8]| matches!(open_enrolled(&token, &enrolment, &MACHINE, sealed), Err(OpenError::Seal(_)));
        for index in 0..sealed.len() {
            for bit in [0, 7] {
                let mut spoilt = sealed.clone();
                spoilt[index] ^= 1 << bit;
                assert!(is_refused(&spoilt), "byte {index}, bit {bit}");
            }
            assert!(is_refused(&sealed[..index]), "{index} bytes");
        }
        assert!(is_refused(&[sealed.as_slice(), b"x"].concat()));
        Ok(())
    }

    #[test]
    fn a_point_that_makes_no_secret_is_refused_on_both_sides() -> Outcome {
        let token = token("co1.1", 3)?;
        let honest = Enrolment::new([4; 16], &MACHINE);
        let answer = sealed(&token, &honest)?;
        // RFC 7748 section 6.1 and the points of small order on the curve and its twist.
        let one: [u8; 32] = std::array::from_fn(|index| u8::from(index == 0));
        let order_minus = |less: u8| -> [u8; 32] {
            std::array::from_fn(|index| match index {
                0 => 0xed - less,
                31 => 0x7f,
                _ => 0xff,
            })
        };
        let eight = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ];
        for weak in [[0; 32], one, order_minus(1), order_minus(0), eight] {
            let enrolment = Enrolment { ephemeral: weak, ..honest.clone() };
            assert_eq!(seal_enrolled(&token, &enrolment, &LEADER, &enrolled(), NONCE), None, "{weak:?}");
            let mut forged = answer.clone();
            forged[..32].copy_from_slice(&weak);
            let outcome = open_enrolled(&token, &honest, &MACHINE, &forged);
            assert!(matches!(outcome, Err(OpenError::Seal(_))), "{weak:?}");
        }
        Ok(())
    }

    #[test]
    fn a_request_is_two_short_texts_and_a_key_is_shown_by_neither_side() -> Outcome {
        let enrolment = Enrolment::new([4; 16], &MACHINE);
        let json = serde_json::to_string(&enrolment)?;
        assert_eq!(
            json,
            r#"{"id":"BAQEBAQEBAQEBAQEBAQEBA","ephemeral":"pOCSkrZRwni5dyxWn1-puxPZBrRqtoyd-dwrRAn4ogk"}"#
        );
        assert_eq!(serde_json::from_str::<Enrolment>(&json)?, enrolment);
        assert!(serde_json::from_str::<Enrolment>(&json.replace("BAQE", "")).is_err());
        let shown = format!("{:?}", enrolled());
        assert!(shown.contains("EnrolmentKey(32 bytes)") && !shown.contains("CQkJ"), "{shown}");
        Ok(())
    }
}
