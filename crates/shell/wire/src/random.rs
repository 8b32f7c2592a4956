//! The operating system's randomness, in the shapes that the wire needs.

use pconf_bundle::signature::Nonce;
use pconf_bundle::{EnrolmentKey, SealNonce};

/// The operating system gives no randomness: nothing can be signed or sealed.
#[derive(Debug, thiserror::Error)]
#[error("cannot get randomness from the operating system")]
pub struct RandomnessError(#[from] getrandom::Error);

/// `N` random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], RandomnessError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A new key for a machine.
pub fn enrolment_key() -> Result<EnrolmentKey, RandomnessError> {
    random().map(EnrolmentKey::from)
}

/// A nonce for one seal.
pub fn seal_nonce() -> Result<SealNonce, RandomnessError> {
    random()
}

pub(crate) fn nonce() -> Result<Nonce, RandomnessError> {
    random().map(Nonce::from_random)
}

/// A name for one request in the log: 16 hexadecimal digits.
pub(crate) fn request_id() -> String {
    // The id helps an operator to find a line; without randomness there are worse things to report.
    getrandom::u64().map_or_else(|_| "unknown".to_owned(), |number| format!("{number:016x}"))
}
