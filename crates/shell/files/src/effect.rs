//! The one door through which this crate changes the disk.
//!
//! Each function here is one effect. Built with the feature `faults` (tests only), every effect of the process is counted
//! and can be made to fail, or to be the one before which the process dies; so a test that walks through the counts has
//! tried them all, also one that is written tomorrow. Without the feature they are the bare calls. `clippy.toml` bans
//! those everywhere else in this crate.
#![allow(clippy::disallowed_methods, reason = "this is the door")]

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use pconf_names::Owner;
use rustix::fs::{AtFlags, CWD, FallocateFlags, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::path::Arg;

#[cfg(feature = "faults")]
mod fault;

/// Counts an effect, and fails in its place where a test wants that.
#[cfg(feature = "faults")]
fn count(call: &str, on: &impl Arg) -> Result<(), Errno> {
    fault::strike(call, &on.to_string_lossy())
}

#[cfg(not(feature = "faults"))]
#[allow(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
fn count(_: &str, _: &impl Arg) -> Result<(), Errno> {
    Ok(())
}

/// Opens what is there. No effect: nothing is created or cut off.
pub(crate) fn open(folder: impl AsFd, path: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, path, flags.difference(OFlags::CREATE | OFlags::TRUNC), Mode::empty())
}

/// Opens what is there below `folder`, without following a link anywhere; `resolve` adds what else is refused. No effect.
pub(crate) fn enter(folder: impl AsFd, path: impl Arg, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    #[cfg(feature = "faults")]
    fault::refuse_openat2()?;
    let flags = flags.difference(OFlags::CREATE | OFlags::TRUNC) | OFlags::NOFOLLOW;
    let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve)
}

/// Makes a file that was not there, for its owner alone, to be written.
pub(crate) fn create_file(folder: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    count("create", &name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
}

/// Opens the file at `path`, made for its owner alone where it is missing.
pub(crate) fn open_or_create(path: &Path) -> Result<OwnedFd, Errno> {
    count("create", &path)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)
}

/// Makes a folder that was not there; the umask may take bits of `mode`.
pub(crate) fn make_folder(folder: impl AsFd, name: impl Arg + Copy, mode: u32) -> Result<(), Errno> {
    count("mkdir", &name)?;
    rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(mode))
}

/// Writes all of `bytes` from `offset` on. `name` is for the log of effects.
pub(crate) fn write(file: impl AsFd, name: &str, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    // In tests a writing is two effects, so that a program can end when half is written.
    let mut piece = if cfg!(feature = "faults") { bytes.len().div_ceil(2) } else { bytes.len() };
    while !bytes.is_empty() {
        count("write", &name)?;
        match rustix::io::pwrite(&file, &bytes[..piece.min(bytes.len())], offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
                piece = bytes.len();
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes sure that `length` bytes find room, without changing what a reader sees.
pub(crate) fn reserve(file: impl AsFd, name: &str, length: u64) -> Result<(), Errno> {
    count("fallocate", &name)?;
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        // A file system that cannot promise it.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        reserved => reserved,
    }
}

/// Cuts a file to `length` bytes.
pub(crate) fn truncate(file: impl AsFd, name: &str, length: u64) -> Result<(), Errno> {
    count("ftruncate", &name)?;
    rustix::fs::ftruncate(file, length)
}

/// Gives a file or folder to an owner.
pub(crate) fn give(node: impl AsFd, name: &str, owner: Owner) -> Result<(), Errno> {
    count("fchown", &name)?;
    rustix::fs::fchown(node, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

/// Sets the permission bits of a file or folder.
pub(crate) fn set_mode(node: impl AsFd, name: &str, mode: u32) -> Result<(), Errno> {
    count("fchmod", &name)?;
    rustix::fs::fchmod(node, Mode::from_raw_mode(mode))
}

/// Brings a file or folder to the disk.
pub(crate) fn sync(node: impl AsFd, name: &str) -> Result<(), Errno> {
    count("fsync", &name)?;
    rustix::fs::fsync(node)
}

/// Brings the names in a folder to the disk, that of `name` being new or gone.
pub(crate) fn sync_folder(folder: impl AsFd, name: &str) -> Result<(), Errno> {
    count("fsync-folder", &name)?;
    rustix::fs::fsync(folder)
}

/// Gives `from` the name `to` in the same folder.
pub(crate) fn rename(folder: impl AsFd, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
    count("rename", &to)?;
    rustix::fs::renameat_with(&folder, from, &folder, to, flags)
}

/// Takes away a name that is no folder's.
pub(crate) fn unlink(folder: impl AsFd, name: impl Arg + Copy) -> Result<(), Errno> {
    count("unlink", &name)?;
    rustix::fs::unlinkat(folder, name, AtFlags::empty())
}

/// Removes an empty folder.
pub(crate) fn remove_folder(folder: impl AsFd, name: impl Arg + Copy) -> Result<(), Errno> {
    count("rmdir", &name)?;
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}
