//! The two signature headers: written in one form, read in no other.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName};

use super::base::Base;
use super::cause::Cause;
use super::components::once;
use crate::keys::KeyId;

static SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
static SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// The longest `Signature` that is looked at, in bytes.
const LONGEST_SIGNATURE: usize = 256;

/// A MAC as received, and its text `:…:` that answers are bound to.
pub(super) struct ReceivedMac {
    mac: [u8; 32],
    pub(super) text: String,
}

/// Signs `base` and adds both headers. Returns the MAC's text `:…:`.
pub(super) fn sign(headers: &mut HeaderMap, label: &str, base: Base, parameters: &str, key: &hmac::Key) -> String {
    headers.insert(&SIGNATURE_INPUT, crate::header_value([label, "=", base.covered(), parameters].concat()));
    let text = [":", &STANDARD.encode(base.mac(parameters, key)), ":"].concat();
    headers.insert(&SIGNATURE, crate::header_value([label, "=", &text].concat()));
    text
}

/// The `Signature-Input` of a message.
pub(super) fn signature_input(headers: &HeaderMap) -> Result<&str, Cause> {
    once(headers, &SIGNATURE_INPUT)?.ok_or(Cause::Missing("signature-input"))
}

impl ReceivedMac {
    /// Reads the `Signature` of a message: one member, of that label, 32 bytes.
    pub(super) fn read(headers: &HeaderMap, label: &'static str) -> Result<Self, Cause> {
        const NAME: &str = "signature";
        let value = once(headers, &SIGNATURE)?.ok_or(Cause::Missing(NAME))?;
        if value.len() > LONGEST_SIGNATURE {
            return Err(Cause::TooLong(NAME));
        }
        let text = value.strip_prefix(label).and_then(|rest| rest.strip_prefix('=')).ok_or(Cause::Label(label))?;
        let encoded = text.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
        let mac = encoded.and_then(crate::digest_field::decode);
        Ok(Self { mac: mac.ok_or(Cause::NotCanonical(NAME))?, text: text.to_owned() })
    }

    /// Whether the MAC is that of `base`, compared in constant time.
    pub(super) fn verify(&self, base: Base, parameters: &str, key: &hmac::Key, key_id: &KeyId) -> Result<(), Cause> {
        if base.has_mac(parameters, key, &self.mac) { Ok(()) } else { Err(Cause::Mac(key_id.clone())) }
    }
}
