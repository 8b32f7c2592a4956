//! `secrets/`: one envelope per value, made once and never made again.
//!
//! A secret `smtp_password` is the file `smtp_password`, that of one role `smtp_password@role:core`, that of one machine
//! `smtp_password@co1`. What is missing is made in memory first, and becomes durable when the revision that uses it is known
//! to be good, before that revision does: nothing is made for a revision that does not come, and no revision uses what could
//! be lost. Files are made, never replaced, by whoever finds none; only a rotation, a renewed certificate or the admin
//! replaces a value, and only the value that they have seen.

pub(crate) mod brought;
mod dh;
pub(crate) mod environment;
mod hidden;
mod make;
pub(crate) mod rotation;
mod stored;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use pconf_daemon::{Chain, from_state, to_state};
use pconf_files::FilesError;
use pconf_names::RevisionId;
use pconf_platform::{Problem, SecretId, SecretKind};
use pconf_publish::WantedSecret;
use pconf_render::{LiveSecret, SecretValue, SecretValues};
use pconf_vault::{EnvelopeError, VaultError};
use sha2::Sha256;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::audit::{self, Change};
use crate::authority::Authority;
use crate::certificate;
use crate::folder::Folder;
use crate::hex::hex;
use crate::orders::Actor;
use crate::terminal::Failure;

pub(crate) use environment::from_environment;
pub(crate) use hidden::Hidden;
pub(crate) use stored::{Made, Phase, Stored};

/// The values that are kept, by what they are called.
pub(crate) type Kept = BTreeMap<SecretId, Stored>;

/// A value that is not durable yet.
pub(crate) struct Fresh {
    id: SecretId,
    stored: Stored,
    /// What it takes the place of.
    before: Option<Stored>,
}

/// What becomes of values that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// They are kept if the revision is good.
    Use,
    /// They are forgotten: whoever only looks leaves no trace.
    Look,
}

impl From<SecretsFailure> for Failure {
    fn from(failure: SecretsFailure) -> Self {
        match failure {
            SecretsFailure::Invalid(problems) => Self::Invalid { problems, sources: Box::default() },
            SecretsFailure::Failed(error) => Self::Failed(error),
        }
    }
}

impl Fresh {
    pub(crate) fn id(&self) -> &SecretId {
        &self.id
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }
}

/// Why values cannot be read.
pub(crate) enum SecretsFailure {
    /// Files that cannot be used; each says the way out.
    Invalid(Vec<Problem>),
    /// The vault does not open.
    Failed(anyhow::Error),
}

/// Reads every value that the platform's machines may use; one that is missing is left out.
pub(crate) fn read(folder: &Folder, wanted: &[WantedSecret]) -> Result<Kept, SecretsFailure> {
    let mut kept = Kept::new();
    let mut problems: Vec<Problem> = exposed_folder(folder).into_iter().collect();
    for one in wanted.iter().filter(|one| one.kind.is_kept()) {
        match read_one(folder, &one.id) {
            Ok(None) => {}
            Ok(Some(stored)) if stored.fits(&one.kind) => drop(kept.insert(one.id.clone(), stored)),
            Ok(Some(_)) => {
                let message = format!("its value is none of the kind {}, which it is of by now", one.kind.name());
                let help = "move the file away: another value is made, or `config-leader secret set` brings one";
                problems.push(problem(&one.id, "misfit-secret", message, help));
            }
            Err(SecretsFailure::Invalid(found)) => problems.extend(found),
            Err(failed @ SecretsFailure::Failed(_)) => return Err(failed),
        }
    }
    if problems.is_empty() { Ok(kept) } else { Err(SecretsFailure::Invalid(problems)) }
}

/// Reads one value.
pub(crate) fn read_one(folder: &Folder, id: &SecretId) -> Result<Option<Stored>, SecretsFailure> {
    let (name, path) = (file_name(id), folder.secrets().join(id.to_string()));
    let invalid = |code, message, help: &str| SecretsFailure::Invalid(vec![problem(id, code, message, help)]);
    let text = match pconf_files::read_private(&path) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(FilesError::Exposed { mode, .. }) => {
            let message = format!("has mode {mode:04o}: others on this machine can read it");
            return Err(invalid("exposed-secret", message, &format!("run `chmod 600 {name}`")));
        }
        Err(error) => return Err(invalid("unreadable-secret", Chain(&error).to_string(), RESTORE)),
    };
    let vault = folder.vault().map_err(SecretsFailure::Failed)?;
    let bytes = match vault.opened(&name, text.as_bytes()) {
        Ok(bytes) => bytes,
        Err(VaultError::Value { source: EnvelopeError::Form(_), .. }) => {
            let help = format!("move the file away, then `config-leader secret set {id} --from-file FILE`");
            return Err(invalid("plain-secret", "is no envelope: a value is never kept in clear".to_owned(), &help));
        }
        Err(VaultError::Value { source, .. }) => {
            return Err(invalid("unreadable-secret", Chain(&source).to_string(), RESTORE));
        }
        Err(error) => return Err(SecretsFailure::Failed(error.into())),
    };
    match from_state(&bytes) {
        Ok(stored) => Ok(Some(stored)),
        Err(error) => Err(invalid("unreadable-secret", Chain(&error).to_string(), RESTORE)),
    }
}

