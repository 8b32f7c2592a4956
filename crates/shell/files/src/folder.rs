//! Folders: made when missing, never changed when there, removed only when empty.

use std::os::fd::AsFd;

use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use crate::error::{Attempt as _, FilesError};
use crate::root::{FOLDER, Root, is_absent};
use crate::write::{DRAFT, permit};

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
        match rustix::fs::mkdirat(holder.as_fd(), path.file_name(), rustix::fs::Mode::RWXU) {
            // Made by somebody else in between: theirs to own.
            Err(Errno::EXIST) => return Ok(false),
            answer => answer?,
        }
        permit(&self.reach(path, FOLDER)?, Some(owner), bits)?;
        rustix::fs::fsync(holder.as_fd())?;
        Ok(true)
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
                rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty()).attempt("clean up", &place)?;
                drafts += 1;
            }
        }
        Ok(drafts)
    }
}
