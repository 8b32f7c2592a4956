//! Writing a file whole, or not at all.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{AtFlags, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::effect;
use crate::error::{Attempt as _, FilesError};
use crate::found::Obstacle;
use crate::root::{Root, is_absent};

/// Every draft's name starts with this, so that one left behind by a crash can be told from anybody's file.
const DRAFT: &str = ".pconf-draft-";

/// Two tasks of one process may write into one folder at the same time.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

impl Root {
    /// Replaces the file at `path`, or makes it; on disk when this returns. The folder has to exist.
    ///
    /// Whatever goes wrong, the old file is whole and no draft stays. What is no ordinary file with one name is not replaced.
    pub fn write(&self, path: &RelativePath, bytes: &[u8], owner: Owner, mode: Mode) -> Result<(), FilesError> {
        let place = self.place(path);
        let folder = self.folder_of(path).attempt("write", &place)?;
        // A link that is swapped in after this look is replaced, not followed.
        let now = match rustix::fs::statat(folder.as_fd(), path.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(error) if is_absent(error) => None,
            now => Some(now.attempt("write", &place)?),
        };
        if let Some(what) = now.as_ref().and_then(Obstacle::of) {
            return Err(FilesError::InTheWay { path: place, what });
        }
        replace(folder.as_fd(), path.file_name(), bytes, Some(owner), mode.bits()).attempt("write", &place)
    }

    /// Sets owner and mode of an ordinary file whose bytes are already right.
    pub fn set_permission(&self, path: &RelativePath, owner: Owner, mode: Mode) -> Result<(), FilesError> {
        let (action, place) = ("set owner and mode of", self.place(path));
        let file = self.open_ordinary(path, OFlags::RDONLY, action)?;
        permit(&file, path.file_name(), Some(owner), mode.bits())
            .and_then(|()| effect::sync(&file, path.file_name()))
            .attempt(action, &place)
    }

    /// Removes the file at `path`; `false` where there was none. A folder is never removed by this.
    pub fn remove(&self, path: &RelativePath) -> Result<bool, FilesError> {
        let removed = self.folder_of(path).and_then(|folder| {
            effect::unlink(folder.as_fd(), path.file_name())?;
            effect::sync_folder(folder.as_fd(), path.file_name())
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
    let draft = draft_name("");
    let moved = make_file(folder, &draft, bytes, owner, mode)
        .and_then(|file| match lasting {
            Lasting::Synced => effect::sync(&file, &draft),
            Lasting::Eventually => Ok(()),
        })
        .and_then(|()| effect::rename(folder, &draft, name, flags));
    if let Err(error) = moved {
        // The draft may not exist; the error worth telling is the first one.
        let _ = effect::unlink(folder, &*draft);
        return Err(error);
    }
    match lasting {
        // The new name is part of the folder, so the folder is what must reach the disk.
        Lasting::Synced => effect::sync_folder(folder, name),
        Lasting::Eventually => Ok(()),
    }
}

/// A name that no other draft has; `of` says what it is, if anything.
pub(crate) fn draft_name(of: &str) -> String {
    let of = if of.is_empty() { String::new() } else { format!("{of}-") };
    format!("{DRAFT}{of}{}-{}", std::process::id(), DRAFTS.fetch_add(1, Ordering::Relaxed))
}

/// Whether a name is one that [`draft_name`] gives.
pub(crate) fn is_draft(name: &str) -> bool {
    let is_number = |text: Option<&str>| text.is_some_and(|text| text.parse::<u64>().is_ok());
    let mut from_end = name.strip_prefix(DRAFT).unwrap_or_default().rsplitn(3, '-');
    is_number(from_end.next()) && is_number(from_end.next())
}

/// Makes a file that was not there. It is not yet on the disk.
pub(crate) fn make_file(
    folder: BorrowedFd<'_>,
    name: &str,
    bytes: &[u8],
    owner: Option<Owner>,
    mode: u32,
) -> Result<OwnedFd, Errno> {
    // Unreadable to others until its owner and mode are set: it may hold a secret.
    let file = effect::create_file(folder, name)?;
    effect::write(&file, name, bytes, 0)?;
    permit(&file, name, owner, mode)?;
    Ok(file)
}

/// Gives a file or folder its owner and mode; the owner first, because changing it may clear bits of the mode.
pub(crate) fn permit(node: &OwnedFd, name: &str, owner: Option<Owner>, mode: u32) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(node)?;
    if let Some(owner) = owner
        && (owner.uid, owner.gid) != (stat.st_uid, stat.st_gid)
    {
        effect::give(node, name, owner)?;
    }
    effect::set_mode(node, name, mode)
}
