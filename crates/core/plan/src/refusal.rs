//! Why a bundle is not taken. Nothing was touched; each reason says the way out.

use std::borrow::Cow;
use std::fmt;

use pconf_bundle::Suspicion;
use pconf_names::{RelativePath, RevisionId};
use serde::{Deserialize, Serialize};

/// A bundle that is not taken, as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is older than what this machine has.
    #[error(
        "the leader offers revision {offered} and this machine has {known} already: the leader may have been restored from a \
         backup; if it was, run `config-leader epoch bump` there; until then this machine stays as it is"
    )]
    Older {
        /// What was offered.
        offered: RevisionId,
        /// What was seen before.
        known: RevisionId,
    },
    /// Its number was used for something else.
    #[error(
        "the leader's revision {0} is not the revision {0} that this machine has seen: the leader may have been restored from a \
         backup and have published since; if it was, run `config-leader epoch bump` there; until then this machine stays as it is"
    )]
    OtherContent(RevisionId),
    /// It says two things about one path.
    #[error("the bundle has `{0}` twice, or as a file and as a folder: this is a fault of the leader, upgrade it")]
    Contradiction(RelativePath),
    /// It changes so much that somebody has to say that this is meant.
    #[error(
        "revision {revision} looks like a slip: {}; if it is meant, run `config-leader accept {revision}`, or on this \
             machine `config-follower once --accept`; nothing was touched",
        said(found)
    )]
    Suspicious {
        /// Which.
        revision: RevisionId,
        /// What looks like one.
        found: Vec<Suspicion>,
    },
    /// This machine does not let its leader do that.
    #[error(
        "revision {revision} wants what `limits` in config-follower.json does not allow here: {}; nothing was touched",
        wanted.join("; ")
    )]
    Forbidden {
        /// Which.
        revision: RevisionId,
        /// Everything that it wants and must not have.
        wanted: Vec<String>,
    },
    /// Something else stands where files have to be.
    #[error("{}", list(.0))]
    Obstructed(Vec<InTheWay>),
}

/// Something that stands where a file or folder of the bundle has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// The path that the bundle wants.
    pub wanted: RelativePath,
    /// What stands there or on the way there.
    pub obstacle: Obstacle,
}

/// What stands at a path and is not replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obstacle {
    /// Where it stands.
    pub at: RelativePath,
    /// What it is, with its article: `a symbolic link`.
    pub what: Cow<'static, str>,
}

fn said(all: &[Suspicion]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn list(all: &[InTheWay]) -> String {
    // The same link is in the way of every file below it.
    let mut obstacles: Vec<&Obstacle> = all.iter().map(|each| &each.obstacle).collect();
    obstacles.sort_unstable();
    obstacles.dedup();
    let mut said: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    said.push(format!("move {} away; nothing was touched", if obstacles.len() == 1 { "it" } else { "them" }));
    said.join("; ")
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}", self.at, self.what)
    }
}
