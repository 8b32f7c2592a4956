//! A folder as it is: every path with bytes, owner and mode, to be compared as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Result;

/// One path.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// `None` for a folder; a link holds the text of its target.
    pub content: Option<Vec<u8>>,
    /// `user:group`.
    pub owner: String,
    /// Type and permission bits.
    pub mode: u32,
    /// Changes when a file is replaced.
    pub inode: u64,
    /// Nanoseconds since the epoch.
    pub changed: i128,
}

/// Everything below a folder, by relative path.
pub type Tree = BTreeMap<String, Entry>;

impl Entry {
    /// The content as text, empty for a folder.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.content.as_deref().unwrap_or_default()).into_owned()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:o} {} {:?}", self.mode, self.owner, self.text())
    }
}

/// Reads everything below `folder`; links are not followed.
pub fn read(folder: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    read_below(folder, "", &mut tree)?;
    Ok(tree)
}

fn read_below(folder: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().display());
        let metadata = fs::symlink_metadata(&path)?;
        let content = if metadata.is_dir() {
            read_below(&path, &format!("{name}/"), tree)?;
            None
        } else if metadata.is_symlink() {
            Some(fs::read_link(&path)?.display().to_string().into_bytes())
        } else if metadata.is_file() {
            Some(fs::read(&path)?)
        } else {
            // A socket or a pipe has nothing to read.
            Some(Vec::new())
        };
        tree.insert(
            name,
            Entry {
                content,
                owner: format!("{}:{}", metadata.uid(), metadata.gid()),
                mode: metadata.mode(),
                inode: metadata.ino(),
                changed: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
            },
        );
    }
    Ok(())
}
