//! Configuration files that hold a key: read only when nobody else can.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("`{}` holds a key but has mode {mode:04o}: run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not what it should be.
    #[error("`{}` is not usable", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The line, column and what is wrong there.
        source: serde_json::Error,
    },
}

/// Reads the JSON file at `path`, which has to have mode 0600 or tighter.
pub fn read_private_json<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ConfigError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    serde_json::from_str(&text).map_err(|source| ConfigError::Unusable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::Chain;

    #[test]
    fn a_configuration_is_read_only_when_nobody_else_can_read_it() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("config.json");
        std::fs::write(&path, "{\n  \"poll\": x\n}")?;
        let mut said = Vec::new();
        for mode in [0o640, 0o600] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
            let error = read_private_json::<serde_json::Value>(&path).err().ok_or("it was read")?;
            said.push(Chain(&error).to_string().replace(&path.display().to_string(), "config.json"));
        }
        assert_eq!(
            said,
            [
                "`config.json` holds a key but has mode 0640: run `chmod 600 config.json`",
                "`config.json` is not usable: expected value at line 2 column 11",
            ]
        );
        Ok(())
    }
}
