//! `Content-Digest` (RFC 9530): what ties the bytes of a body to the signature over its head.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pconf_names::Digest;

/// SHA-256 of a body. On the wire exactly `sha-256=:<base64>:`; no other algorithm, no second member.
#[derive(Debug, Clone, Copy)]
pub struct ContentDigest([u8; 32]);

/// SHA-256 of no bytes at all.
const OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

impl ContentDigest {
    /// The digest of `body`.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        // Most requests have no body, and many answers have none either.
        if body.is_empty() { Self(OF_NOTHING) } else { Self(*Digest::of(body).as_bytes()) }
    }

    /// Reads a field value; `None` unless it is exactly of the form above.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let text = value.strip_prefix("sha-256=:")?.strip_suffix(':')?;
        decode(text).map(Self)
    }

    /// Whether `body` is what the digest was made of, compared in constant time.
    #[must_use]
    pub fn matches(&self, body: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, &Self::of(body).0).is_ok()
    }

    /// The field value.
    #[must_use]
    pub fn to_text(self) -> String {
        ["sha-256=:", &STANDARD.encode(self.0), ":"].concat()
    }
}

/// The 32 bytes that `text` stands for, if it does: base64 with padding (RFC 4648 section 4), in exactly one spelling, since the
/// decoder refuses stray bits.
pub(crate) fn decode(text: &str) -> Option<[u8; 32]> {
    // A last group of four characters stands for three bytes at most, of which padding leaves two.
    let mut bytes = [0; 33];
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_its_digest() {
        assert_eq!(ContentDigest::of(b"").0, *Digest::of(b"").as_bytes());
        assert!(!ContentDigest::of(b"").matches(b"x") && !ContentDigest::of(b"x").matches(b""));
    }

    #[test]
    fn only_one_canonical_sha_256_is_a_digest() {
        let good = ContentDigest::of(b"").to_text();
        assert!(ContentDigest::parse(&good).is_some_and(|digest| digest.matches(b"")));
        for bad in [
            String::new(),
            "sha-256=::".to_owned(),
            good.replace("sha-256", "sha-512"),
            good.replace("sha-256", "SHA-256"),
            good.replace("U=:", "V=:"),
            good.replace("=:", ":"),
            format!("{good};q=1"),
            format!("{good}, {good}"),
            format!(" {good}"),
        ] {
            assert!(ContentDigest::parse(&bad).is_none(), "{bad}");
        }
    }
}
