//! A private file that only grows.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::effect;
use crate::error::{Attempt as _, FilesError};
use crate::state::make_private;

/// A private file (0600) of lines that only grows, held alone while it is open; a crash releases it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: OwnedFd,
    /// Without half a line that a crash left.
    length: u64,
}

/// The longest line, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

impl Journal {
    /// Waits for the file, which is made where it is missing.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_private(folder)?;
        }
        let file = effect::open_or_create(path).attempt("open", path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).attempt("lock", path)?;
        let stat = rustix::fs::fstat(&file).attempt("look at", path)?;
        if stat.st_mode & 0o077 != 0 {
            return Err(FilesError::Exposed { path: path.to_owned(), mode: stat.st_mode & 0o777 });
        }
        let mut journal = Self { path: path.to_owned(), file, length: u64::try_from(stat.st_size).unwrap_or_default() };
        let end = journal.end()?;
        let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        journal.length -= (end.len() - whole) as u64;
        Ok(journal)
    }

    /// The last whole line, without its end.
    pub fn last(&self) -> Result<Option<String>, FilesError> {
        let end = self.end()?;
        let text = String::from_utf8_lossy(&end);
        Ok(text.lines().next_back().map(str::to_owned))
    }

    /// Adds a line, durably.
    pub fn append(&mut self, line: &str) -> Result<(), FilesError> {
        let name = self.path.to_string_lossy().into_owned();
        let bytes = format!("{line}\n").into_bytes();
        // Half a line of an earlier crash is cut off, so that no line is ever a mixture.
        effect::truncate(&self.file, &name, self.length)
            .and_then(|()| effect::write(&self.file, &name, &bytes, self.length))
            .and_then(|()| effect::sync(&self.file, &name))
            .attempt("write", &self.path)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The last bytes, which hold the last line.
    fn end(&self) -> Result<Vec<u8>, FilesError> {
        let from = self.length.saturating_sub(LONGEST_LINE);
        let mut bytes = vec![0; usize::try_from(self.length - from).unwrap_or_default()];
        let mut read = 0;
        while read < bytes.len() {
            match rustix::io::pread(&self.file, &mut bytes[read..], from + read as u64).attempt("read", &self.path)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test plays a crash")]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_whole_and_half_a_line_of_a_crash_is_gone() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let path = folder.path().join("journal");
        assert_eq!(Journal::open(&path)?.last()?, None);
        Journal::open(&path)?.append("one")?;
        std::fs::write(&path, "one\ntwo\nhal")?;
        let mut journal = Journal::open(&path)?;
        assert_eq!(journal.last()?.as_deref(), Some("two"));
        journal.append("three")?;
        journal.append("four")?;
        assert_eq!(journal.last()?.as_deref(), Some("four"));
        assert_eq!(std::fs::read_to_string(&path)?, "one\ntwo\nthree\nfour\n");
        Ok(())
    }
}
