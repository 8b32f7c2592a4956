//! Configuration files that hold a key: read only when nobody else can.

use std::path::{Path, PathBuf};

use pconf_files::{FilesError, read_private};
use serde::de::DeserializeOwned;

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none.
    #[error("there is no configuration `{}`", .0.display())]
    Missing(PathBuf),
    /// It cannot be read, or others may read it.
    #[error(transparent)]
    File(#[from] FilesError),
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
    let text = read_private(path)?.ok_or_else(|| ConfigError::Missing(path.to_owned()))?;
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
                "`config.json` is private but has mode 0640: run `chmod 600 config.json`",
                "`config.json` is not usable: expected value at line 2 column 11",
            ]
        );
        Ok(())
    }
}
