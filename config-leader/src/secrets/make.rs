//! New values, from the system's random source.

use anyhow::Context as _;
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pconf_platform::SecretKind;
use pconf_render::SecretValue;
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use zeroize::Zeroizing;

use crate::hex::hex;

const COOKIE: (usize, &str) = (32, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

/// A new value; `None` for a kind whose values come from elsewhere. An RSA key takes seconds.
pub(super) fn make(kind: &SecretKind) -> anyhow::Result<Option<SecretValue>> {
    Ok(Some(match kind {
        SecretKind::Random { length, alphabet } => SecretValue::Text(text(*length, alphabet)?),
        SecretKind::ErlangCookie => SecretValue::Text(text(COOKIE.0, COOKIE.1)?),
        SecretKind::Hex { bytes } => {
            let bytes = random(*bytes)?;
            SecretValue::Text(hex(&bytes))
        }
        SecretKind::Base64url { bytes } => SecretValue::Text(URL_SAFE_NO_PAD.encode(random(*bytes)?)),
        SecretKind::P256 => point(&PrivateKey::generate(&ECDH_P256).context("cannot make a key")?)?,
        SecretKind::Ed25519 => pair(&KeyPair::generate_for(&PKCS_ED25519).context("cannot make a key")?),
        SecretKind::Rsa { bits } => {
            let size = match bits {
                ..=2048 => RsaKeySize::_2048,
                2049..=3072 => RsaKeySize::_3072,
                3073.. => RsaKeySize::_4096,
            };
            pair(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).context("cannot make a key")?)
        }
        SecretKind::Certificate { .. }
        | SecretKind::DiffieHellman { .. }
        | SecretKind::External
        | SecretKind::Derived { .. } => return Ok(None),
    }))
}

/// Both halves of a key pair, PEM.
pub(super) fn pair(key: &KeyPair) -> SecretValue {
    SecretValue::Pair { public: key.public_key_pem(), private: key.serialize_pem() }
}

/// Both halves of a key on P-256 as VAPID writes them.
pub(super) fn point(key: &PrivateKey) -> anyhow::Result<SecretValue> {
    let scalar: EcPrivateKeyBin = key.as_be_bytes().context("cannot tell the private half of a key")?;
    let public = key.compute_public_key().context("cannot tell the public half of a key")?;
    Ok(SecretValue::Pair {
        public: URL_SAFE_NO_PAD.encode(public.as_ref()),
        private: URL_SAFE_NO_PAD.encode(scalar.as_ref()),
    })
}

fn random(length: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    getrandom::fill(&mut bytes).context("the system's random source fails")?;
    Ok(bytes)
}

/// Characters of an alphabet of ASCII, each as likely as any other.
fn text(length: usize, alphabet: &str) -> anyhow::Result<String> {
    let letters = alphabet.as_bytes();
    // What lies above the largest multiple of the alphabet's length in a byte would favour the first letters.
    let fair = 256 - 256 % letters.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let bytes = random(64)?;
        let drawn = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        text.extend(drawn.map(|byte| char::from(letters[byte % letters.len()])).take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::brought::brought;

    #[test]
    fn random_text_has_the_length_and_every_letter_of_the_alphabet() -> anyhow::Result<()> {
        for alphabet in ["ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "abc", "!~"] {
            let text = text(10_000, alphabet)?;
            assert_eq!(text.len(), 10_000);
            let mut letters: Vec<char> = text.chars().collect();
            letters.sort_unstable();
            letters.dedup();
            let mut expected: Vec<char> = alphabet.chars().collect();
            expected.sort_unstable();
            assert_eq!(letters, expected);
        }
        Ok(())
    }

    #[test]
    fn every_kind_is_made_in_its_form_and_never_twice_the_same() -> anyhow::Result<()> {
        let kinds = [
            SecretKind::Random { length: 40, alphabet: "0123456789".to_owned() },
            SecretKind::Hex { bytes: 16 },
            SecretKind::Base64url { bytes: 32 },
            SecretKind::ErlangCookie,
            SecretKind::P256,
            SecretKind::Ed25519,
            SecretKind::Rsa { bits: 2048 },
        ];
        let mut forms = Vec::new();
        for kind in &kinds {
            let (one, other) = (make(kind)?.context("it is made")?, make(kind)?.context("it is made")?);
            assert!(one != other, "{kind:?}");
            // What is made can be carried to another leader as it is.
            let confidential = one.confidential();
            let carried = brought(kind, confidential).map_err(anyhow::Error::msg)?;
            assert!(carried == one, "{kind:?}");
            let head = |text: &str| text.lines().next().filter(|line| line.starts_with('-')).map(str::to_owned);
            let form = |text: &str| head(text).unwrap_or_else(|| text.len().to_string());
            forms.push((kind.name(), form(one.verifying()), form(confidential)));
        }
        let expected = [
            ("random", "40", "40"),
            ("hex", "32", "32"),
            ("base64url", "43", "43"),
            ("erlang-cookie", "32", "32"),
            // 65 bytes and 32 bytes.
            ("p256", "87", "43"),
            ("ed25519", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PRIVATE KEY-----"),
            ("rsa", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PRIVATE KEY-----"),
        ];
        assert_eq!(forms, expected.map(|(kind, public, private)| (kind, public.to_owned(), private.to_owned())));
        Ok(())
    }
}
