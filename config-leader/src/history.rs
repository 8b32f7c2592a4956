//! The leader's history: what the publisher writes down, who wanted it, and who changed what when.
//!
//! `state/history.db`, because the folder above is watched for edits and a database is written all the time. A publication
//! carries what it was made of ([`MadeOf`]), so a leader that was killed before the history knew of it writes it down at its
//! next start. An order that edits platform.json says beforehand whose edit that is (`state/cause.json`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use pconf_daemon::{from_state, to_state};
use pconf_history::{History, Key, New, Retention, Revision};
use pconf_names::{Digest, RevisionId};
use pconf_platform::PlatformFile;
use pconf_publish::{Cause, MadeOf, SecretVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::folder::{Folder, PLATFORM};
use crate::inputs::Inputs;
use crate::orders::Actor;
use crate::secrets::{Phase, Stored};
use crate::server::last_heard;

pub(crate) const DATABASE: &str = "state/history.db";
/// Under which digests of real bytes are made: whoever has the database alone can guess nothing.
const KEY: &str = "state/history-key";
const CAUSE: &str = "state/cause.json";
/// Why something is published when nobody says more.
pub(crate) const APPLIED: &str = "applied";
const DAY: u64 = 24 * 60 * 60;

/// Whose edit a text of platform.json is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announced {
    /// Of the text.
    platform: Digest,
    /// Unix seconds.
    at: u64,
    cause: Cause,
}

/// Since when something is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Since {
    /// It is saved and not published.
    Unpublished,
    /// It came with a revision.
    Revision(LastChange),
}

/// A revision that changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LastChange {
    pub(crate) revision: RevisionId,
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

/// The history, if there is one.
pub(crate) fn open(folder: &Folder) -> anyhow::Result<Option<History>> {
    Ok(History::open_existing(&path(folder))?)
}

/// What a revision of these inputs is made of; `previous` is what the one before it was made of.
/// `wanted_by` is who had it published, and why.
pub(crate) fn made_of(
    folder: &Folder,
    inputs: &Inputs,
    previous: Option<&MadeOf>,
    wanted_by: Option<&Cause>,
) -> anyhow::Result<MadeOf> {
    let key = key(folder)?;
    let at = now();
    let version = |stored: &Stored| {
        let value = Zeroizing::new(serde_json::to_vec(&stored.value).context("cannot write a secret as JSON")?);
        let phase = stored.rotation.as_ref().map(|rotating| match rotating.phase {
            Phase::Announce => "announce".to_owned(),
            Phase::Switch => "switch".to_owned(),
        });
        let (at, by) = (stored.made.at.clone(), stored.made.by.clone());
        anyhow::Ok(SecretVersion { at, by, phase, mark: key.mark(&[b"secret", &value]) })
    };
    let secrets = inputs.used().map(|(id, stored)| anyhow::Ok((id.to_string(), version(stored)?)));
    // What was announced before the last revision belongs to that one.
    let announced = announced(folder, &inputs.looked.text)?;
    let cause = announced.filter(|announced| previous.is_none_or(|previous| previous.at <= announced.at));
    Ok(MadeOf {
        at,
        platform: inputs.looked.text.clone(),
        templates: (*inputs.looked.templates).clone(),
        secrets: secrets.collect::<Result<_, _>>()?,
        cause: joined(cause.map(|announced| announced.cause), wanted_by),
    })
}

/// Whose edit it is counts more than who had it published; a reason is never lost.
fn joined(announced: Option<Cause>, wanted_by: Option<&Cause>) -> Option<Cause> {
    match (announced, wanted_by) {
        (Some(Cause { actor, reason }), Some(wanted)) if wanted.reason != APPLIED => {
            Some(Cause { actor, reason: format!("{reason}; {}: {}", wanted.actor, wanted.reason) })
        }
        (Some(announced), _) => Some(announced),
        (None, wanted) => wanted.cloned(),
    }
}

/// What the revision is made of with which the fleet goes back from `from` to what was made of `origin`.
pub(crate) fn went_back(origin: &MadeOf, from: RevisionId, reason: &str) -> MadeOf {
    let cause = Cause { actor: Actor::Leader.to_string(), reason: format!("went back from {from}: {reason}") };
    MadeOf { at: now(), cause: Some(cause), ..origin.clone() }
}