const RESTORE: &str = "restore the file from a backup; it is never made anew while it is there";

/// Makes what is missing, and the certificates whose time has come, in memory.
pub(crate) fn complete(
    folder: &Folder,
    wanted: &[WantedSecret],
    kept: &Kept,
    purpose: Purpose,
) -> anyhow::Result<Vec<Fresh>> {
    let mut fresh = Vec::new();
    let issue = |names: &[String]| {
        let authority = match purpose {
            Purpose::Use => Authority::of(folder)?,
            Purpose::Look => Authority::imagined(folder)?,
        };
        issue(&authority, names)
    };
    for WantedSecret { id, kind, .. } in wanted {
        let before = kept.get(id);
        let made = match (kind, before) {
            (SecretKind::Certificate { names }, None) => Some(issue(names)?),
            (SecretKind::Certificate { names }, Some(stored)) => {
                let is_due = stored.leaf.as_ref().is_some_and(|leaf| leaf.is_due(names, OffsetDateTime::now_utc()));
                if is_due { Some(issue(names)?) } else { None }
            }
            (_, Some(_)) => None,
            (kind, None) => make::make(kind)?.map(|value| Stored::new(value, LEADER)),
        };
        fresh.extend(made.map(|stored| Fresh { id: id.clone(), stored, before: before.cloned() }));
    }
    Ok(fresh)
}

/// Another value of that kind; `None` for a kind whose values come from elsewhere.
pub(crate) fn another(folder: &Folder, kind: &SecretKind, actor: &Actor) -> anyhow::Result<Option<Stored>> {
    let by = actor.to_string();
    Ok(match kind {
        SecretKind::Certificate { names } => {
            Some(Stored { made: Made::now(&by), ..issue(&Authority::of(folder)?, names)? })
        }
        kind => make::make(kind)?.map(|value| Stored::new(value, &by)),
    })
}

/// Who made what nobody asked for.
const LEADER: &str = "leader";

fn issue(authority: &Authority, names: &[String]) -> anyhow::Result<Stored> {
    let leaf = authority.issue(names, certificate::LIFETIME, None)?;
    let value = SecretValue::Certificate { certificate: leaf.chain, key: leaf.key.to_string() };
    let leaf = stored::Leaf::new(names, OffsetDateTime::now_utc(), certificate::LIFETIME);
    Ok(Stored { leaf: Some(leaf), ..Stored::new(value, LEADER) })
}

/// What templates see: what is kept, what was just made in its place, and what follows from both.
pub(crate) fn live(wanted: &[WantedSecret], kept: &Kept, fresh: &[Fresh]) -> anyhow::Result<SecretValues> {
    let mut values = SecretValues::default();
    for (id, stored) in kept.iter().chain(fresh.iter().map(|fresh| (&fresh.id, &fresh.stored))) {
        values.insert(id.clone(), stored.live());
    }
    for WantedSecret { id, kind, .. } in wanted {
        match kind {
            SecretKind::DiffieHellman { group } => {
                values.insert(id.clone(), SecretValue::Public(dh::parameters(*group).to_owned()).into());
            }
            SecretKind::Derived { from, label } => {
                let source = values.get(&SecretId { name: from.clone(), owner: id.owner.clone() });
                if let Some(derived) = source.map(|source| derive(source, label)).transpose()? {
                    values.insert(id.clone(), derived);
                }
            }
            _ => {}
        }
    }
    Ok(values)
}

/// One value of that kind, which is kept or follows from what is; `None` where there is none yet.
pub(crate) fn value(kind: &SecretKind, kept: Option<&Stored>) -> anyhow::Result<Option<SecretValue>> {
    Ok(match kind {
        SecretKind::DiffieHellman { group } => Some(SecretValue::Public(dh::parameters(*group).to_owned())),
        SecretKind::Derived { label, .. } => {
            kept.map(|source| derive(&source.live(), label)).transpose()?.map(|derived| derived.used)
        }
        _ => kept.map(|stored| stored.value.clone()),
    })
}

fn derive(source: &LiveSecret, label: &str) -> anyhow::Result<LiveSecret> {
    let of = |value: &SecretValue| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(value.confidential().as_bytes()).context("cannot derive a secret")?;
        mac.update(label.as_bytes());
        anyhow::Ok(SecretValue::Text(hex(&mac.finalize().into_bytes())))
    };
    Ok(LiveSecret { used: of(&source.used)?, other: source.other.as_ref().map(of).transpose()? })
}

