//! What travels between leader and follower, and how each side knows that it is true.

mod authority;
mod bundle;
mod digest_field;
mod entity_tag;
mod guard;
mod keys;
mod masks;
mod problem;
mod report;
pub mod routes;
mod seal;
pub mod signature;
mod time;

pub use authority::{Authorities, InvalidOrigin, Origin};
pub use bundle::{Bundle, Content, Directory, File};
pub use digest_field::ContentDigest;
pub use entity_tag::{EntityTag, InvalidEntityTag};
pub use guard::{Suspicion, suspicions};
pub use keys::{EnrolmentKey, InvalidKey, InvalidKeyId, KeyId, Keys};
pub use masks::Masks;
pub use pconf_names::{Check, Class, ComposeFile, Health, OnChange, ServiceRule};
pub use problem::{Code, Problem};
pub use report::{Drift, Report, ServiceOutcome, ServiceReport, Verdict};
pub use seal::{
    OpenError, SealNonce, SealedBundle, VerifiedBundle, open_bundle, open_report, plaintext, seal_bundle, seal_report,
};
pub use time::{Moment, UnixSeconds};

/// A field value out of text that is ASCII by construction: our own names, numbers, base64 and hexadecimal digits.
fn header_value(text: &str) -> http::HeaderValue {
    match http::HeaderValue::from_str(text) {
        Ok(value) => value,
        Err(_) => unreachable!("our own field values are printable ASCII"),
    }
}
