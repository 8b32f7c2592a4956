//! Joining: from the one line that the leader's admin passes on to an identity on the disk.
//!
//! The token in that line is good for one use, so nothing may depend on a single answer arriving: what is asked with is
//! durable before the first question, and the leader answers the same question with the same answer. Each step is durable
//! before the next; whoever is cut off asks again and ends at the same place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{
    Code, Enrolled, Enrolment, InvalidJoinString, JoinString, OpenError, Origin, UnixSeconds, open_enrolled, routes,
};
use pconf_daemon::{Chain, StateError, from_state, to_state};
use pconf_files::{FilesError, StateFolder, create_readable};
use pconf_names::{Digest, MachineName, RoleName};
use pconf_wire::{CallError, Client, Clock, Peer, RandomnessError, Timeouts, Trust, TrustError, random};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use crate::cli::Listen;
use crate::config::{ConfigFile, InvalidConfig, state_beside};
use crate::identity::{self, IDENTITY, IdentityError};
use crate::leader::AUTHORITIES;
use crate::ring::Ring;
use crate::store::{StoreError, seal_anew};

/// The name in the state folder of what is asked with.
const JOINING: &str = "joining.json";

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(20), whole: Duration::from_secs(30) };

/// An identity is some hundred bytes, and the authorities beside it some thousand.
const LONGEST_ANSWER: usize = 256 * 1024;

/// How long is waited for the leader, and for its admin.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where files go unless somebody says otherwise.
const ROOT: &str = "/srv/platform";

/// What the configuration is to say besides what the leader tells.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) root: Option<PathBuf>,
    pub(crate) listen: Option<Listen>,
    pub(crate) docker: Option<Engine>,
}

/// What there is of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Engine {
    /// There are only files.
    Nothing,
    /// Its socket.
    At(PathBuf),
}

impl Engine {
    fn socket(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::At(path) => Some(path),
        }
    }
}

/// A machine that has joined.
#[derive(Debug, Serialize)]
pub(crate) struct Joined {
    pub(crate) machine: MachineName,
    pub(crate) role: RoleName,
    /// The leader that its configuration names.
    pub(crate) leader: String,
    /// Where the files go.
    pub(crate) root: PathBuf,
    pub(crate) config: PathBuf,
}

