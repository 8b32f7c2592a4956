//! Tells every follower to look: once per revision, once more when it was accepted, and when there is another key for it. A
//! lost word costs nothing: followers look by themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use pconf_bundle::signature::Direction;
use pconf_bundle::{Keys, Origin, routes};
use pconf_daemon::{Chain, Shutdown};
use pconf_names::{MachineName, RevisionId};
use pconf_wire::{Client, Clock, Peer, Timeouts, Trust};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::keys::{KeyRing, KeyStore};
use crate::server::current::Current;
use crate::server::status::StatusBoard;

/// So many followers are told at a time.
const AT_ONCE: usize = 64;
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(3), read: Duration::from_secs(5), whole: Duration::from_secs(8) };
/// A follower's answer is a few numbers.
const LONGEST_ANSWER: usize = 4096;

/// Tells of every new revision until `shutdown`. `authorities` are those of [`crate::LeaderConfig::ca`].
pub(crate) async fn push(
    mut newest: watch::Receiver<Arc<Current>>,
    keys: Arc<KeyStore>,
    authorities: Option<PathBuf>,
    board: Arc<StatusBoard>,
    mut shutdown: Shutdown,
) -> anyhow::Result<()> {
    let trust = authorities.map_or(Trust::System, Trust::File);
    let client = Client::new(Direction::ToFollower, Clock::system(), TIMEOUTS, LONGEST_ANSWER, trust)?;
    let mut rings = keys.subscribe();
    let mut told = BTreeMap::new();
    loop {
        let current = Arc::clone(&newest.borrow_and_update());
        let known = Arc::clone(&rings.borrow_and_update());
        let due = due(&current, &known, &told);
        // Cancel-safe: a newer revision ends the telling of the one before, whose word would be the same. Keys change while
        // followers come, and do not hold up a word that is on its way.
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            changed = newest.changed() => if changed.is_err() { return Ok(()) },
            changed = rings.changed(), if due.is_empty() => if changed.is_err() { return Ok(()) },
            () = tell_all(&client, &current, &due, &board), if !due.is_empty() => {
                told.extend(due.into_iter().map(|due| (due.machine.clone(), due.news)));
            }
        }
    }
}

/// What a follower may not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct News {
    /// The revision, and whether it was accepted.
    revision: Option<(RevisionId, bool)>,
    /// The version of the key that it is to use next.
    key: Option<u32>,
}

/// A follower to tell something.
struct Due<'a> {
    machine: &'a MachineName,
    url: &'a str,
    keys: &'a Arc<Keys>,
    news: News,
}

/// Who has not been told yet, of those who can be.
fn due<'a>(current: &'a Current, keys: &'a KeyRing, told: &BTreeMap<MachineName, News>) -> Vec<Due<'a>> {
    let peers = current.addresses.iter().filter_map(|(machine, addresses)| {
        let held = keys.of(machine)?;
        let told = current.machines.get(machine).map(|served| (served.revision(), served.bundle().accepted));
        let news = News { revision: told, key: held.ring.announced().map(|key| key.version) };
        Some(Due { machine, url: addresses.follower.as_deref()?, keys: held.spoken()?, news })
    });
    // That a key is announced no more is no news: its follower uses it.
    let is_news = |due: &Due<'_>| {
        told.get(due.machine).is_none_or(|told| {
            told.revision != due.news.revision || due.news.key.is_some_and(|version| told.key != Some(version))
        })
    };
    peers.filter(is_news).collect()
}

async fn tell_all(client: &Client, current: &Current, due: &[Due<'_>], board: &StatusBoard) {
    let peers = due.iter().map(|due| (due.machine, due.url, due.keys));
    let outcomes: Vec<Result<(), String>> = futures_util::stream::iter(peers)
        .map(|(machine, url, keys)| tell(client, current, board, machine, url, keys))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let revision = current.revision().map(tracing::field::display);
    let (machines, told) = (outcomes.len(), outcomes.iter().filter(|outcome| outcome.is_ok()).count());
    match outcomes.into_iter().find_map(Result::err) {
        None => info!(revision, machines, told, "followers told to look"),
        Some(reason) => {
            warn!(revision, machines, told, reason, "followers that could not be told will look by themselves");
        }
    }
}

/// Tells one follower, or says why it did not hear.
async fn tell(
    client: &Client,
    current: &Current,
    board: &StatusBoard,
    machine: &MachineName,
    url: &str,
    keys: &Arc<Keys>,
) -> Result<(), String> {
    let outcome = match url.parse::<Origin>() {
        Ok(origin) => {
            let body = json!({ "revision": current.revision(), "reason": "publish" }).to_string();
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let peer = Peer::new(origin, Arc::clone(keys));
            match client.post(&peer, routes::NOTIFY, headers, Bytes::from(body)).await {
                Ok(answer) if answer.status.is_success() => Ok(()),
                Ok(answer) => Err(format!("`{url}` answered {}", answer.status)),
                Err(error) => Err(Chain(&error).to_string()),
            }
        }
        Err(error) => Err(Chain(&error).to_string()),
    };
    board.told(machine, outcome.as_ref().err());
    outcome
}
