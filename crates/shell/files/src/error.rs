//! What can go wrong with files, said so that an operator knows what to do.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::found::Obstacle;

/// Something about a file could not be done; the source is the system's reason.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system refused.
    #[error("cannot {action} `{}`{}", path.display(), way_out(source))]
    System {
        /// What was attempted, e.g. `write`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others may read what is private.
    #[error("`{}` is private but has mode {mode:04o}: run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may look into a folder that is private.
    #[error(
        "the folder `{}` is private but has mode {mode:04o}: run `chmod 700 {}`", path.display(), path.display()
    )]
    FolderExposed {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something stands there that is not written to.
    #[error("`{}` is {what}: move it away; nothing was written", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: Obstacle,
    },
    /// Another process works in the state folder.
    #[error("`{}` is in use by another process: one at a time may work in it; end that one first", .0.display())]
    InUse(PathBuf),
}

impl FilesError {
    /// The system's error kind, where the system refused.
    #[must_use]
    pub fn kind(&self) -> Option<std::io::ErrorKind> {
        match self {
            Self::System { source, .. } => Some(source.kind()),
            Self::Exposed { .. } | Self::FolderExposed { .. } | Self::InTheWay { .. } | Self::InUse(_) => None,
        }
    }
}

fn way_out(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => " (free some space; what was there before is whole)",
        std::io::ErrorKind::PermissionDenied => " (run as a user that may, as root for other users' files)",
        std::io::ErrorKind::ReadOnlyFilesystem => " (mount it read-write for this program)",
        std::io::ErrorKind::ResourceBusy => " (somebody works on it: try again)",
        std::io::ErrorKind::NotADirectory => " (something that is no folder stands on the way: move it away)",
        _ if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            " (a symbolic link stands there or on the way: move it away)"
        }
        _ => "",
    }
}

/// Says what was attempted on which path, once per system call.
pub(crate) trait Attempt<T> {
    fn attempt(self, action: &'static str, path: &Path) -> Result<T, FilesError>;
}

impl<T> Attempt<T> for Result<T, Errno> {
    fn attempt(self, action: &'static str, path: &Path) -> Result<T, FilesError> {
        self.map_err(std::io::Error::from).attempt(action, path)
    }
}

impl<T> Attempt<T> for std::io::Result<T> {
    fn attempt(self, action: &'static str, path: &Path) -> Result<T, FilesError> {
        self.map_err(|source| FilesError::System { action, path: path.to_owned(), source })
    }
}