/// Makes durable what a good revision uses for the first time; `revision` is the one, where it is known. `false` where
/// somebody else was quicker with one of the values: theirs counts, and everything has to be looked at again.
pub(crate) fn keep(
    folder: &Folder,
    kept: &Kept,
    fresh: &[Fresh],
    revision: Option<RevisionId>,
) -> anyhow::Result<bool> {
    for Fresh { id, stored, before } in fresh {
        let stored = Stored { first_used: stored.first_used.or(revision), ..stored.clone() };
        let is_ours = match before {
            None => create(folder, id, &stored, &Actor::Leader, "secret.make")?,
            Some(before) => replace(folder, id, before, &stored, &Actor::Leader, "secret.renew")?,
        };
        if !is_ours {
            return Ok(false);
        }
    }
    let replaced = |id: &SecretId| fresh.iter().any(|fresh| fresh.id == *id);
    for (id, stored) in kept.iter().filter(|(id, stored)| stored.first_used.is_none() && !replaced(id)) {
        if revision.is_some() && !note(folder, id, stored, &Stored { first_used: revision, ..stored.clone() })? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a value durable where there is none; `false` where there is one. It is recorded first.
pub(crate) fn create(
    folder: &Folder,
    id: &SecretId,
    stored: &Stored,
    actor: &Actor,
    what: &str,
) -> anyhow::Result<bool> {
    let _alone = folder.lock()?;
    if is_there(folder, id) {
        return Ok(false);
    }
    let after = Some(stored.value.confidential().as_bytes());
    audit::append(folder, actor, what, &id.to_string(), Change { before: None, after })?;
    Ok(folder.vault()?.create(&file_name(id), &bytes(stored)?)?)
}

/// Whether there is a file for the value, whatever is in it.
fn is_there(folder: &Folder, id: &SecretId) -> bool {
    std::fs::symlink_metadata(folder.secrets().join(id.to_string())).is_ok()
}

/// Puts a value in the place of the one that was seen; `false` where that is no longer there. It is recorded first.
pub(crate) fn replace(
    folder: &Folder,
    id: &SecretId,
    before: &Stored,
    after: &Stored,
    actor: &Actor,
    what: &str,
) -> anyhow::Result<bool> {
    let _alone = folder.lock()?;
    if !is_still(folder, id, before)? {
        return Ok(false);
    }
    let newest = |stored: &Stored| {
        let announced = stored.rotation.as_ref().filter(|rotating| rotating.phase == Phase::Announce);
        announced.map_or(&stored.value, |rotating| &rotating.other).confidential().as_bytes().to_vec()
    };
    let (was, is) = (Zeroizing::new(newest(before)), Zeroizing::new(newest(after)));
    audit::append(folder, actor, what, &id.to_string(), Change { before: Some(&was), after: Some(&is) })?;
    folder.vault()?.write(&file_name(id), &bytes(after)?)?;
    Ok(true)
}

/// Notes something about a value that stays; `false` where another one is there by now.
fn note(folder: &Folder, id: &SecretId, before: &Stored, after: &Stored) -> anyhow::Result<bool> {
    let _alone = folder.lock()?;
    if !is_still(folder, id, before)? {
        return Ok(false);
    }
    folder.vault()?.write(&file_name(id), &bytes(after)?)?;
    Ok(true)
}

fn is_still(folder: &Folder, id: &SecretId, seen: &Stored) -> anyhow::Result<bool> {
    match read_one(folder, id) {
        Ok(stored) => Ok(stored.as_ref() == Some(seen)),
        Err(SecretsFailure::Failed(error)) => Err(error),
        Err(SecretsFailure::Invalid(problems)) => {
            let said = problems.first().map_or_else(String::new, |problem| problem.message.clone());
            anyhow::bail!("`{}` cannot be used: {said}", file_name(id))
        }
    }
}

fn bytes(stored: &Stored) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    Ok(Zeroizing::new(to_state(stored).context("cannot write a secret as JSON")?))
}

/// Where the value is, relative to the leader's folder: what its envelope is called, too.
fn file_name(id: &SecretId) -> String {
    format!("secrets/{id}")
}

fn exposed_folder(folder: &Folder) -> Option<Problem> {
    let mode = std::fs::metadata(folder.secrets()).ok()?.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then(|| Problem {
        code: "exposed-secret",
        file: "secrets".to_owned(),
        span: None,
        subject: String::new(),
        message: format!("has mode {mode:04o}: others on this machine can look into it"),
        help: "run `chmod 700 secrets`".to_owned(),
        related: Vec::new(),
    })
}

fn problem(id: &SecretId, code: &'static str, message: String, help: &str) -> Problem {
    Problem {
        code,
        file: file_name(id),
        span: None,
        subject: String::new(),
        message,
        help: help.to_owned(),
        related: Vec::new(),
    }
}
