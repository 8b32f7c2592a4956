//! The vault of one leader's folder: open once, and everything in it can be sealed and read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use pconf_daemon::{StateError, from_state, to_state};
use pconf_files::{FilesError, create_state, read_state, write_state};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::cipher::{Key, random};
use crate::envelope::{EnvelopeError, close, unclose};
use crate::kek::{KekError, KekSource};

/// Tells in every leader's folder with which key-encryption key it is sealed.
const MARKER: &str = "vault.json";

/// The vault of one leader's folder. `Debug` shows nothing of its keys.
pub struct Vault {
    folder: PathBuf,
    kek: Key,
    id: String,
}

/// The vault does not open, or a file of it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no key-encryption key.
    #[error("cannot open the vault of `{}`", folder.display())]
    Kek {
        /// The leader's folder.
        folder: PathBuf,
        /// Why.
        source: KekError,
    },
    /// There is one, but not the right one.
    #[error(
        "the key-encryption key is not the one that `{}` is sealed with: give the right one; nothing was changed",
        .0.display()
    )]
    WrongKek(PathBuf),
    /// The marker cannot be understood.
    #[error("`{}` cannot be used: restore it from a backup", path.display())]
    Marker {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: StateError,
    },
    /// The disk's fault.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A value does not come out of its file, or not into it.
    #[error("`{}` cannot be used", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: EnvelopeError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    /// Of the key-encryption key; tells nothing about it.
    kek: String,
    /// For a passphrase.
    salt: String,
}

impl Vault {
    /// Opens the vault of the leader's folder, which is made on first use. `passphrase` is asked only where one is the source;
    /// it is told whether the passphrase is a new one.
    pub fn open(
        folder: &Path,
        source: &KekSource,
        passphrase: impl FnOnce(bool) -> Option<Zeroizing<String>>,
    ) -> Result<Self, VaultError> {
        let path = folder.join(MARKER);
        let kek_error = |source| VaultError::Kek { folder: folder.to_owned(), source };
        let random_salt = || random::<16>().map_err(|error| kek_error(KekError::Randomness(error)));
        let marker = read_marker(&path)?;
        let salt = match &marker {
            Some(marker) => {
                let salt = STANDARD.decode(&marker.salt).ok().and_then(|salt| salt.try_into().ok());
                Zeroizing::new(salt.ok_or_else(|| VaultError::WrongKek(folder.to_owned()))?)
            }
            None => random_salt()?,
        };
        let kek = source.key(folder, marker.is_none(), &salt, passphrase).map_err(kek_error)?;
        let vault = Self { folder: folder.to_owned(), id: id_of(&kek), kek };
        let marker = match marker {
            Some(marker) => marker,
            None => vault.mark(&path, &salt)?,
        };
        if marker.kek == vault.id { Ok(vault) } else { Err(VaultError::WrongKek(folder.to_owned())) }
    }

    /// Marks the folder; the marker that counts is the first one.
    fn mark(&self, path: &Path, salt: &[u8; 16]) -> Result<Marker, VaultError> {
        let marker = Marker { kek: self.id.clone(), salt: STANDARD.encode(salt) };
        let bytes = to_state(&marker)
            .map_err(|error| VaultError::Value { path: path.to_owned(), source: EnvelopeError::Json(error) })?;
        if create_state(path, &bytes)? {
            return Ok(marker);
        }
        Ok(read_marker(path)?.unwrap_or(marker))
    }

    /// Replaces the file at `path`, relative to the folder, whole and durably; its envelope bears the same name.
    pub fn write(&self, path: &str, value: &[u8]) -> Result<(), VaultError> {
        Ok(write_state(&self.folder.join(path), &self.sealed(path, value)?)?)
    }

    /// Makes the file at `path`, whole and durably; `false` where there is one already, which stays as it is.
    pub fn create(&self, path: &str, value: &[u8]) -> Result<bool, VaultError> {
        Ok(create_state(&self.folder.join(path), &self.sealed(path, value)?)?)
    }

    /// The envelope of a value that is called `name`.
    pub fn sealed(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, VaultError> {
        close(&self.kek, &self.id, name, value)
            .map_err(|source| VaultError::Value { path: self.folder.join(name), source })
    }

    /// The value in the envelope that is called `name`.
    pub fn opened(&self, name: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        unclose(&self.kek, &self.id, name, envelope)
            .map_err(|source| VaultError::Value { path: self.folder.join(name), source })
    }

    /// A key for one purpose, e.g. `audit`: the same in every life of this vault.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(&self.kek, purpose)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("folder", &self.folder).field("kek", &self.id).finish_non_exhaustive()
    }
}

fn read_marker(path: &Path) -> Result<Option<Marker>, VaultError> {
    let Some(bytes) = read_state(path)? else { return Ok(None) };
    from_state(&bytes).map(Some).map_err(|source| VaultError::Marker { path: path.to_owned(), source })
}

