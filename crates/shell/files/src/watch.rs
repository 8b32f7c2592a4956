//! Hints that a file was changed by somebody. They are hints only: what is true is looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use pconf_names::RelativePath;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::error::{Attempt as _, FilesError};

/// Enough for the longest name: a larger burst is read in several goes.
const BUFFER: usize = 4096;

/// Watches the folders of files, and hears of those files alone.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    /// The names that matter, by the system's number of their folder.
    names: BTreeMap<i32, BTreeSet<OsString>>,
}

impl Watch {
    /// Watches the folders of `files` below `root`. One that cannot be watched gives no hints.
    pub fn start<'a>(root: &Path, files: impl IntoIterator<Item = &'a RelativePath>) -> Result<Self, FilesError> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).attempt("watch", root)?;
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        let mut names: BTreeMap<i32, BTreeSet<OsString>> = BTreeMap::new();
        for path in files {
            let folder = path.parent().map_or_else(|| root.to_owned(), |parent| root.join(parent.as_str()));
            if let Ok(number) = inotify::add_watch(&inotify, &folder, what) {
                names.entry(number).or_default().insert(path.file_name().into());
            }
        }
        Ok(Self { inotify, names })
    }

    /// Takes all hints that have come; whether one of them is about a file that matters. Never waits.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        let mut matters = false;
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| std::ffi::OsStr::from_bytes(name.to_bytes()));
                    // Without a name it is about a folder of ours, or hints were lost.
                    matters |=
                        name.is_none_or(|name| self.names.get(&event.wd()).is_some_and(|names| names.contains(name)));
                }
                Err(Errno::INTR) => {}
                Err(_) => return matters,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_watched_file_is_heard_and_no_other() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let folder = root.path().join("core/conf");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("core.yml"), "one")?;
        let files: [RelativePath; 2] = ["core/conf/core.yml".parse()?, "missing/file".parse()?];
        let watch = Watch::start(root.path(), &files)?;
        assert!(!watch.has_heard());
        std::fs::write(folder.join("neighbour.log"), "noise")?;
        std::fs::read(folder.join("core.yml"))?;
        assert!(!watch.has_heard());
        std::fs::write(folder.join("core.yml"), "two")?;
        assert!(watch.has_heard());
        assert!(!watch.has_heard());
        std::fs::rename(folder.join("neighbour.log"), folder.join("core.yml"))?;
        assert!(watch.has_heard());
        std::fs::remove_dir_all(&folder)?;
        assert!(watch.has_heard());
        Ok(())
    }
}
