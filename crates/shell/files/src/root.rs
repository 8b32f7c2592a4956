//! A folder by its descriptor, and the one way to a path below it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use pconf_names::RelativePath;
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::effect;
use crate::error::{Attempt as _, FilesError};

/// The folder below which everything happens. It stays the same folder when its path is renamed or replaced.
#[derive(Debug)]
pub struct Root {
    pub(crate) folder: OwnedFd,
    path: PathBuf,
}

pub(crate) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Root {
    /// Opens an existing folder. Symbolic links in `path` itself are the operator's choice and are followed.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let folder = effect::open(CWD, path, FOLDER).attempt("open the folder", path)?;
        Ok(Self { folder, path: path.to_owned() })
    }

    /// Opens a folder, making it (and the folders above it) with mode 0755 where it is missing.
    pub fn create(path: &Path) -> Result<Self, FilesError> {
        // Whatever the umask of this process: containers of other users have to get through.
        make_folders(path, 0o755)?;
        Self::open(path)
    }

    /// Where the root was found when it was opened; for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole path of something below the root; for messages.
    pub(crate) fn place(&self, path: &RelativePath) -> PathBuf {
        self.path.join(path.as_str())
    }

    /// Opens a path below the root; a symbolic link anywhere in it is `ELOOP`, or `ENOTDIR` when walking.
    pub(crate) fn reach(&self, path: &RelativePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        match effect::enter(&self.folder, path.as_str(), flags, ResolveFlags::empty()) {
            // Linux before 5.6 does not know the call; seccomp filters of that time answer either.
            Err(Errno::NOSYS | Errno::PERM) => self.walk(path, flags),
            answer => answer,
        }
    }

    /// The same, one segment at a time.
    fn walk(&self, path: &RelativePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = match path.parent() {
            Some(parent) => Some(self.walk(&parent, step)?),
            None => None,
        };
        let parent = parent.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
        effect::open(parent, path.file_name(), flags | OFlags::NOFOLLOW)
    }

    /// The folder that holds `path`, readable so that it can be synced.
    pub(crate) fn folder_of(&self, path: &RelativePath) -> Result<Holder<'_>, Errno> {
        match path.parent() {
            Some(parent) => self.reach(&parent, FOLDER).map(Holder::Below),
            None => Ok(Holder::Root(self.folder.as_fd())),
        }
    }
}

/// The folder that holds a path: the root or one below it.
#[derive(Debug)]
pub(crate) enum Holder<'root> {
    Root(BorrowedFd<'root>),
    Below(OwnedFd),
}

impl AsFd for Holder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(folder) => folder.as_fd(),
            Self::Below(folder) => folder.as_fd(),
        }
    }
}

/// Makes the folder at `path` and those above it that are missing, each with exactly this mode.
pub(crate) fn make_folders(path: &Path, mode: u32) -> Result<(), FilesError> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        match effect::make_folder(CWD, folder, mode) {
            // Made by somebody else in between: theirs to own.
            Err(Errno::EXIST) => continue,
            outcome => outcome.attempt("make the folder", folder)?,
        }
        effect::open(CWD, folder, FOLDER | OFlags::NOFOLLOW)
            .and_then(|opened| effect::set_mode(&opened, &folder.to_string_lossy(), mode))
            .attempt("set the mode of", folder)?;
    }
    Ok(())
}

/// Whether an error says that nothing is there.
pub(crate) fn is_absent(error: Errno) -> bool {
    io::Error::from(error).kind() == io::ErrorKind::NotFound
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_a_path_refuse_symbolic_links_anywhere_in_it() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir_all(folder.path().join("real/deep"))?;
        std::fs::write(folder.path().join("real/deep/file"), "text")?;
        std::os::unix::fs::symlink("real", folder.path().join("folder-link"))?;
        std::os::unix::fs::symlink("real/deep/file", folder.path().join("file-link"))?;
        std::os::unix::fs::symlink("/etc", folder.path().join("outside"))?;
        let root = Root::open(folder.path())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        assert!(root.reach(&"real/deep/file".parse()?, flags).is_ok());
        assert!(root.walk(&"real/deep/file".parse()?, flags).is_ok());
        for link in ["folder-link/deep/file", "folder-link/deep", "file-link", "outside/passwd", "outside"] {
            assert_eq!(root.reach(&link.parse()?, flags).err(), Some(Errno::LOOP), "{link}");
            let walked = root.walk(&link.parse()?, flags).err();
            assert!(matches!(walked, Some(Errno::LOOP | Errno::NOTDIR)), "{link}: {walked:?}");
        }
        Ok(())
    }
}
