//! Values that the admin brings: taken in the form of their kind, or refused with the form that is wanted.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pconf_platform::SecretKind;
use pconf_render::SecretValue;
use rcgen::{KeyPair, PKCS_ED25519};
use zeroize::Zeroizing;

use crate::certificate;
use crate::secrets::make::{pair, point};

/// The text as a value of that kind, one line end at its end left out; why not, otherwise.
pub(crate) fn brought(kind: &SecretKind, text: &str) -> Result<SecretValue, String> {
    let bare = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if bare.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    let one_line = |is_good: &dyn Fn(&str) -> bool, wanted: &str| {
        let good = !bare.chars().any(char::is_control) && is_good(bare);
        if good { Ok(SecretValue::Text(bare.to_owned())) } else { Err(format!("it has to be {wanted}")) }
    };
    match kind {
        SecretKind::External => Ok(SecretValue::Text(bare.to_owned())),
        SecretKind::Random { .. } => one_line(&|_| true, "one line without control characters"),
        SecretKind::ErlangCookie => {
            one_line(&|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "letters and digits")
        }
        SecretKind::Hex { bytes } => one_line(
            &|text| text.len() == bytes * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            &format!("{bytes} bytes in hexadecimal"),
        ),
        SecretKind::Base64url { bytes } => one_line(
            &|text| URL_SAFE_NO_PAD.decode(text).is_ok_and(|decoded| decoded.len() == *bytes),
            &format!("{bytes} bytes in base64url without padding"),
        ),
        SecretKind::P256 => {
            let wanted = || "it has to be the private half: 32 bytes in base64url without padding".to_owned();
            let scalar = Zeroizing::new(URL_SAFE_NO_PAD.decode(bare).map_err(|_| wanted())?);
            let key = PrivateKey::from_private_key(&ECDH_P256, &scalar).map_err(|_| wanted())?;
            point(&key).map_err(|_| wanted())
        }
        SecretKind::Ed25519 => key_pair(bare, "Ed25519", |key| key.algorithm() == &PKCS_ED25519),
        SecretKind::Rsa { bits } => key_pair(bare, "RSA", |key| is_rsa_of(key, *bits)),
        SecretKind::Certificate { .. } => certificate_and_key(text),
        SecretKind::DiffieHellman { .. } => {
            Err("the parameters are those of RFC 7919: there is nothing to set".to_owned())
        }
        SecretKind::Derived { from, .. } => Err(format!("it is derived from `{from}`: set that one")),
    }
}

fn key_pair(text: &str, of: &str, fits: impl Fn(&KeyPair) -> bool) -> Result<SecretValue, String> {
    let key = KeyPair::from_pem(text).ok().filter(|key| fits(key));
    key.as_ref().map(pair).ok_or_else(|| format!("it has to be an {of} private key of that size (PKCS#8, PEM)"))
}

/// An RSA public key (RFC 8017, A.1.1) is its modulus and some bytes more; no other kind of key is as long.
fn is_rsa_of(key: &KeyPair, bits: usize) -> bool {
    (bits..bits + 256).contains(&(key.public_key_raw().len() * 8))
}

/// A chain and the key of its leaf, in one text and any order.
fn certificate_and_key(text: &str) -> Result<SecretValue, String> {
    let is_key = |label: &str| label.ends_with("PRIVATE KEY");
    let mut parts = [String::new(), String::new()];
    let mut open = None;
    for line in text.lines().map(str::trim_end) {
        if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            open = Some(usize::from(is_key(label)));
        }
        if let Some(part) = open {
            parts[part] += line;
            parts[part].push('\n');
        }
        if line.starts_with("-----END ") {
            open = None;
        }
    }
    let [certificate, key] = parts;
    match certificate::fault(&certificate, &key) {
        None => Ok(SecretValue::Certificate { certificate, key }),
        Some(fault) => Err(format!("{fault}: bring the chain and its key in one text, PEM")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_form_is_refused_with_the_form_that_is_wanted() {
        let random = SecretKind::Random { length: 32, alphabet: "ab".to_owned() };
        let said = |kind: &SecretKind, text: &str| match brought(kind, text) {
            Ok(value) => format!("taken: {}", value.confidential()),
            Err(fault) => fault,
        };
        let cases = [
            (&random, "hunter2\r\n"),
            (&random, " \n"),
            (&random, "two\nlines"),
            (&SecretKind::External, "two\nlines\n\n"),
            (&SecretKind::Hex { bytes: 16 }, "00"),
            (&SecretKind::Base64url { bytes: 16 }, "AAAAAAAAAAAAAAAAAAAAAA=="),
            (&SecretKind::P256, "AAAA"),
            (&SecretKind::Ed25519, "AAAA"),
            (&SecretKind::Rsa { bits: 2048 }, "AAAA"),
            (&SecretKind::Certificate { names: Vec::new() }, "AAAA"),
            (&SecretKind::ErlangCookie, "A B"),
        ];
        assert_eq!(
            cases.map(|(kind, text)| said(kind, text)),
            [
                "taken: hunter2",
                "it is empty",
                "it has to be one line without control characters",
                "taken: two\nlines\n",
                "it has to be 16 bytes in hexadecimal",
                "it has to be 16 bytes in base64url without padding",
                "it has to be the private half: 32 bytes in base64url without padding",
                "it has to be an Ed25519 private key of that size (PKCS#8, PEM)",
                "it has to be an RSA private key of that size (PKCS#8, PEM)",
                "it holds no certificate in PEM form: bring the chain and its key in one text, PEM",
                "it has to be letters and digits",
            ]
        );
    }
}
