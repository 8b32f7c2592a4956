//! A path below some root that cannot leave it.

use std::fmt;
use std::str::FromStr;

/// A file's place below a machine's root, `/`-separated, e.g. `core/conf/core.yml`.
///
/// Never empty, never absolute; no segment is empty, `.`, `..`, longer than 255 bytes or holds a control character or a
/// backslash; 1 024 bytes at most in all. Ordering is by text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

/// The text is no path below a root; the fields are the text and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path below the root: {1}")]
pub struct InvalidPath(String, &'static str);

impl RelativePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments from the root down; at least one.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folder that holds this path, or `None` directly below the root.
    #[must_use]
    pub fn parent(&self) -> Option<RelativePath> {
        self.0.rsplit_once('/').map(|(parent, _)| RelativePath(parent.to_owned()))
    }

    /// This path as it is seen from `folder`; `None` where it does not lie below it.
    #[must_use]
    pub fn below(&self, folder: &RelativePath) -> Option<RelativePath> {
        self.0.strip_prefix(&folder.0)?.strip_prefix('/').map(|rest| RelativePath(rest.to_owned()))
    }

    /// Whether this path is `folder` or lies below it.
    #[must_use]
    pub fn is_within(&self, folder: &RelativePath) -> bool {
        self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for RelativePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(fault) => Err(InvalidPath(text.to_owned(), fault)),
        }
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 1024 {
        return Some("it is longer than 1024 bytes");
    }
    if text.starts_with('/') {
        return Some("it is absolute");
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Some("it holds a control character or a backslash");
    }
    text.split('/').find_map(|segment| match segment {
        "" => Some("it has an empty segment"),
        "." | ".." => Some("it has a `.` or `..` segment"),
        long if long.len() > 255 => Some("a segment is longer than 255 bytes"),
        _ => None,
    })
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::serde_as_text!(RelativePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_leave_its_root_cannot_exist() {
        let long = "a".repeat(256);
        let longer = "a/".repeat(600) + "a";
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "a\\b",
            &long,
            &longer,
        ] {
            assert!(bad.parse::<RelativePath>().is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "nginx/conf/site-443.conf", "a/...", ".hidden", "é.pug"] {
            assert!(good.parse::<RelativePath>().is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn within_compares_whole_segments() -> Result<(), InvalidPath> {
        let folder: RelativePath = "core/conf".parse()?;
        assert!("core/conf/core.yml".parse::<RelativePath>()?.is_within(&folder));
        assert!(folder.is_within(&folder));
        assert!(!"core/confidential".parse::<RelativePath>()?.is_within(&folder));
        Ok(())
    }
}
