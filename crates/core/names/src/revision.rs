//! The number of a published state.

use std::fmt;
use std::str::FromStr;

/// Which published state of the platform: `<epoch>.<number>`, e.g. `1.42`; the wire's `conf-revision`.
///
/// Ordered by epoch, then number. The number grows by one with each publish; the epoch grows only when an operator
/// restores a leader from a backup and says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionId {
    /// The life of the leader's history; starts at 1.
    pub epoch: u32,
    /// The number within the epoch; starts at 1.
    pub number: u64,
}

/// The text is no revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a revision: it is written `<epoch>.<number>`, e.g. `1.42`")]
pub struct InvalidRevision(String);

impl FromStr for RevisionId {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text
            .split_once('.')
            .and_then(|(epoch, number)| Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? }))
            // One revision has one spelling: no sign, no leading zero.
            .filter(|id| id.to_string() == text);
        id.ok_or_else(|| InvalidRevision(text.to_owned()))
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

crate::serde_as_text!(RevisionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_has_one_spelling() {
        assert_eq!("1.42".parse(), Ok(RevisionId { epoch: 1, number: 42 }));
        for bad in ["42", "1.042", "+1.2", "1.", ".1", "1.2.3", "1.-2"] {
            assert_eq!(bad.parse::<RevisionId>(), Err(InvalidRevision(bad.to_owned())));
        }
    }

    #[test]
    fn a_later_epoch_is_newer_than_any_number() {
        assert!(RevisionId { epoch: 2, number: 1 } > RevisionId { epoch: 1, number: 99 });
    }
}
