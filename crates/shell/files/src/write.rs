//! Writing a file whole, or not at all.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{AtFlags, Gid, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::error::{Attempt as _, FilesError};
use crate::root::{Root, is_absent};

/// Every draft's name starts with this, so that one left behind by a crash can be told from anybody's file.
pub(crate) const DRAFT: &str = ".pconf-draft-";

/// Two tasks of one process may write into one folder at the same time.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

impl Root {
    /// Replaces the file at `path`, or makes it; on disk when this returns. The folder has to exist.
    ///
    /// Whatever goes wrong, the old file is whole and no draft stays.
    pub fn write(&self, path: &RelativePath, bytes: &[u8], owner: Owner, mode: Mode) -> Result<(), FilesError> {
        let written = self
            .folder_of(path)
            .and_then(|folder| replace(folder.as_fd(), path.file_name(), bytes, Some(owner), mode.bits()));
        written.attempt("write", &self.place(path))
    }

    /// Sets owner and mode of an ordinary file whose bytes are already right.
    pub fn set_permission(&self, path: &RelativePath, owner: Owner, mode: Mode) -> Result<(), FilesError> {
        let set = self.reach(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC).and_then(|file| {
            permit(&file, Some(owner), mode.bits())?;
            rustix::fs::fsync(&file)
        });
        set.attempt("set owner and mode of", &self.place(path))
    }

    /// Removes the file at `path`; `false` where there was none. A folder is never removed by this.
    pub fn remove(&self, path: &RelativePath) -> Result<bool, FilesError> {
        let removed = self.folder_of(path).and_then(|folder| {
            rustix::fs::unlinkat(folder.as_fd(), path.file_name(), AtFlags::empty())?;
            rustix::fs::fsync(folder.as_fd())
        });
        match removed {
            Ok(()) => Ok(true),
            Err(error) if is_absent(error) => Ok(false),
            Err(error) => Err(error).attempt("remove", &self.place(path)),
        }
    }
}

/// Draft, owner, mode, sync, rename, sync the folder. Without `owner` the file belongs to this process.
pub(crate) fn replace(
    folder: BorrowedFd<'_>,
    name: &str,
    bytes: &[u8],
    owner: Option<Owner>,
    mode: u32,
) -> Result<(), Errno> {
    place(folder, name, bytes, owner, mode, RenameFlags::empty(), Lasting::Synced)
}

/// As [`replace`], for what nothing is decided by: readers see the old bytes or the new ones, but the system takes its time
/// to bring them to the disk.
pub(crate) fn note(folder: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: u32) -> Result<(), Errno> {
    place(folder, name, bytes, None, mode, RenameFlags::empty(), Lasting::Eventually)
}

/// As [`replace`], but an existing file stays as it is and gives `EEXIST`.
pub(crate) fn create(folder: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: u32) -> Result<(), Errno> {
    place(folder, name, bytes, None, mode, RenameFlags::NOREPLACE, Lasting::Synced)
}

/// When bytes are on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasting {
    /// Before the call returns.
    Synced,
    /// When the system gets to it.
    Eventually,
}

fn place(
    folder: BorrowedFd<'_>,
    name: &str,
    bytes: &[u8],
    owner: Option<Owner>,
    mode: u32,
    flags: RenameFlags,
    lasting: Lasting,
) -> Result<(), Errno> {
    let draft = draft_name();
    let moved = make_draft(folder, &draft, bytes, owner, mode, lasting)
        .and_then(|()| rustix::fs::renameat_with(folder, &*draft, folder, name, flags));
    if let Err(error) = moved {
        // The draft may not exist; the error worth telling is the first one.
        let _ = rustix::fs::unlinkat(folder, &*draft, AtFlags::empty());
        return Err(error);
    }
    match lasting {
        // The new name is part of the folder, so the folder is what must reach the disk.
        Lasting::Synced => rustix::fs::fsync(folder),
        Lasting::Eventually => Ok(()),
    }
}

/// A name that no other draft has.
pub(crate) fn draft_name() -> String {
    format!("{DRAFT}{}-{}", std::process::id(), DRAFTS.fetch_add(1, Ordering::Relaxed))
}

fn make_draft(
    folder: BorrowedFd<'_>,
    name: &str,
    bytes: &[u8],
    owner: Option<Owner>,
    mode: u32,
    lasting: Lasting,
) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Unreadable to others until its owner and mode are set: it may hold a secret.
    let mut draft =
        File::from(rustix::fs::openat(folder, name, flags, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?);
    draft.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let draft = OwnedFd::from(draft);
    permit(&draft, owner, mode)?;
    match lasting {
        Lasting::Synced => rustix::fs::fsync(&draft),
        Lasting::Eventually => Ok(()),
    }
}

/// Gives a file or folder its owner and mode; the owner first, because changing it may clear bits of the mode.
pub(crate) fn permit(node: &OwnedFd, owner: Option<Owner>, mode: u32) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(node)?;
    if let Some(owner) = owner
        && (owner.uid, owner.gid) != (stat.st_uid, stat.st_gid)
    {
        rustix::fs::fchown(node, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    }
    rustix::fs::fchmod(node, rustix::fs::Mode::from_raw_mode(mode))
}
