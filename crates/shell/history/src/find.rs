//! How people name a revision.

use std::fmt;
use std::str::FromStr;

use pconf_names::RevisionId;
use serde::{Deserialize, Serialize};

use crate::error::HistoryError;
use crate::read::Revision;
use crate::store::History;

/// How people name a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Named {
    /// `1.12`.
    Whole(RevisionId),
    /// `12`: the newest of that number, in whichever epoch.
    Number(u64),
    /// `-1`: so many before the newest, which is `-0`.
    Before(usize),
}

/// The text names no revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no revision: write `1.12`, `12`, or `-1` for the one before the newest")]
pub struct InvalidNamed(String);

impl FromStr for Named {
    type Err = InvalidNamed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let named = match text.strip_prefix('-') {
            Some(before) if is_number(before) => before.parse().ok().map(Self::Before),
            None if is_number(text) => text.parse().ok().map(Self::Number),
            _ => text.parse().ok().map(Self::Whole),
        };
        named.ok_or_else(|| InvalidNamed(text.to_owned()))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(id) => write!(f, "{id}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Before(before) => write!(f, "-{before}"),
        }
    }
}

impl From<Named> for String {
    fn from(named: Named) -> Self {
        named.to_string()
    }
}

impl TryFrom<String> for Named {
    type Error = InvalidNamed;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl History {
    /// The revision of that name.
    pub fn find(&self, named: Named) -> Result<Option<Revision>, HistoryError> {
        match named {
            Named::Whole(id) => self.revision(id),
            Named::Number(number) => {
                Ok(self.revisions(None)?.into_iter().find(|revision| revision.id.number == number))
            }
            Named::Before(before) => Ok(self.revisions(Some(before.saturating_add(1)))?.into_iter().nth(before)),
        }
    }
}
