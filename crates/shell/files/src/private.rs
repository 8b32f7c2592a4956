//! Reading files that nobody else may read: keys, secrets, configurations that hold one.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Attempt as _, FilesError};

/// The text of the file at `path`, or `None` where there is none. A file that group or others may touch is refused: its
/// content has to be taken for known.
pub fn read_private(path: &Path) -> Result<Option<String>, FilesError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.attempt("read", path)?,
    };
    // Of the open file, not of the path: what is judged is what is read.
    let mode = file.metadata().attempt("look at", path)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FilesError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).attempt("read", path)?;
    Ok(Some(text))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_private_file_is_read_only_when_nobody_else_can() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("key");
        assert_eq!(read_private(&path)?, None);
        std::fs::write(&path, "hunter2")?;
        let mut said = Vec::new();
        for mode in [0o644, 0o620, 0o601, 0o600, 0o400] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
            let read =
                read_private(&path).map_err(|error| error.to_string().replace(&path.display().to_string(), "key"));
            said.push(read.map_or_else(|error| error, Option::unwrap_or_default));
        }
        assert_eq!(
            said,
            [
                "`key` is private but has mode 0644: run `chmod 600 key`",
                "`key` is private but has mode 0620: run `chmod 600 key`",
                "`key` is private but has mode 0601: run `chmod 600 key`",
                "hunter2",
                "hunter2",
            ]
        );
        Ok(())
    }
}
