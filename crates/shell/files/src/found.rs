//! What stands at a path, before anything is decided about it.

use std::fmt;
use std::fs::File;
use std::io::Read as _;

use pconf_names::{Owner, RelativePath};
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Attempt as _, FilesError};
use crate::root::{Root, is_absent};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// An ordinary file with one name.
    File(FoundFile),
    /// A folder.
    Folder,
    /// Something that is neither, at the path itself or at a folder on the way to it.
    Obstacle {
        /// Where it stands.
        at: RelativePath,
        /// What it is.
        what: Obstacle,
    },
}

/// An ordinary file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundFile {
    /// In bytes.
    pub size: u64,
    /// Who owns it.
    pub owner: Owner,
    /// Permission bits, with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
}

/// What is neither a folder nor an ordinary file with one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A symbolic link, wherever it points.
    SymbolicLink,
    /// A file that has a second name, perhaps outside the root.
    HardLink,
    /// A file where a folder has to be.
    File,
    /// A device, a pipe or a socket.
    Special,
}

impl Root {
    /// What stands at `path`; nothing is followed and nothing is opened for reading.
    pub fn look(&self, path: &RelativePath) -> Result<Found, FilesError> {
        let mut way: Vec<_> = std::iter::successors(Some(path.clone()), RelativePath::parent).collect();
        way.reverse();
        for at in way {
            let found = self.look_once(&at).attempt("look at", &self.place(&at))?;
            match found {
                Found::Folder if at != *path => {}
                Found::File(_) if at != *path => return Ok(Found::Obstacle { at, what: Obstacle::File }),
                found => return Ok(found),
            }
        }
        Ok(Found::Nothing)
    }

    fn look_once(&self, path: &RelativePath) -> Result<Found, Errno> {
        let node = match self.reach(path, OFlags::PATH | OFlags::CLOEXEC) {
            Ok(node) => node,
            Err(error) if is_absent(error) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&node)?;
        Ok(match (Obstacle::of(&stat), FileType::from_raw_mode(stat.st_mode)) {
            (Some(what), _) => Found::Obstacle { at: path.clone(), what },
            (None, FileType::Directory) => Found::Folder,
            (None, _) => Found::File(FoundFile::from(&stat)),
        })
    }

    /// The bytes of an ordinary file, `limit` of them at most; `None` where nothing stands or it is larger.
    pub fn read(&self, path: &RelativePath, limit: u64) -> Result<Option<Vec<u8>>, FilesError> {
        let place = self.place(path);
        // A pipe that is swapped in would block an open without O_NONBLOCK.
        let node = match self.reach(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC) {
            Ok(node) => node,
            Err(error) if is_absent(error) => return Ok(None),
            Err(error) => return Err(error).attempt("read", &place),
        };
        let stat = rustix::fs::fstat(&node).attempt("read", &place)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL).attempt("read what is no ordinary file at", &place);
        }
        let mut bytes = Vec::new();
        File::from(node).take(limit.saturating_add(1)).read_to_end(&mut bytes).attempt("read", &place)?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }
}

impl Obstacle {
    /// What is seen here, if it is neither a folder nor an ordinary file with one name.
    pub(crate) fn of(stat: &Stat) -> Option<Self> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => None,
            FileType::RegularFile => (stat.st_nlink > 1).then_some(Self::HardLink),
            FileType::Symlink => Some(Self::SymbolicLink),
            _ => Some(Self::Special),
        }
    }
}

/// With its article: `a symbolic link`.
impl Obstacle {
    /// What it is, with its article.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SymbolicLink => "a symbolic link",
            Self::HardLink => "a file with a second name (hard link)",
            Self::File => "a file where a folder has to be",
            Self::Special => "a device, a pipe or a socket",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&Stat> for FoundFile {
    fn from(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
            mode: stat.st_mode & 0o7777,
        }
    }
}