/// Says whose edit it is that platform.json is about to become `text`, and why.
pub(crate) fn announce(folder: &Folder, text: &str, actor: &Actor, reason: String) -> anyhow::Result<()> {
    let cause = Cause { actor: actor.to_string(), reason };
    let announced = Announced { platform: Digest::of(text.as_bytes()), at: now(), cause };
    Ok(pconf_files::write_state(&folder.path().join(CAUSE), &to_state(&announced)?)?)
}

fn announced(folder: &Folder, text: &str) -> anyhow::Result<Option<Announced>> {
    let Some(bytes) = pconf_files::read_state(&folder.path().join(CAUSE))? else { return Ok(None) };
    let announced: Announced = from_state(&bytes).with_context(|| format!("`{CAUSE}` cannot be used: remove it"))?;
    Ok(Some(announced).filter(|announced| announced.platform == Digest::of(text.as_bytes())))
}

/// What was announced of that text has come about, or changes nothing.
pub(crate) fn forget_announced(folder: &Folder, text: &str) {
    if announced(folder, text).is_ok_and(|announced| announced.is_some()) {
        // One that stays is older than the revision that it led to, and is passed over.
        let _ = std::fs::remove_file(folder.path().join(CAUSE));
    }
}

/// Writes a revision down with what its machines get, and drops what is beyond what is to be kept.
pub(crate) fn record<'a>(
    folder: &Folder,
    new: &New<'_>,
    machines: impl Iterator<Item = (&'a pconf_names::MachineName, &'a pconf_bundle::Bundle)>,
) -> anyhow::Result<()> {
    let mut history = History::open(&path(folder))?;
    if !history.record(new, machines, &key(folder)?)? {
        return Ok(());
    }
    let config = folder.config().history;
    let seconds = Some(config.days * DAY).filter(|seconds| *seconds > 0);
    let used: BTreeSet<RevisionId> = last_heard(folder)?.into_values().collect();
    let dropped = history.retain(Retention { revisions: config.revisions, seconds }, now(), &used)?;
    if dropped > 0 {
        tracing::info!(dropped, "the oldest revisions left the history");
    }
    Ok(())
}

/// Under which digests of real bytes are made; made once.
pub(crate) fn key(folder: &Folder) -> anyhow::Result<Key> {
    let mut kept = folder.sealed(KEY)?;
    if kept.is_none() {
        let mut fresh = Zeroizing::new([0; 32]);
        getrandom::fill(fresh.as_mut_slice()).context("the system's random source fails")?;
        folder.vault()?.create(KEY, fresh.as_slice())?;
        // Somebody else may have been quicker.
        kept = folder.sealed(KEY)?;
    }
    let bytes = kept.context("the key of the history is gone")?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).with_context(|| format!("`{KEY}` is damaged: restore it"))?;
    Ok(Zeroizing::new(key).into())
}

/// Since when the value at a JSON pointer (RFC 6901) is what it is in `text`, which is platform.json as it is; `None` where
/// the history does not reach back to that.
pub(crate) fn last_change(folder: &Folder, text: &str, pointer: &str) -> anyhow::Result<Option<Since>> {
    let Some(history) = open(folder)? else { return Ok(None) };
    let mut revisions = history.revisions(None)?.into_iter();
    let Some(mut since) = revisions.next() else { return Ok(None) };
    let mut text = text.to_owned();
    let value = value_at(&text, pointer);
    let newest = history.platform(&since)?;
    if newest != text && value_at(&newest, pointer) != value {
        return Ok(Some(Since::Unpublished));
    }
    for before in revisions {
        let earlier = history.platform(&before)?;
        if earlier != text && value_at(&earlier, pointer) != value {
            return Ok(Some(Since::Revision(since.into())));
        }
        (since, text) = (before, earlier);
    }
    // Before the first revision there was nothing.
    Ok(Some(since).filter(|since| since.id.number == 1).map(|since| Since::Revision(since.into())))
}

impl From<Revision> for LastChange {
    fn from(Revision { id, at, actor, reason, .. }: Revision) -> Self {
        Self { revision: id, at: rfc3339(at), actor, reason }
    }
}

fn value_at(text: &str, pointer: &str) -> Option<Value> {
    PlatformFile::parse(PLATFORM, text).ok()?.value_at(pointer).cloned()
}

pub(crate) fn path(folder: &Folder) -> PathBuf {
    folder.path().join(DATABASE)
}

/// RFC 3339, in whole seconds.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

fn now() -> u64 {
    OffsetDateTime::now_utc().unix_timestamp().try_into().unwrap_or_default()
}
