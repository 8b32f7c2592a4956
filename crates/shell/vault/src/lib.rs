//! What the leader keeps secret at rest.
//!
//! Every value has an envelope of its own: it is encrypted with a key made for it alone, and that key with the
//! key-encryption key, which is somewhere else than the values ([`KekSource`]). Each envelope is bound to its name, so that
//! one that is put in another's place does not open. Whoever has the folder without the key-encryption key has nothing.

mod cipher;
mod envelope;
mod kek;
mod passphrase;
mod vault;

pub use cipher::random;
pub use envelope::EnvelopeError;
pub use kek::{KekError, KekSource};
pub use passphrase::{locked, unlocked};
pub use vault::{Vault, VaultError};
