//! Writing into a file that has to stay the same file.

use std::os::fd::OwnedFd;

use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::effect;
use crate::error::{Attempt as _, FilesError};
use crate::found::Obstacle;
use crate::root::Root;
use crate::write::permit;

impl Root {
    /// Puts new bytes into the ordinary file that is at `path`, which stays the same inode; on disk when this returns.
    ///
    /// For a file that a container mounts by itself: such a mount keeps the inode that it was made of, so the container
    /// would never see one that is renamed into its place. [`Root::write`] is the better way for every other file, because
    /// this one cannot be whole at each moment. Whoever reads meanwhile sees, in this order: the old bytes; the old bytes
    /// followed by the end of the new ones (where the file grows); new bytes followed by old ones; the new bytes. Whoever
    /// may not read the new bytes never sees any: owner and mode are made tighter first, and wider last.
    ///
    /// A full disk changes no byte: the room is taken first. A crash half way, or a disk that fails, leaves a mixture. So
    /// the caller puts down before that it is about to write here what it will find again (the goal is stored, the path is
    /// in the ledger as changing), and its next cycle writes again.
    pub fn rewrite(&self, path: &RelativePath, bytes: &[u8], owner: Owner, mode: Mode) -> Result<(), FilesError> {
        let file = self.open_ordinary(path, OFlags::RDWR, "rewrite")?;
        rewrite(&file, path.file_name(), bytes, owner, mode.bits()).attempt("rewrite", &self.place(path))
    }

    /// Opens the ordinary file with one name that is at `path`, and nothing else: to open a device is to use it.
    pub(crate) fn open_ordinary(
        &self,
        path: &RelativePath,
        access: OFlags,
        action: &'static str,
    ) -> Result<OwnedFd, FilesError> {
        let place = self.place(path);
        let judge = |node: &OwnedFd| {
            let stat = rustix::fs::fstat(node).attempt(action, &place)?;
            match Obstacle::of(&stat) {
                Some(what) => Err(FilesError::InTheWay { path: place.clone(), what }),
                None if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    Err(Errno::ISDIR).attempt(action, &place)
                }
                None => Ok(stat),
            }
        };
        let seen = self.reach(path, OFlags::PATH | OFlags::CLOEXEC).attempt(action, &place)?;
        let seen = judge(&seen)?;
        // A pipe that is swapped in would block an open without O_NONBLOCK.
        let opened = self.reach(path, access | OFlags::NONBLOCK | OFlags::CLOEXEC).attempt(action, &place)?;
        let stat = judge(&opened)?;
        if (seen.st_dev, seen.st_ino) != (stat.st_dev, stat.st_ino) {
            // Somebody replaced it this very moment.
            return Err(Errno::BUSY).attempt(action, &place);
        }
        Ok(opened)
    }
}

fn rewrite(file: &OwnedFd, name: &str, bytes: &[u8], owner: Owner, mode: u32) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(file)?;
    let (old, new) = (u64::try_from(stat.st_size).unwrap_or(0), bytes.len() as u64);
    let (head, tail) = bytes.split_at(bytes.len().min(usize::try_from(old).unwrap_or(usize::MAX)));
    let undone = |error| {
        // The error worth telling is the first one.
        let _ = effect::truncate(file, name, old);
        error
    };
    if new > 0 {
        effect::reserve(file, name, new).map_err(undone)?;
    }
    permit(file, name, Some(owner), stat.st_mode & mode)?;
    // The end first, for file systems that promise no room: until it is written, what was there is whole.
    effect::write(file, name, tail, old).map_err(undone)?;
    effect::write(file, name, head, 0)?;
    if new < old {
        effect::truncate(file, name, new)?;
    }
    if stat.st_mode & mode != mode {
        effect::set_mode(file, name, mode)?;
    }
    effect::sync(file, name)
}
