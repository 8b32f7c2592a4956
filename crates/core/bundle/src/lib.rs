//! What travels between leader and follower, and how each side knows that it is true.

mod authority;
mod base64url;
mod bundle;
mod control;
mod diff;
mod digest_field;
mod enrolment;
mod entity_tag;
mod guard;
mod join;
mod keys;
mod masks;
mod pin;
mod prefer;
mod problem;
mod report;
pub mod routes;
mod seal;
pub mod signature;
mod time;

pub use authority::{Authorities, InvalidOrigin, Origin};
pub use bundle::{Bundle, Content, Directory, File};
pub use control::{Control, NextKey};
pub use diff::{Changed, masked_diff};
pub use digest_field::ContentDigest;
pub use enrolment::{Enrolled, Enrolment, open_enrolled, seal_enrolled};
pub use entity_tag::{EntityTag, InvalidEntityTag};
pub use guard::{Suspicion, suspicions};
pub use join::{InvalidJoinString, JoinString};
pub use keys::{EnrolmentKey, InvalidKey, InvalidKeyId, KeyId, Keys};
pub use masks::{Hider, Masks};
pub use pconf_names::{Check, Class, ComposeFile, Health, OnChange, ServiceRule};
pub use pin::{InvalidPin, Pin};
pub use prefer::{LONGEST_WAIT, prefer_wait, preferred_wait};
pub use problem::{Code, Problem};
pub use report::{Drift, Report, ServiceOutcome, ServiceReport, Verdict};
pub use seal::{
    OpenError, SealNonce, SealedBundle, VerifiedBundle, name_bundle, open_bundle, open_report, open_snapshot,
    seal_bundle, seal_report, seal_snapshot,
};
pub use time::{Moment, UnixSeconds};

/// A field value out of text that is ASCII by construction: our own names, numbers, base64 and hexadecimal digits.
fn header_value(text: String) -> http::HeaderValue {
    match http::HeaderValue::try_from(text) {
        Ok(value) => value,
        Err(_) => unreachable!("our own field values are printable ASCII"),
    }
}
