//! The leader, as a follower sees it: somebody who is asked for the goal and told the outcome.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{Code, OpenError, Report, VerifiedBundle, open_bundle, routes, seal_report};
use pconf_names::{RevisionId, RoleName};
use pconf_wire::{Answer, CallError, Client, Clock, Peer, RandomnessError, Timeouts, Trust, TrustError, seal_nonce};

use crate::Config;

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(20), whole: Duration::from_mins(1) };

/// The most that is taken from a leader; a machine's configuration is some hundred kilobytes.
const LONGEST_BUNDLE: usize = 32 * 1024 * 1024;

/// The leader of this machine's platform.
#[derive(Debug)]
pub struct Leader {
    client: Client,
    peer: Peer,
    role: RoleName,
}

/// What the leader has for us.
#[derive(Debug)]
pub enum Pulled {
    /// What we have already.
    Unchanged,
    /// A goal.
    Goal(Box<Goal>),
}

/// What the leader wants of this machine.
#[derive(Debug)]
pub struct Goal {
    /// What it says.
    pub bundle: VerifiedBundle,
    /// As it travelled.
    pub sealed: Bytes,
}

/// There is no goal to be had, or the outcome could not be told.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No answer to believe.
    #[error("no word from the leader")]
    Call(#[from] CallError),
    /// The leader has nothing for us.
    #[error("the leader refuses: {}{}", detail.as_deref().unwrap_or("it does not say why"), way_out(*code))]
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        detail: Option<String>,
    },
    /// The answer is signed but makes no sense.
    #[error("the leader answered {0}, which is not understood here: are both sides of one version?")]
    NotUnderstood(StatusCode),
    /// The bundle does not open.
    #[error("the leader's bundle cannot be opened")]
    Open(#[from] OpenError),
    /// Nothing can be sealed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}

fn way_out(code: Code) -> &'static str {
    match code {
        Code::RoleForbidden => "; compare `role` in config-follower.json with this machine's role in platform.json",
        Code::KeyRevoked => "; add the machine to platform.json, or give it a new key: `config-leader machine add`",
        Code::Starting => "; it has published nothing yet: see `config-leader check`",
        _ => "",
    }
}

impl Leader {
    /// The leader that `config` names; nothing is asked yet.
    pub fn new(config: &Config) -> Result<Self, TrustError> {
        let trust = config.authorities.clone().map_or(Trust::System, Trust::File);
        let client = Client::new(Direction::ToLeader, Clock::system(), TIMEOUTS, LONGEST_BUNDLE, trust)?;
        let peer = Peer::new(config.leader.clone(), Arc::clone(&config.keys));
        Ok(Self { client, peer, role: config.role.clone() })
    }

    /// Asks for the goal, unless it is still the one named `known`.
    pub async fn pull(&self, known: Option<&str>) -> Result<Pulled, PullError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(routes::SEALED_BUNDLE));
        if let Some(known) = known.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            headers.insert(IF_NONE_MATCH, known);
        }
        let answer = self.client.get(&self.peer, &routes::configuration(&self.role), headers).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(Pulled::Unchanged),
            StatusCode::OK => {
                let revision: Option<RevisionId> =
                    answer.header(routes::CONF_REVISION).and_then(|revision| revision.parse().ok());
                let revision = revision.ok_or(PullError::NotUnderstood(answer.status))?;
                let bundle = open_bundle(self.peer.keys(), &self.role, revision, &answer.body)?;
                Ok(Pulled::Goal(Box::new(Goal { bundle, sealed: answer.body })))
            }
            _ => Err(refused(&answer)),
        }
    }

    /// Tells the outcome of a cycle.
    pub async fn report(&self, report: &Report) -> Result<(), PullError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_REPORT));
        let sealed = Bytes::from(seal_report(self.peer.keys(), report, seal_nonce()?));
        let answer = self.client.post(&self.peer, routes::REPORTS, headers, sealed).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(&answer)) }
    }
}

fn refused(answer: &Answer) -> PullError {
    match answer.problem() {
        Some(problem) => PullError::Refused { code: problem.code, detail: problem.detail },
        None => PullError::NotUnderstood(answer.status),
    }
}
