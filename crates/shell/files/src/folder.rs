//! Folders: made when missing, never changed when there, removed only when empty.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{AtFlags, Dir, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{Attempt as _, FilesError};
use crate::root::{FOLDER, Root, is_absent};
use crate::write::{DRAFT, draft_name, permit};

impl Root {
    /// Makes the folder at `path` and those above it that are missing; returns the ones it made, outermost first.
    ///
    /// The folder itself gets `mode`, those above it 0755, all of them `owner`. One that exists is left as it is.
    pub fn make_folder(&self, path: &RelativePath, owner: Owner, mode: Mode) -> Result<Vec<RelativePath>, FilesError> {
        self.make_way(path, owner, mode.bits())
    }

    /// The same with mode 0755: a folder that only leads to others.
    pub fn make_open_folder(&self, path: &RelativePath, owner: Owner) -> Result<Vec<RelativePath>, FilesError> {
        self.make_way(path, owner, 0o755)
    }

    fn make_way(&self, path: &RelativePath, owner: Owner, bits: u32) -> Result<Vec<RelativePath>, FilesError> {
        let mut new = match path.parent() {
            Some(parent) => self.make_way(&parent, owner, 0o755)?,
            None => Vec::new(),
        };
        if self.make_one(path, owner, bits).attempt("make the folder", &self.place(path))? {
            new.push(path.clone());
        }
        Ok(new)
    }

    fn make_one(&self, path: &RelativePath, owner: Owner, bits: u32) -> Result<bool, Errno> {
        match self.reach(path, FOLDER) {
            Ok(_) => return Ok(false),
            Err(error) if is_absent(error) => {}
            Err(error) => return Err(error),
        }
        let holder = self.folder_of(path)?;
        match place(holder.as_fd(), path.file_name(), owner, bits) {
            // Made by somebody else in between: theirs to own.
            Err(Errno::EXIST) => Ok(false),
            placed => placed.map(|()| true),
        }
    }

    /// Removes the folder at `path` if it is empty; `false` where it is not, or is not there.
    pub fn remove_empty_folder(&self, path: &RelativePath) -> Result<bool, FilesError> {
        let removed = self.folder_of(path).and_then(|holder| {
            rustix::fs::unlinkat(holder.as_fd(), path.file_name(), AtFlags::REMOVEDIR)?;
            rustix::fs::fsync(holder.as_fd())
        });
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) if is_absent(error) => Ok(false),
            Err(error) => Err(error).attempt("remove the folder", &self.place(path)),
        }
    }

    /// Removes the drafts that a crash left in the folder at `path` (`None`: the root); returns how many there were.
    pub fn clean_drafts(&self, path: Option<&RelativePath>) -> Result<usize, FilesError> {
        let place = path.map_or_else(|| self.path().to_owned(), |path| self.place(path));
        let folder = match path.map(|path| self.reach(path, FOLDER)).transpose() {
            Ok(folder) => folder,
            Err(error) if is_absent(error) => return Ok(0),
            Err(error) => return Err(error).attempt("look into", &place),
        };
        let folder = folder.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
        let mut drafts = 0;
        for entry in Dir::read_from(folder).attempt("look into", &place)? {
            let entry = entry.attempt("look into", &place)?;
            if entry.file_name().to_bytes().starts_with(DRAFT.as_bytes()) {
                drafts += usize::from(remove_draft(folder, entry.file_name()).attempt("clean up", &place)?);
            }
        }
        Ok(drafts)
    }
}

/// Draft, owner, mode, sync, rename, sync the folder above: one that stands at its path is whole.
fn place(holder: BorrowedFd<'_>, name: &str, owner: Owner, bits: u32) -> Result<(), Errno> {
    let draft = draft_name();
    rustix::fs::mkdirat(holder, &*draft, rustix::fs::Mode::RWXU)?;
    let placed = rustix::fs::openat(holder, &*draft, FOLDER | OFlags::NOFOLLOW, rustix::fs::Mode::empty())
        .and_then(|folder| {
            permit(&folder, Some(owner), bits)?;
            rustix::fs::fsync(&folder)
        })
        .and_then(|()| rustix::fs::renameat_with(holder, &*draft, holder, name, RenameFlags::NOREPLACE));
    if let Err(error) = placed {
        // The error worth telling is the first one.
        let _ = rustix::fs::unlinkat(holder, &*draft, AtFlags::REMOVEDIR);
        return Err(error);
    }
    rustix::fs::fsync(holder)
}

fn remove_draft(folder: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let removed = match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        // Linux says the first of a folder, POSIX the second.
        Err(Errno::ISDIR | Errno::PERM) => rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR),
        removed => removed,
    };
    match removed {
        // A folder of ours is empty until it has its name.
        Err(Errno::NOTEMPTY) => Ok(false),
        removed => removed.map(|()| true),
    }
}