fn id_of(kek: &Key) -> String {
    expand(kek, "id")[..8].iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn expand(kek: &Key, purpose: &str) -> Key {
    let mut key = Key::new([0; 32]);
    match Hkdf::<Sha256>::new(Some(b"pconf-vault-v1"), kek.as_slice()).expand(purpose.as_bytes(), key.as_mut_slice()) {
        Ok(()) => key,
        Err(_) => unreachable!("RFC 5869 gives 255 blocks of 32 bytes, this is one"),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    fn nobody(_: bool) -> Option<Zeroizing<String>> {
        None
    }

    fn folder() -> std::io::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))?;
        Ok(folder)
    }

    fn read(vault: &Vault, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        read_state(&vault.folder.join(path))?.map(|bytes| vault.opened(path, &bytes)).transpose()
    }

    fn refusal(opened: Result<Vault, VaultError>, folder: &Path) -> String {
        let text = opened.err().map_or_else(|| "it opens".to_owned(), |error| pconf_daemon::Chain(&error).to_string());
        text.replace(&folder.display().to_string(), "DIR")
    }

    #[test]
    fn a_value_is_read_by_its_name_with_its_key_and_by_nothing_else() -> Tested {
        let (one, other) = (folder()?, folder()?);
        let vault = Vault::open(one.path(), &KekSource::default(), nobody)?;
        vault.write("secrets/a", b"hunter2")?;
        assert!(!vault.create("secrets/a", b"another")?);
        let again = Vault::open(one.path(), &KekSource::default(), nobody)?;
        assert_eq!(read(&again, "secrets/a")?.as_deref().map(Vec::as_slice), Some(b"hunter2".as_slice()));
        assert_eq!(read(&again, "secrets/b")?, None);
        assert_eq!(vault.derive("audit"), again.derive("audit"));
        assert_ne!(vault.derive("audit"), vault.derive("other"));

        let bytes = std::fs::read(one.path().join("secrets/a"))?;
        assert!(!String::from_utf8(bytes.clone())?.contains("hunter2"));
        let moved = again.opened("secrets/b", &bytes).err().map(|error| pconf_daemon::Chain(&error).to_string());
        assert!(moved.ok_or("it opens under another name")?.contains("it does not open"));
        let foreign = Vault::open(other.path(), &KekSource::default(), nobody)?;
        let refused = foreign.opened("secrets/a", &bytes).err().map(|error| pconf_daemon::Chain(&error).to_string());
        assert!(refused.ok_or("another vault opens it")?.contains("sealed with the key-encryption key"));
        let mode = std::fs::metadata(one.path().join("kek"))?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o400);
        Ok(())
    }

    #[test]
    fn a_wrong_missing_or_exposed_key_encryption_key_is_told_and_nothing_is_changed() -> Tested {
        let folder = folder()?;
        let source = KekSource::default();
        drop(Vault::open(folder.path(), &source, nobody)?);
        let kek = folder.path().join("kek");
        let text = std::fs::read_to_string(&kek)?;
        let open = || refusal(Vault::open(folder.path(), &source, nobody), folder.path());

        let mut said = Vec::new();
        std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o640))?;
        said.push(open());
        std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o600))?;
        std::fs::write(&kek, "not a key")?;
        said.push(open());
        std::fs::write(&kek, format!("{}\n", "A".repeat(43)))?;
        said.push(open());
        std::fs::remove_file(&kek)?;
        said.push(open());
        assert_eq!(
            said,
            [
                "cannot open the vault of `DIR`: `DIR/kek` is private but has mode 0640: run `chmod 600 DIR/kek`",
                "cannot open the vault of `DIR`: `DIR/kek` holds no key-encryption key, which is 43 characters of base64url",
                "the key-encryption key is not the one that `DIR` is sealed with: give the right one; nothing was changed",
                "cannot open the vault of `DIR`: the key-encryption key `DIR/kek` is missing: put it back, or restore an \
                 export into an empty folder",
            ]
        );
        std::fs::write(&kek, text)?;
        std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o400))?;
        drop(Vault::open(folder.path(), &source, nobody)?);
        Ok(())
    }

    #[test]
    fn a_passphrase_opens_what_it_closed() -> Tested {
        let folder = folder()?;
        let say = |said: &str| {
            let said = Zeroizing::new(said.to_owned());
            move |_| Some(said)
        };
        Vault::open(folder.path(), &KekSource::Passphrase, say("correct horse"))?.write("secrets/a", b"hunter2")?;
        let again = Vault::open(folder.path(), &KekSource::Passphrase, say("correct horse"))?;
        assert_eq!(read(&again, "secrets/a")?.as_deref().map(Vec::as_slice), Some(b"hunter2".as_slice()));
        let open = |said| refusal(Vault::open(folder.path(), &KekSource::Passphrase, said), folder.path());
        assert!(open(say("another")).contains("is not the one"), "{}", open(say("another")));
        assert!(open(say("")).contains("the passphrase is missing"));
        assert!(!folder.path().join("kek").exists());
        Ok(())
    }
}
