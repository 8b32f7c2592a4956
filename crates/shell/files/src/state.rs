//! Plain state files of a daemon: private, replaced whole, one process at a time.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use pconf_names::Owner;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Attempt as _, FilesError};
use crate::root::{FOLDER, Root};
use crate::write::{note, replace};

/// A folder (0700) for one process's state; held until dropped, by a lock that a crash releases too.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: OwnedFd,
}

impl StateFolder {
    /// Makes the folder where it is missing, takes its lock and removes drafts that a crash left.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        make_private(path)?;
        let lock = path.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &lock, flags, Mode::RUSR | Mode::WUSR).attempt("open", &lock)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(FilesError::InUse(path.to_owned())),
            locked => locked.attempt("lock", &lock)?,
        }
        Root::open(path)?.clean_drafts(None)?;
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// The whole path of a state file.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces a state file; see [`write_state`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        write_state(&self.file(name), bytes)
    }

    /// Replaces a state file that nothing is decided by: whole for every reader, but a power cut may lose it.
    pub fn note(&self, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        let path = self.file(name);
        rustix::fs::openat(CWD, &self.path, FOLDER, Mode::empty())
            .and_then(|folder| note(folder.as_fd(), name, bytes, 0o600))
            .attempt("write", &path)
    }

    /// The bytes of a state file, or `None`; see [`read_state`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FilesError> {
        read_state(&self.file(name))
    }
}

/// Replaces the file at `path` whole and durably, with mode 0600, in a folder that is made with mode 0700 if missing.
pub fn write_state(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_private(folder)?;
    }
    replace_at(path, bytes, None, 0o600)
}

/// Replaces the file at `path` whole and durably, keeping the owner and mode that it has; it has to exist.
pub fn rewrite(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let now = std::fs::metadata(path).attempt("look at", path)?;
    let owner = Owner { uid: now.uid(), gid: now.gid() };
    replace_at(path, bytes, Some(owner), now.mode() & 0o777)
}

/// The bytes of the file at `path`, or `None` where there is none.
pub fn read_state(path: &Path) -> Result<Option<Vec<u8>>, FilesError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).attempt("read", path),
    }
}

pub(crate) fn make_private(folder: &Path) -> Result<(), FilesError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).attempt("make the folder", folder)
}

fn replace_at(path: &Path, bytes: &[u8], owner: Option<Owner>, mode: u32) -> Result<(), FilesError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::INVAL).attempt("write", path)?;
    rustix::fs::openat(CWD, folder, FOLDER, Mode::empty())
        .and_then(|folder| replace(folder.as_fd(), name, bytes, owner, mode))
        .attempt("write", path)
}
