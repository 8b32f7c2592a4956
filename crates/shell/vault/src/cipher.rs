//! The one cipher of this crate: XChaCha20-Poly1305, `nonce (24 bytes) || ciphertext || tag (16 bytes)`.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

pub(crate) type Key = Zeroizing<[u8; 32]>;

/// So many bytes from the system's random source.
///
/// # Errors
///
/// The system's.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// Encrypts `plaintext`; `associated` has to be told again to open it.
pub(crate) fn seal(key: &Key, associated: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
    let nonce = random::<24>()?;
    let cipher = XChaCha20Poly1305::new((&**key).into());
    let payload = Payload { msg: plaintext, aad: associated };
    let Ok(ciphertext) = cipher.encrypt(&XNonce::from(*nonce), payload) else {
        unreachable!("XChaCha20-Poly1305 takes up to 256 GiB")
    };
    Ok([nonce.as_slice(), &ciphertext].concat())
}

/// The plaintext, or `None` where key, associated data and bytes do not belong together.
pub(crate) fn open(key: &Key, associated: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<24>()?;
    let cipher = XChaCha20Poly1305::new((&**key).into());
    let payload = Payload { msg: ciphertext, aad: associated };
    cipher.decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
}
