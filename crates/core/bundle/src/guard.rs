//! Changes that are more likely a slip than a wish: what a half-read template folder or an empty setting makes of a
//! machine's files. They wait for the admin's or the operator's word.

use std::collections::BTreeMap;
use std::fmt;

use pconf_names::RelativePath;

/// A smaller file may grow as it likes.
const SMALL: u64 = 1024;
/// So many of a suspicion's files are named.
const NAMED: usize = 5;

/// A change that needs to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspicion {
    /// A file that held something is to hold nothing.
    Emptied {
        /// The file.
        path: RelativePath,
    },
    /// A file is to be more than twice as long.
    Grown {
        /// The file.
        path: RelativePath,
        /// Its length, in bytes.
        from: u64,
        /// Its length afterwards, in bytes.
        to: u64,
    },
    /// More than a third of the files, and no less than two, are to go.
    Lost {
        /// Which, sorted.
        lost: Vec<RelativePath>,
        /// How many there were.
        of: usize,
    },
}

/// What is suspicious about going from one set of files to another, each with its length in bytes: the loss first, then
/// file by file. Nothing is suspicious where nothing was before.
#[must_use]
pub fn suspicions(before: &BTreeMap<RelativePath, u64>, after: &BTreeMap<RelativePath, u64>) -> Vec<Suspicion> {
    let lost: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
    let is_large_loss = lost.len() >= 2 && lost.len() * 3 > before.len();
    let large_loss = is_large_loss.then_some(Suspicion::Lost { lost, of: before.len() });
    let changes = after.iter().filter_map(|(path, &to)| match before.get(path) {
        Some(&from) if from > 0 && to == 0 => Some(Suspicion::Emptied { path: path.clone() }),
        // A file that was empty, such as a list before its first entry, may hold anything.
        Some(&from) if from > 0 && to > SMALL && to > from.saturating_mul(2) => {
            Some(Suspicion::Grown { path: path.clone(), from, to })
        }
        _ => None,
    });
    large_loss.into_iter().chain(changes).collect()
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emptied { path } => write!(f, "`{path}` becomes empty"),
            Self::Grown { path, from, to } => write!(f, "`{path}` grows from {from} to {to} bytes"),
            Self::Lost { lost, of } => {
                write!(f, "{} of {of} files go: ", lost.len())?;
                for (index, path) in lost.iter().take(NAMED).enumerate() {
                    write!(f, "{}`{path}`", if index == 0 { "" } else { ", " })?;
                }
                match lost.len().checked_sub(NAMED) {
                    Some(0) | None => Ok(()),
                    Some(more) => write!(f, " and {more} more"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files = BTreeMap<RelativePath, u64>;

    fn files<'a>(files: impl IntoIterator<Item = (&'a str, u64)>) -> Result<Files, Box<dyn std::error::Error>> {
        files.into_iter().map(|(path, bytes)| Ok((path.parse()?, bytes))).collect()
    }

    fn told(before: &[(&str, u64)], after: &[(&str, u64)]) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let found = suspicions(&files(before.iter().copied())?, &files(after.iter().copied())?);
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_looks_like_a_slip_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let before =
            [("core.yml", 900), ("dns.json", 600), ("empty", 0), ("mail.json", 10), ("x", 1), ("y", 1), ("z", 1)];
        let after = [("core.yml", 0), ("dns.json", 1201), ("empty", 5000), ("mail.json", 1024)];
        assert_eq!(
            told(&before, &after)?,
            ["3 of 7 files go: `x`, `y`, `z`", "`core.yml` becomes empty", "`dns.json` grows from 600 to 1201 bytes",]
        );
        Ok(())
    }

    #[test]
    fn what_happens_every_day_is_not() -> Result<(), Box<dyn std::error::Error>> {
        let none: [&str; 0] = [];
        // The first files of a machine, the same ones, twice as long and no more, a third of them, a single one.
        assert_eq!(told(&[], &[("a", 9000)])?, none);
        assert_eq!(told(&[("a", 9000)], &[("a", 9000), ("b", 70_000)])?, none);
        assert_eq!(told(&[("a", 1000)], &[("a", 2000)])?, none);
        assert_eq!(
            told(
                &[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1)],
                &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]
            )?,
            none
        );
        assert_eq!(told(&[("a", 1), ("b", 1)], &[("a", 1)])?, none);
        Ok(())
    }

    #[test]
    fn a_long_list_is_cut() -> Result<(), Box<dyn std::error::Error>> {
        let before = ["a", "b", "c", "d", "e", "f", "g"].map(|path| (path, 1));
        assert_eq!(told(&before, &[])?, ["7 of 7 files go: `a`, `b`, `c`, `d`, `e` and 2 more"]);
        Ok(())
    }
}
