//! Where the key-encryption key comes from.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pconf_files::{FilesError, create_read_only, read_private};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cipher::{Key, random};
use crate::passphrase::key_of;

/// Where the key-encryption key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KekSource {
    /// A file with mode 0400, relative to the leader's folder; made on first use. 43 characters of base64url.
    File(PathBuf),
    /// A systemd credential of this name (`LoadCredential=`), a file of the same form below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A passphrase: `CONFIG_LEADER_PASSPHRASE`, else it is asked for on the terminal.
    Passphrase,
}

impl Default for KekSource {
    fn default() -> Self {
        Self::File(PathBuf::from("kek"))
    }
}

/// There is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The disk's fault, or others can read it.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It is not there although values were sealed with it.
    #[error("the key-encryption key `{}` is missing: put it back, or restore an export into an empty folder", .0.display())]
    Missing(PathBuf),
    /// The file is something else.
    #[error("`{}` holds no key-encryption key, which is 43 characters of base64url", .0.display())]
    Malformed(PathBuf),
    /// systemd passes no credentials.
    #[error("there is no credential `{0}`: add `LoadCredential={0}:/path/of/the/key` to the unit")]
    NoCredential(String),
    /// Nobody says the passphrase.
    #[error("the passphrase is missing: set CONFIG_LEADER_PASSPHRASE, or run this on a terminal")]
    NoPassphrase,
    /// The system's random source fails.
    #[error("the system's random source fails: {0}")]
    Randomness(getrandom::Error),
}

impl KekSource {
    /// The key. `is_new` where nothing was sealed yet: then a file is made. `passphrase` is asked only if it is needed.
    pub(crate) fn key(
        &self,
        folder: &Path,
        is_new: bool,
        salt: &[u8; 16],
        passphrase: impl FnOnce(bool) -> Option<Zeroizing<String>>,
    ) -> Result<Key, KekError> {
        match self {
            Self::Passphrase => {
                let said = passphrase(is_new).filter(|said| !said.is_empty()).ok_or(KekError::NoPassphrase)?;
                Ok(key_of(&said, salt))
            }
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
                let path = folder.ok_or_else(|| KekError::NoCredential(name.clone()))?.join(name);
                read(&path)?.ok_or_else(|| KekError::NoCredential(name.clone()))
            }
            Self::File(path) => {
                let path = folder.join(path);
                if let Some(key) = read(&path)? {
                    return Ok(key);
                }
                if !is_new {
                    return Err(KekError::Missing(path));
                }
                let text =
                    Zeroizing::new(URL_SAFE_NO_PAD.encode(*random::<32>().map_err(KekError::Randomness)?) + "\n");
                create_read_only(&path, text.as_bytes())?;
                // Whoever made it first made the one that counts.
                read(&path)?.ok_or(KekError::Missing(path))
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<Key>, KekError> {
    let Some(text) = read_private(path)?.map(Zeroizing::new) else { return Ok(None) };
    let malformed = || KekError::Malformed(path.to_owned());
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim_end()).map_err(|_| malformed())?);
    let mut key = Key::new([0; 32]);
    if bytes.len() != key.len() {
        return Err(malformed());
    }
    key.copy_from_slice(&bytes);
    Ok(Some(key))
}
