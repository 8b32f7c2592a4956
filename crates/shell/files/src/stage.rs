//! Files that are tried out before any good one is replaced.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{Dir, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::effect;
use crate::error::{Attempt as _, FilesError};
use crate::root::{FOLDER, Root};
use crate::write::{draft_name, make_file};

/// Levels of folders: a tree that a container grows below a draft is not followed without end.
const DEEPEST: usize = 200;

/// A tree of files to be tried out; removed when dropped, or by [`Root::clean_drafts`] after a crash.
#[derive(Debug)]
pub struct Staged {
    holder: OwnedFd,
    name: String,
    path: RelativePath,
}

impl Root {
    /// Writes `files` below a folder of their own in the root; `name` says what for, and is part of the folder's name.
    ///
    /// The folder has mode 0711, those below it 0755; each file has its owner and mode. Nothing waits for the disk.
    pub fn stage(&self, name: &str, files: &[(RelativePath, &[u8], Owner, Mode)]) -> Result<Staged, FilesError> {
        self.stage_in(None, name, files)
    }

    /// The same in a folder below the root, for a program that sees no more than that folder. It has to exist.
    pub fn stage_in(
        &self,
        folder: Option<&RelativePath>,
        name: &str,
        files: &[(RelativePath, &[u8], Owner, Mode)],
    ) -> Result<Staged, FilesError> {
        let above = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let name = draft_name(name);
        let path = format!("{above}{name}").parse::<RelativePath>();
        let path = path.map_err(|_| Errno::INVAL).attempt("stage", &self.path().join(&above))?;
        let place = self.place(&path);
        // Held by its own descriptor, so that the tree is found again whatever becomes of the path.
        let holder = match folder {
            Some(folder) => self.reach(folder, FOLDER),
            None => effect::open(&self.folder, ".", FOLDER),
        };
        let staged = Staged { holder: holder.attempt("stage", &place)?, name, path };
        // From here on a failure drops it, which removes what there is.
        let top = effect::make_folder(&staged.holder, &*staged.name, 0o700)
            .and_then(|()| enter(staged.holder.as_fd(), &*staged.name))
            .attempt("stage", &place)?;
        for (path, content, owner, mode) in files {
            put(&top, path, content, *owner, mode.bits()).attempt("stage", &place.join(path.as_str()))?;
        }
        effect::set_mode(&top, &staged.name, 0o711).attempt("stage", &place)?;
        Ok(staged)
    }
}

impl Staged {
    /// Where the tree is, below the root.
    #[must_use]
    pub fn path(&self) -> &RelativePath {
        &self.path
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What is left is removed with the drafts.
        let _ = remove_tree(self.holder.as_fd(), &self.name);
    }
}

fn put(top: &OwnedFd, path: &RelativePath, content: &[u8], owner: Owner, mode: u32) -> Result<(), Errno> {
    if path.segments().count() > DEEPEST {
        return Err(Errno::NAMETOOLONG);
    }
    let mut folder = effect::open(top, ".", FOLDER)?;
    let way = path.parent();
    for segment in way.iter().flat_map(RelativePath::segments) {
        folder = open_folder(folder.as_fd(), segment)?;
    }
    make_file(folder.as_fd(), path.file_name(), content, Some(owner), mode).map(drop)
}

/// A folder with mode 0755, whatever the umask; one that is there is taken as it is.
fn open_folder(holder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match effect::make_folder(holder, name, 0o700) {
        Err(Errno::EXIST) => enter(holder, name),
        made => {
            let folder = made.and_then(|()| enter(holder, name))?;
            effect::set_mode(&folder, name, 0o755)?;
            Ok(folder)
        }
    }
}

/// Opens a folder by its name alone: no link, no mount point.
fn enter(holder: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    match effect::enter(holder, name, FOLDER, ResolveFlags::NO_XDEV) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let folder = effect::open(holder, name, FOLDER | OFlags::NOFOLLOW)?;
            let (inner, outer) = (rustix::fs::fstat(&folder)?, rustix::fs::fstat(holder)?);
            if inner.st_dev == outer.st_dev { Ok(folder) } else { Err(Errno::XDEV) }
        }
        entered => entered,
    }
}

/// Removes a folder of `holder` with all that is in it; no link is followed and no mount point entered.
pub(crate) fn remove_tree(holder: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    remove_below(holder, &CString::new(name).map_err(|_| Errno::INVAL)?, DEEPEST)
}

fn remove_below(holder: BorrowedFd<'_>, name: &CStr, deepest: usize) -> Result<(), Errno> {
    let folder = enter(holder, name)?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match effect::unlink(&folder, name) {
            // Linux says the first of a folder, POSIX the second.
            Err(Errno::ISDIR | Errno::PERM) => {
                remove_below(folder.as_fd(), name, deepest.checked_sub(1).ok_or(Errno::NAMETOOLONG)?)?;
            }
            removed => removed?,
        }
    }
    effect::remove_folder(holder, name)
}
