//! Plain state files of a daemon: private, replaced whole, one process at a time.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use pconf_names::Owner;
use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, OFlags};
use rustix::io::Errno;

use crate::effect;
use crate::error::{Attempt as _, FilesError};
use crate::found::Obstacle;
use crate::root::{FOLDER, Root, is_absent, make_folders};
use crate::write::{is_draft, note, replace};

/// The file whose lock is the folder's.
const LOCK: &str = "lock";

/// A folder (0700) for one process's state; held until dropped, by a lock that a crash releases too.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: OwnedFd,
}

impl StateFolder {
    /// Makes the folder where it is missing, takes its lock and removes drafts that a crash left.
    ///
    /// A folder that others may look into is refused, unless there is nothing in it yet: then it is closed to them (an
    /// engine makes the folder of a volume open to all). A symbolic link in it is refused, whatever it points to.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        make_private(path)?;
        let folder = effect::open(CWD, path, FOLDER).attempt("open the folder", path)?;
        let content = files(&folder, path)?;
        close(&folder, path, content.is_empty())?;
        if let Some((name, _)) = content.iter().find(|(_, kind)| *kind == FileType::Symlink) {
            return Err(FilesError::InTheWay { path: path.join(name), what: Obstacle::SymbolicLink });
        }
        let lock = path.join(LOCK);
        let file = effect::open_or_create(&lock).attempt("open", &lock)?;
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
        effect::open(CWD, &self.path, FOLDER)
            .and_then(|folder| note(folder.as_fd(), name, bytes, 0o600))
            .attempt("write", &path)
    }

    /// The bytes of a state file, or `None`; see [`read_state`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FilesError> {
        read_state(&self.file(name))
    }

    /// Removes a state file, durably; `false` where there was none.
    pub fn remove(&self, name: &str) -> Result<bool, FilesError> {
        let removed = effect::open(CWD, &self.path, FOLDER).and_then(|folder| {
            effect::unlink(&folder, name)?;
            effect::sync_folder(&folder, name)
        });
        match removed {
            Err(error) if is_absent(error) => Ok(false),
            removed => removed.map(|()| true).attempt("remove", &self.file(name)),
        }
    }

    /// The names of all state files, in order; what is no ordinary file is none.
    pub fn names(&self) -> Result<Vec<String>, FilesError> {
        let folder = effect::open(CWD, &self.path, FOLDER).attempt("look into", &self.path)?;
        let mut files = files(&folder, &self.path)?;
        files.retain(|(name, kind)| *kind == FileType::RegularFile && name != LOCK && !is_draft(name));
        let mut names: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// What is in a folder apart from folders.
fn files(folder: &OwnedFd, path: &Path) -> Result<Vec<(String, FileType)>, FilesError> {
    let mut files = Vec::new();
    for entry in Dir::read_from(folder).attempt("look into", path)? {
        let entry = entry.attempt("look into", path)?;
        let name = entry.file_name();
        let kind = match entry.file_type() {
            // Some file systems do not tell it here.
            FileType::Unknown => {
                let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).attempt("look at", path)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        if kind != FileType::Directory {
            files.push((name.to_string_lossy().into_owned(), kind));
        }
    }
    Ok(files)
}

/// Sees to it that nobody else can look into the folder.
fn close(folder: &OwnedFd, path: &Path, is_empty: bool) -> Result<(), FilesError> {
    let mode = rustix::fs::fstat(folder).attempt("look at", path)?.st_mode & 0o7777;
    match (mode & 0o077, is_empty) {
        (0, _) => Ok(()),
        (_, true) => effect::set_mode(folder, &path.to_string_lossy(), 0o700).attempt("set the mode of", path),
        (_, false) => Err(FilesError::FolderExposed { path: path.to_owned(), mode }),
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

/// The bytes of the file at `path`, or `None` where there is none. A symbolic link there is refused.
pub fn read_state(path: &Path) -> Result<Option<Vec<u8>>, FilesError> {
    // A pipe that is put there would block an open without O_NONBLOCK.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match effect::open(CWD, path, flags) {
        Err(error) if is_absent(error) => return Ok(None),
        Err(Errno::LOOP) => return Err(FilesError::InTheWay { path: path.to_owned(), what: Obstacle::SymbolicLink }),
        opened => opened.attempt("read", path)?,
    };
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes).attempt("read", path)?;
    Ok(Some(bytes))
}

pub(crate) fn make_private(folder: &Path) -> Result<(), FilesError> {
    make_folders(folder, 0o700)
}

fn replace_at(path: &Path, bytes: &[u8], owner: Option<Owner>, mode: u32) -> Result<(), FilesError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::INVAL).attempt("write", path)?;
    effect::open(CWD, folder, FOLDER)
        .and_then(|folder| replace(folder.as_fd(), name, bytes, owner, mode))
        .attempt("write", path)
}
