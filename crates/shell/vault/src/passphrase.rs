//! Keys out of passphrases (Argon2id, RFC 9106: 64 MiB, three passes, one lane), and files that travel under one.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::cipher::{Key, open, random, seal};

/// The parameters that RFC 9106 recommends where memory is scarce, in KiB and passes.
const COST: (u32, u32, u32) = (64 * 1024, 3, 1);
/// What a locked file begins with; the salt follows.
const MAGIC: &[u8; 16] = b"pconf-locked-v1\n";

/// The key of a passphrase with this salt. Takes a moment and 64 MiB, on purpose.
pub(crate) fn key_of(passphrase: &str, salt: &[u8; 16]) -> Key {
    let (memory, passes, lanes) = COST;
    let mut key = Key::new([0; 32]);
    let derived = Params::new(memory, passes, lanes, Some(key.len())).and_then(|parameters| {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters).hash_password_into(
            passphrase.as_bytes(),
            salt,
            key.as_mut_slice(),
        )
    });
    match derived {
        Ok(()) => key,
        Err(_) => unreachable!("the parameters are constant and good, and a passphrase is shorter than 4 GiB"),
    }
}

/// `content`, to be carried elsewhere: readable with the passphrase only.
///
/// # Errors
///
/// The system's random source fails.
pub fn locked(passphrase: &str, content: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
    let salt = random::<16>()?;
    let sealed = seal(&key_of(passphrase, &salt), MAGIC, content)?;
    Ok([MAGIC.as_slice(), salt.as_slice(), &sealed].concat())
}

/// What [`locked`] was given; `None` where it is no such file, the passphrase is another, or the bytes were changed.
#[must_use]
pub fn unlocked(passphrase: &str, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, sealed) = bytes.strip_prefix(MAGIC.as_slice())?.split_first_chunk::<16>()?;
    open(&key_of(passphrase, salt), MAGIC, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_what_it_locks_and_only_untouched() -> Result<(), getrandom::Error> {
        let bytes = locked("correct horse", b"the content")?;
        assert_eq!(unlocked("correct horse", &bytes).as_deref().map(Vec::as_slice), Some(b"the content".as_slice()));
        assert_eq!(unlocked("another", &bytes), None);
        let mut changed = bytes.clone();
        changed[40] ^= 1;
        assert_eq!(unlocked("correct horse", &changed), None);
        assert_eq!(unlocked("correct horse", &bytes[..20]), None);
        assert!(!bytes.windows(7).any(|part| part == b"content"));
        Ok(())
    }
}
