//! The leader, as a follower sees it: somebody who is asked for the goal and told the outcome.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{
    Code, KeyId, Keys, LONGEST_WAIT, OpenError, Origin, Report, VerifiedBundle, open_bundle, prefer_wait, routes,
    seal_report, seal_snapshot,
};
use pconf_names::{RevisionId, RoleName};
use pconf_plan::Snapshot;
use pconf_wire::{Answer, CallError, Client, Clock, Peer, Timeouts, Trust, TrustError, seal_nonce};
use tracing::info;

use crate::Config;
use crate::identity::{Identity, IdentityError};

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(20), whole: Duration::from_mins(1) };

/// How much later than it said it would answer a leader that lets us wait may do so.
const LATE: Duration = Duration::from_secs(20);

/// The longest time for which a leader is left alone because it asks for that.
const LONGEST_RESPITE: Duration = Duration::from_hours(1);

/// The most that is taken from a leader; a machine's configuration is some hundred kilobytes.
const LONGEST_BUNDLE: usize = 32 * 1024 * 1024;

/// The name in the state folder of the certificates that the leader says are to be trusted, in PEM form.
pub(crate) const AUTHORITIES: &str = "authorities.pem";

/// How long the key before is kept, in seconds: an hour more than a leader needs it.
const RETIRING: u64 = 25 * 60 * 60;

/// The leader of this machine's platform.
#[derive(Debug)]
pub struct Leader {
    client: Client,
    clock: Clock,
    origin: Origin,
    role: RoleName,
    identity: Arc<Identity>,
    /// The leader by each live key; each remembers how far our clocks are apart.
    peers: Mutex<Vec<Arc<Peer>>>,
    /// What the configuration wants trusted, instead of anything that the leader says.
    configured: Option<PathBuf>,
    /// What the leader has said is to be trusted; it may not be there.
    told: PathBuf,
    /// Whether it is ever asked to answer late.
    waits: bool,
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
    /// The key that it was asked with, and is sealed with.
    pub asked: KeyId,
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
        /// How long it wants to be left alone.
        respite: Option<Duration>,
    },
    /// The answer is signed but makes no sense.
    #[error("the leader answered {0}, which is not understood here: are both sides of one version?")]
    NotUnderstood(StatusCode),
    /// The bundle does not open.
    #[error("the leader's bundle cannot be opened")]
    Open(#[from] OpenError),
    /// The leader knows the next key, and that cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl PullError {
    /// How long the leader wants to be left alone, if it says so: nobody else is believed that.
    pub(crate) fn respite(&self) -> Option<Duration> {
        match self {
            Self::Refused { respite, .. } => *respite,
            Self::Call(_) | Self::NotUnderstood(_) | Self::Open(_) | Self::Identity(_) => None,
        }
    }
}

fn way_out(code: Code) -> &'static str {
    match code {
        Code::RoleForbidden => "; compare `role` in config-follower.json with this machine's role in platform.json",
        Code::KeyRevoked => "; this machine has to join again: `config-leader machine add` prints how",
        Code::Starting => "; it has published nothing yet: see `config-leader check`",
        _ => "",
    }
}

impl Leader {
    /// The leader that `config` names, asked by `identity`; nothing is asked yet.
    pub fn new(config: &Config, identity: Arc<Identity>) -> Result<Self, TrustError> {
        let (configured, told) = (config.authorities.clone(), config.state.join(AUTHORITIES));
        let clock = Clock::system();
        Ok(Self {
            client: client(&clock, configured.as_ref(), &told, config.waits)?,
            clock,
            origin: config.leader.clone(),
            role: config.role.clone(),
            identity,
            peers: Mutex::default(),
            configured,
            told,
            waits: config.waits,
        })
    }

    /// By whom it is asked.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// How far its clock is ahead of ours, in seconds, by its last signed answer.
    pub(crate) fn skew(&self) -> Option<i64> {
        self.peer(self.identity.ring().asking()).skew()
    }

    /// Trusts what the leader said last is to be trusted.
    pub(crate) fn trust_again(&mut self) -> Result<(), TrustError> {
        self.client = client(&self.clock, self.configured.as_ref(), &self.told, self.waits)?;
        Ok(())
    }

    /// Asks for the goal, unless it is still the one named `known`.
    pub async fn pull(&self, known: Option<&str>) -> Result<Pulled, PullError> {
        self.fetch(known, None).await
    }

    /// Waits up to `limit` for another goal than the one named `known`. Whoever drops this goes away, and the leader sees it.
    pub(crate) async fn news(&self, known: &str, limit: Duration) -> Result<Pulled, PullError> {
        self.fetch(Some(known), Some(limit)).await
    }