/// A machine has not joined. What it was before, it still is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// The line is none.
    #[error(transparent)]
    String(#[from] InvalidJoinString),
    /// The configuration that is there cannot be used.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The identity that is there cannot be used, or is another machine's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is another machine's configuration.
    #[error(
        "`{}` is the configuration of `{found}` ({of}), and the line invites `{invited}` ({as_what}): run the line on that \
         machine, or name another place with `--config`", path.display()
    )]
    OtherMachine { path: PathBuf, found: MachineName, of: RoleName, invited: MachineName, as_what: RoleName },
    /// The options are for a new one.
    #[error("`{}` is there already and stays as it is: change it by hand instead of giving options", .0.display())]
    Configured(PathBuf),
    /// The disk's fault, or somebody else works in the state folder.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// What was kept of an earlier attempt cannot be used.
    #[error("cannot use `{}`: remove it, and take a new line: `config-leader machine add` prints one", .0.display())]
    Damaged(PathBuf),
    /// It cannot be said as JSON.
    #[error("cannot write `{}`", .0.display())]
    Unwritable(PathBuf, #[source] serde_json::Error),
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The kept bundles cannot be sealed with the new key.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The leader does not know the token.
    #[error(
        "`{leader}` does not know this line: it was used already, it ended (it was good until {until}), a newer one took its \
         place, or `{machine}` was removed; `config-leader machine add` prints a new one"
    )]
    Unknown { leader: Origin, machine: MachineName, until: String },
    /// Somebody was faster.
    #[error(
        "this line was used already, and not by this machine's present attempt: if nobody of yours has used it, run \
         `config-leader machine revoke {machine}`; `config-leader machine add` prints a new one"
    )]
    Spent { machine: MachineName },
    /// It refuses.
    #[error("`{leader}` refuses: {why}; `config-leader machine add` prints a new line")]
    Refused { leader: Origin, why: String },
    /// The answer does not open.
    #[error("the answer of the leader cannot be opened")]
    Open(#[from] OpenError),
    /// What the leader told makes no sense.
    #[error("the leader tells `{0}` for an origin, which is none: upgrade it")]
    Origin(String),
    /// No answer to believe.
    #[error("no word from the leader")]
    Call(#[from] CallError),
    /// It takes too long.
    #[error("{why}, for two minutes now; nothing is lost: the same line goes on from here, until {until}")]
    GivenUp { why: String, until: String },
}

/// What is asked with, until the answer is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Joining {
    /// Of which line.
    line: Digest,
    enrolment: Enrolment,
    /// The secret half of the ephemeral key.
    secret: [u8; 32],
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Has this machine join with `line`, and its configuration at `config`. `tell` is told what is waited for.
pub(crate) async fn join(line: &str, config: &Path, wanted: Wanted, tell: impl Fn(&str)) -> Result<Joined, JoinError> {
    let invitation: JoinString = line.parse()?;
    let configured = known_configuration(config, &invitation, &wanted)?;
    let state = configured.as_ref().map_or_else(|| state_beside(config), |file| file.state(config));
    let folder = StateFolder::open(&state)?;
    let before = match identity::read(&folder.file(IDENTITY), &invitation.machine) {
        Err(IdentityError::Missing(_)) => None,
        read => Some(read?),
    };
    let kept = kept(&folder, line)?;
    let is_resumed = kept.is_some();
    let is_done = |ring: &Ring| ring.asking().id().version > invitation.version;
    if !(is_resumed && configured.is_some() && before.as_ref().is_some_and(is_done)) {
        let joining = kept.map_or_else(|| begin(&folder, line), Ok)?;
        let enrolled = enrol(&invitation, &joining, tell).await?;
        keep(&folder, config, &invitation, before.as_ref(), &enrolled, wanted)?;
    }
    folder.remove(JOINING)?;
    let file = ConfigFile::read(config)?;
    let (leader, root) = (file.leader, file.root);
    Ok(Joined { machine: file.machine, role: file.role, leader, root, config: config.to_owned() })
}

/// The configuration that is there already, if it is of whom the line invites.
fn known_configuration(
    config: &Path,
    invitation: &JoinString,
    wanted: &Wanted,
) -> Result<Option<ConfigFile>, JoinError> {
    let file = match ConfigFile::read(config) {
        Err(InvalidConfig::Missing(_)) => return Ok(None),
        read => read?,
    };
    if file.machine != invitation.machine || file.role != invitation.role {
        return Err(JoinError::OtherMachine {
            path: config.to_owned(),
            found: file.machine,
            of: file.role,
            invited: invitation.machine.clone(),
            as_what: invitation.role.clone(),
        });
    }
    if let Wanted { root: None, listen: None, docker: None } = wanted {
        return Ok(Some(file));
    }
    // What a crash left between the configuration and the identity says just that.
    let is_as_wanted = wanted.root.as_ref().is_none_or(|root| absolute(root) == file.root)
        && wanted.listen.is_none_or(|listen| listen.0 == file.listen)
        && wanted.docker.as_ref().is_none_or(|docker| docker.socket() == file.docker.as_deref());
    if is_as_wanted { Ok(Some(file)) } else { Err(JoinError::Configured(config.to_owned())) }
}

/// What an earlier attempt with the same line asked with.
fn kept(folder: &StateFolder, line: &str) -> Result<Option<Joining>, JoinError> {
    let Some(bytes) = folder.read(JOINING)?.map(Zeroizing::new) else { return Ok(None) };
    let joining: Joining = from_state(&bytes).map_err(|_: StateError| JoinError::Damaged(folder.file(JOINING)))?;
    Ok(Some(joining).filter(|joining| joining.line == digest(line)))
}

fn begin(folder: &StateFolder, line: &str) -> Result<Joining, JoinError> {
    let secret = Zeroizing::new(random()?);
    let joining = Joining { line: digest(line), enrolment: Enrolment::new(random()?, &secret), secret: *secret };
    let bytes = to_state(&joining).map_err(|error| JoinError::Unwritable(folder.file(JOINING), error))?;
    folder.write(JOINING, &Zeroizing::new(bytes))?;
    Ok(joining)
}

/// A line holds 32 random bytes: its digest tells nobody anything.
fn digest(line: &str) -> Digest {
    Digest::of(line.trim().as_bytes())
}

/// Asks until there is an answer.
async fn enrol(invitation: &JoinString, joining: &Joining, tell: impl Fn(&str)) -> Result<Enrolled, JoinError> {
    let trust = invitation.pin.map_or(Trust::System, Trust::Pinned);
    let client = Client::new(Direction::ToLeader, Clock::system(), TIMEOUTS, LONGEST_ANSWER, trust)?;
    let keys = Arc::new(invitation.keys());
    let peer = Peer::new(invitation.leader.clone(), Arc::clone(&keys));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = serde_json::to_vec(&joining.enrolment).map_err(|error| JoinError::Unwritable(JOINING.into(), error))?;
    let body = Bytes::from(body);
    let (leader, machine) = (invitation.leader.clone(), invitation.machine.clone());
    let (begun, mut pause) = (Instant::now(), Duration::from_secs(1));
    let mut told = String::new();
    loop {
        let why = match client.post(&peer, routes::ENROLL, headers.clone(), body.clone()).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                return Ok(open_enrolled(&keys, &joining.enrolment, &joining.secret, &answer.body)?);
            }
            Ok(answer) => match answer.problem().map(|problem| (problem.code, problem.detail)) {
                Some((Code::ApprovalPending, _)) => {
                    pause = Duration::from_secs(2);
                    format!("waiting for approval: `config-leader machine approve {machine}`")
                }
                Some((code @ (Code::Overloaded | Code::Starting | Code::Internal), detail)) => {
                    format!("`{leader}` cannot answer yet: {}", detail.unwrap_or_else(|| format!("{code:?}")))
                }
                Some((Code::EnrolmentSpent, _)) => return Err(JoinError::Spent { machine }),
                Some((Code::KeyRevoked, _)) => {
                    return Err(JoinError::Refused { leader, why: "this line was revoked".to_owned() });
                }
                Some((code, detail)) => {
                    return Err(JoinError::Refused { leader, why: detail.unwrap_or_else(|| format!("{code:?}")) });
                }
                None => return Err(JoinError::Refused { leader, why: format!("it answers {}", answer.status) }),
            },
            Err(CallError::Stranger { .. }) => {
                return Err(JoinError::Unknown { leader, machine, until: date(invitation.expires) });
            }
            // Somebody else answers there, or nobody yet.
            Err(
                fault @ (CallError::Unreachable { .. }
                | CallError::Unsigned { .. }
                | CallError::Interrupted { .. }
                | CallError::TimedOut { .. }),
            ) => Chain(&fault).to_string(),
            Err(fault) => return Err(fault.into()),
        };
        if begun.elapsed() + pause > PATIENCE {
            return Err(JoinError::GivenUp { why, until: date(invitation.expires) });
        }
        if why != told {
            tell(&why);
            told = why;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

/// Keeps what the leader has told, each part durable before the next; the identity is the last.
fn keep(
    folder: &StateFolder,
    config: &Path,
    invitation: &JoinString,
    before: Option<&Ring>,
    enrolled: &Enrolled,
    wanted: Wanted,
) -> Result<(), JoinError> {
    match &enrolled.authorities {
        Some(pem) => folder.write(AUTHORITIES, pem.as_bytes())?,
        None => drop(folder.remove(AUTHORITIES)?),
    }
    write_configuration(config, invitation, enrolled, wanted)?;
    let ring = Ring::new(&invitation.machine, enrolled.version, enrolled.key.clone());
    // A machine that joins once more can still go back to what ran before.
    for gone in before.iter().flat_map(|before| before.live()) {
        seal_anew(folder, &invitation.role, gone, ring.asking())?;
    }
    Ok(identity::write(folder, &ring)?)
}

/// Writes the configuration where none is.
fn write_configuration(
    config: &Path,
    invitation: &JoinString,
    enrolled: &Enrolled,
    wanted: Wanted,
) -> Result<(), JoinError> {
    for origin in enrolled.urls.iter().chain(&enrolled.leader) {
        let _: Origin = origin.parse().map_err(|_| JoinError::Origin(origin.clone()))?;
    }
    let root = wanted.root.map(|root| absolute(&root)).or_else(|| enrolled.root.as_ref().map(PathBuf::from));
    let mut said = json!({
        "leader": enrolled.leader.clone().unwrap_or_else(|| invitation.leader.to_string()),
        "machine": invitation.machine,
        "role": invitation.role,
        "root": root.unwrap_or_else(|| ROOT.into()),
    });
    if let Some(listen) = wanted.listen {
        said["listen"] = json!(listen.0);
    }
    if !enrolled.urls.is_empty() {
        said["urls"] = json!(enrolled.urls);
    }
    if let Some(docker) = wanted.docker {
        said["docker"] = json!(docker.socket());
    }
    create_readable(config, format!("{said:#}\n").as_bytes())?;
    Ok(())
}

/// The meaning of a relative path must not depend on where the follower is started.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn date(at: UnixSeconds) -> String {
    use time::format_description::well_known::Rfc3339;
    let at = i64::try_from(at.0).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| "the end of time".to_owned())
}
