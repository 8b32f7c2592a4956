//! Folders: made when missing, never changed when there, removed only when empty.

use std::os::fd::{AsFd, BorrowedFd};

use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{AtFlags, Dir, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::effect;
use crate::error::{Attempt as _, FilesError};
use crate::root::{FOLDER, Root, is_absent};
use crate::stage::remove_tree;
use crate::write::{draft_name, is_draft, permit};

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
            effect::remove_folder(holder.as_fd(), path.file_name())?;
            effect::sync_folder(holder.as_fd(), path.file_name())
        });
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) if is_absent(error) => Ok(false),
            Err(error) => Err(error).attempt("remove the folder", &self.place(path)),
        }
    }

    /// Removes the drafts that a crash left in the folder at `path` (`None`: the root), staged trees with all that is in
    /// them; returns how many there were.
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
            if let Some(name) = entry.file_name().to_str().ok().filter(|name| is_draft(name)) {
                drafts += usize::from(remove_draft(folder, name).attempt("clean up", &place)?);
            }
        }
        Ok(drafts)
    }
}

/// Draft, owner, mode, sync, rename, sync the folder above: one that stands at its path is whole.
fn place(holder: BorrowedFd<'_>, name: &str, owner: Owner, bits: u32) -> Result<(), Errno> {
    let draft = draft_name("");
    effect::make_folder(holder, &*draft, 0o700)?;
    let placed = effect::open(holder, &*draft, FOLDER | OFlags::NOFOLLOW)
        .and_then(|folder| {
            permit(&folder, &draft, Some(owner), bits)?;
            effect::sync(&folder, &draft)
        })
        .and_then(|()| effect::rename(holder, &draft, name, RenameFlags::NOREPLACE));
    if let Err(error) = placed {
        // The error worth telling is the first one.
        let _ = effect::remove_folder(holder, &*draft);
        return Err(error);
    }
    effect::sync_folder(holder, name)
}

fn remove_draft(folder: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    let removed = match effect::unlink(folder, name) {
        // Linux says the first of a folder, POSIX the second. One that was to get its name is empty.
        Err(Errno::ISDIR | Errno::PERM) => effect::remove_folder(folder, name),
        removed => removed,
    };
    match removed {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            // What a container fills under a name like ours stays its own, and so does what cannot be emptied.
            Ok(stat.st_uid == rustix::process::geteuid().as_raw() && remove_tree(folder, name).is_ok())
        }
        removed => removed.map(|()| true),
    }
}