    async fn fetch(&self, known: Option<&str>, wait: Option<Duration>) -> Result<Pulled, PullError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(routes::SEALED_BUNDLE));
        if let Some(known) = known.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            headers.insert(IF_NONE_MATCH, known);
        }
        let path = routes::configuration(&self.role);
        if let Some(limit) = wait {
            headers.insert(routes::PREFER, prefer_wait(limit));
        }
        let whole = TIMEOUTS.whole + wait.unwrap_or_default();
        let asked = async |peer: &Peer| self.client.get_within(peer, &path, headers.clone(), whole).await;
        let (answer, keys) = self.ask(asked).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(Pulled::Unchanged),
            StatusCode::OK => {
                let revision: Option<RevisionId> =
                    answer.header(routes::CONF_REVISION).and_then(|revision| revision.parse().ok());
                let revision = revision.ok_or(PullError::NotUnderstood(answer.status))?;
                let bundle = open_bundle(&keys, &self.role, revision, &answer.body)?;
                Ok(Pulled::Goal(Box::new(Goal { bundle, sealed: answer.body, asked: keys.id().clone() })))
            }
            _ => Err(refused(&answer)),
        }
    }

    /// Tells the outcome of a cycle.
    pub async fn report(&self, report: &Report) -> Result<(), PullError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_REPORT));
        let told = async |peer: &Peer| {
            let sealed = Bytes::from(seal_report(peer.keys(), report, seal_nonce()?));
            self.client.post(peer, routes::REPORTS, headers.clone(), sealed).await
        };
        let (answer, _) = self.ask(told).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(&answer)) }
    }

    /// Tells what this machine decides by.
    pub async fn tell(&self, snapshot: &Snapshot) -> Result<(), PullError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_SNAPSHOT));
        let told = async |peer: &Peer| {
            let sealed = Bytes::from(seal_snapshot(peer.keys(), &snapshot.to_bytes(), seal_nonce()?));
            self.client.post(peer, routes::SNAPSHOTS, headers.clone(), sealed).await
        };
        let (answer, _) = self.ask(told).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(&answer)) }
    }

    /// Asks with the key to ask with; where nobody knows that one, once with the other live key. Whatever comes of that, the
    /// keys stay as they are: who can refuse one key unsigned must not choose the other.
    async fn ask(
        &self,
        question: impl AsyncFn(&Peer) -> Result<Answer, CallError>,
    ) -> Result<(Answer, Arc<Keys>), PullError> {
        let ring = self.identity.ring();
        let asked = question(&*self.peer(ring.asking())).await;
        let (answer, keys) = match (asked, ring.other()) {
            (Err(stranger @ CallError::Stranger { .. }), Some(other)) => {
                match question(&*self.peer(other)).await {
                    // What there is to say is said of the key that should be known.
                    Err(CallError::Stranger { .. }) => return Err(stranger.into()),
                    answer => (answer?, other),
                }
            }
            (answer, _) => (answer?, ring.asking()),
        };
        let is_revoked = answer.problem().is_some_and(|problem| problem.code == Code::KeyRevoked);
        let until = self.clock.now().wall.plus(RETIRING);
        if !is_revoked && self.identity.prove(keys.id(), until)? {
            info!(key = %keys.id(), "the leader knows the next key: it is the one in use from now on");
        }
        Ok((answer, Arc::clone(keys)))
    }

    fn peer(&self, keys: &Arc<Keys>) -> Arc<Peer> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = peers.iter().find(|peer| Arc::ptr_eq(peer.keys(), keys)) {
            return Arc::clone(known);
        }
        let ring = self.identity.ring();
        peers.retain(|peer| ring.live().any(|live| Arc::ptr_eq(live, peer.keys())));
        let peer = Arc::new(Peer::new(self.origin.clone(), Arc::clone(keys)));
        peers.push(Arc::clone(&peer));
        peer
    }
}

fn client(clock: &Clock, configured: Option<&PathBuf>, told: &Path, waits: bool) -> Result<Client, TrustError> {
    let authorities = configured.cloned().or_else(|| told.exists().then(|| told.to_owned()));
    let trust = authorities.map_or(Trust::System, Trust::File);
    let timeouts = if waits { Timeouts { read: LONGEST_WAIT + LATE, ..TIMEOUTS } } else { TIMEOUTS };
    Client::new(Direction::ToLeader, clock.clone(), timeouts, LONGEST_BUNDLE, trust)
}

fn refused(answer: &Answer) -> PullError {
    match answer.problem() {
        Some(problem) => {
            let seconds = answer.header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            let respite = seconds.map(|respite| respite.min(LONGEST_RESPITE));
            PullError::Refused { code: problem.code, detail: problem.detail, respite }
        }
        None => PullError::NotUnderstood(answer.status),
    }
}
