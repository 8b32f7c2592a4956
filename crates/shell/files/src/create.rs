//! Making a private file that must never replace another.

use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::effect;
use crate::error::{Attempt as _, FilesError};
use crate::root::FOLDER;
use crate::state::make_private;
use crate::write::create;

/// Makes the file at `path` durably, with mode 0600, in a folder that is made with mode 0700 if missing; `false` where it
/// exists already, which is then left as it is. It appears whole or not at all.
pub fn create_state(path: &Path, bytes: &[u8]) -> Result<bool, FilesError> {
    create_with(path, bytes, 0o600)
}

/// As [`create_state`], with mode 0400: for what is made once and never changes.
pub fn create_read_only(path: &Path, bytes: &[u8]) -> Result<bool, FilesError> {
    create_with(path, bytes, 0o400)
}

/// As [`create_state`], with mode 0644: for what everybody may read.
pub fn create_readable(path: &Path, bytes: &[u8]) -> Result<bool, FilesError> {
    create_with(path, bytes, 0o644)
}

fn create_with(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, FilesError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_private(folder)?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::INVAL).attempt("make", path)?;
    let outcome = effect::open(CWD, folder, FOLDER).and_then(|folder| create(folder.as_fd(), name, bytes, mode));
    match outcome {
        Err(Errno::EXIST) => Ok(false),
        outcome => outcome.map(|()| true).attempt("make", path),
    }
}
