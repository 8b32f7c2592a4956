//! The two signature headers: written in one form, read in no other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, FieldType as _, ListEntry, Parser};

use super::base::Base;
use super::cause::Cause;
use super::components::once;
use crate::keys::{KeyId, Secret};

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
pub(super) fn sign(headers: &mut HeaderMap, label: &str, base: &Base, parameters: &str, key: &Secret) -> String {
    let mac = base.mac(parameters, key).finalize().into_bytes();
    let text = format!(":{}:", STANDARD.encode(mac));
    headers.insert(&SIGNATURE_INPUT, crate::header_value(&format!("{label}={}{parameters}", base.covered())));
    headers.insert(&SIGNATURE, crate::header_value(&format!("{label}={text}")));
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
        let fields: Dictionary = Parser::new(value).parse().map_err(|_| Cause::NotCanonical(NAME))?;
        if fields.serialize().as_deref() != Some(value) {
            return Err(Cause::NotCanonical(NAME));
        }
        let mut fields = fields.into_iter();
        let (Some((key, ListEntry::Item(item))), None) = (fields.next(), fields.next()) else {
            return Err(Cause::Label(label));
        };
        if key.as_str() != label {
            return Err(Cause::Label(label));
        }
        let BareItem::ByteSequence(bytes) = item.bare_item else { return Err(Cause::NotCanonical(NAME)) };
        let mac: [u8; 32] = bytes.try_into().map_err(|_| Cause::NotCanonical(NAME))?;
        let text = format!(":{}:", STANDARD.encode(mac));
        // Parameters on the MAC would be covered by nothing.
        if value == format!("{label}={text}") { Ok(Self { mac, text }) } else { Err(Cause::NotCanonical(NAME)) }
    }

    /// Whether the MAC is that of `base`, compared in constant time.
    pub(super) fn verify(&self, base: &Base, parameters: &str, key: &Secret, key_id: &KeyId) -> Result<(), Cause> {
        base.mac(parameters, key).verify_slice(&self.mac).map_err(|_| Cause::Mac(key_id.clone()))
    }
}
