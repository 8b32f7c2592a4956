//! `POST /enroll`: whoever holds a string for `join` gets the machine's key, once.
//!
//! What is handed out is on the disk before it is answered. The same guest gets the same key as often as it asks, so that an
//! answer that is lost costs nothing; anybody else who comes with the same string is an alarm.

use std::net::IpAddr;

use http::HeaderValue;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pconf_bundle::{Code, Enrolled, Enrolment, Problem, routes, seal_enrolled};
use pconf_daemon::Chain;
use pconf_wire::{Payload, RandomnessError, Received, Reply, enrolment_key, random, reply, seal_nonce};
use tracing::{info, warn};

use crate::audit::{self, Change};
use crate::folder::Folder;
use crate::keys::{Admission, Guest, KeyStore};
use crate::orders::Actor;

/// What a new follower is told beside its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// The certificate authority (PEM) to trust.
    pub(crate) authorities: Option<String>,
    /// Where its files go.
    pub(crate) root: Option<String>,
    /// By which origins the leader reaches it.
    pub(crate) urls: Vec<String>,
}

/// Why nobody is enrolled.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    #[error(transparent)]
    Keeping(anyhow::Error),
    #[error("the key that was handed out is gone")]
    Gone,
}

/// Answers a request that was signed with the key in a string. Blocks. `alarm` is rung for one that comes too late.
pub(crate) fn enrol(
    folder: &Folder,
    keys: &KeyStore,
    request: &Received,
    from: IpAddr,
    welcome: Welcome,
    alarm: impl FnOnce(),
) -> Result<Reply, Problem> {
    let enrolment: Enrolment = serde_json::from_slice(&request.body)
        .map_err(|error| Problem::new(Code::BadRequest).with_detail(error.to_string()))?;
    let id = request.key_id();
    match admit(folder, keys, request, &enrolment, from) {
        Ok(Admission::Handed(version)) => answer(keys, request, &enrolment, version, welcome),
        Ok(Admission::Pending) => {
            info!(key = %id, %from, "a machine wants to join: `config-leader machine approve {}` lets it", id.machine);
            Err(Problem::new(Code::ApprovalPending).with_detail(format!("`{}` waits for the admin", id.machine)))
        }
        Ok(Admission::Spent) => {
            alarm();
            Err(Problem::new(Code::EnrolmentSpent).with_detail(format!("the string of `{id}` was used before")))
        }
        Err(fault) => Err(internal(&fault)),
    }
}

fn admit(
    folder: &Folder,
    keys: &KeyStore,
    request: &Received,
    enrolment: &Enrolment,
    from: IpAddr,
) -> Result<Admission, Fault> {
    let (id, fresh) = (request.key_id(), enrolment_key()?);
    let guest = Guest {
        id: enrolment.id,
        ephemeral: enrolment.ephemeral,
        at: keys.clock().now().wall,
        from: from.to_canonical(),
    };
    let admitted = keys.change(&id.machine, |ring| {
        anyhow::ensure!(ring.get(id.version).is_some(), "the keys of `{}` are not where they were", id.machine);
        let before = ring.last();
        let admission = ring.admit(id.version, &guest, fresh);
        if ring.last() != before {
            audit::append(folder, &Actor::Leader, "machine.enrol", &format!("{id} from {from}"), Change::default())?;
        }
        Ok(admission)
    });
    admitted.map_err(Fault::Keeping)
}

fn answer(
    keys: &KeyStore,
    request: &Received,
    enrolment: &Enrolment,
    version: u32,
    welcome: Welcome,
) -> Result<Reply, Problem> {
    let id = request.key_id();
    let held = keys.of(&id.machine);
    let handed = held.as_ref().and_then(|held| held.ring.get(version)).filter(|key| key.state.is_live());
    let key = handed.ok_or_else(|| internal(&Fault::Gone))?.key.clone();
    let Welcome { authorities, root, urls } = welcome;
    let enrolled = Enrolled { version, key, authorities, root, urls, leader: None };
    let secret = random::<32>().map_err(|error| internal(&error))?;
    let nonce = seal_nonce().map_err(|error| internal(&error))?;
    let Some(sealed) = seal_enrolled(request.keys(), enrolment, &secret, &enrolled, nonce) else {
        return Err(Problem::new(Code::BadRequest).with_detail("`ephemeral` makes no secret"));
    };
    info!(key = %id, version, "a machine has enrolled");
    let mut answer = reply(StatusCode::OK, Payload::new(sealed));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_IDENTITY));
    Ok(answer)
}

fn internal(error: &dyn std::error::Error) -> Problem {
    warn!(error = %Chain(error), "a machine could not be enrolled: it asks again");
    Code::Internal.into()
}
