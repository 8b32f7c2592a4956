//! Writing one revision down, in one transaction: all of it or nothing.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use pconf_bundle::{Bundle, Hider};
use pconf_names::{Digest, MachineName, RevisionId};
use pconf_publish::{Cause, MadeOf};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use serde::Serialize;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::HistoryError;
use crate::read::{KeptFile, KeptTree, Revision};
use crate::store::History;

/// What makes digests of real bytes worthless to somebody who would guess a secret from them.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of 32 bytes")
    }
}

impl From<Zeroizing<[u8; 32]>> for Key {
    fn from(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }
}

impl Key {
    /// A digest under this key, hexadecimal: the parts are told apart by their lengths.
    #[must_use]
    pub fn mark(&self, parts: &[&[u8]]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_slice()) else {
            unreachable!("HMAC takes keys of every length")
        };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes()[..16].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// What tells the bytes of one file from others.
    pub(crate) fn of_file(&self, bytes: &[u8]) -> String {
        self.mark(&[b"file", bytes])
    }
}

/// A revision to be written down.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// Its number.
    pub revision: RevisionId,
    /// The digest of what every machine gets.
    pub digest: Digest,
    /// What it was made of.
    pub made_of: &'a MadeOf,
}

impl History {
    /// Writes a revision down with what its machines get; `false` where it is written down already.
    pub fn record<'a>(
        &mut self,
        new: &New<'_>,
        machines: impl IntoIterator<Item = (&'a MachineName, &'a Bundle)>,
        key: &Key,
    ) -> Result<bool, HistoryError> {
        let before = self.newest()?;
        if self.revision(new.revision)?.is_some() {
            return Ok(false);
        }
        let Cause { actor, reason } = match &new.made_of.cause {
            Some(cause) => cause.clone(),
            None => self.noticed(before.as_ref(), new.made_of)?,
        };
        self.attempt(|db| {
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            let mut trees = BTreeMap::new();
            for (name, bundle) in machines {
                trees.insert(name, keep_tree(&transaction, bundle, key)?);
            }
            let platform = keep_text(&transaction, new.made_of.platform.as_bytes())?;
            let templates = keep_json(&transaction, &new.made_of.templates)?;
            let secrets = keep_json(&transaction, &new.made_of.secrets)?;
            let machines = keep_json(&transaction, &trees)?;
            let RevisionId { epoch, number } = new.revision;
            transaction.execute(
                "INSERT OR IGNORE INTO revision (epoch, number, digest, at, actor, reason, platform, templates, secrets, machines)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                rusqlite::params![
                    epoch,
                    number.cast_signed(),
                    new.digest.to_string(),
                    new.made_of.at.cast_signed(),
                    actor,
                    reason,
                    platform,
                    templates,
                    secrets,
                    machines
                ],
            )?;
            transaction.commit()
        })?;
        Ok(true)
    }

    /// What the leader noticed by itself: which inputs differ from those of the revision before.
    fn noticed(&self, before: Option<&Revision>, now: &MadeOf) -> Result<Cause, HistoryError> {
        let actor = "leader".to_owned();
        let Some(before) = before else { return Ok(Cause { actor, reason: "the history begins".to_owned() }) };
        let mut reasons = Vec::new();
        if self.platform(before)? != now.platform {
            reasons.push("saved platform.json".to_owned());
        }
        let templates = changed(&self.templates(before)?, &now.templates);
        if !templates.is_empty() {
            reasons.push(format!("templates changed: {}", some_of(&templates)));
        }
        let secrets = changed(&self.secrets(before)?, &now.secrets);
        if !secrets.is_empty() {
            reasons.push(format!("secrets changed: {}", some_of(&secrets)));
        }
        if reasons.is_empty() {
            reasons.push("another epoch, or another version of config-leader".to_owned());
        }
        Ok(Cause { actor, reason: reasons.join("; ") })
    }
}

/// The names that stand for other values, sorted.
#[must_use]
pub fn changed<T: PartialEq>(before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) -> Vec<String> {
    let of_before = before.iter().filter(|(name, value)| after.get(*name) != Some(value));
    let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
    let mut names: Vec<String> = of_before.chain(new).map(|(name, _)| name.clone()).collect();
    names.sort_unstable();
    names
}

/// A few names and how many more there are.
fn some_of(names: &[String]) -> String {
    const FEW: usize = 3;
    let shown = names[..names.len().min(FEW)].join(", ");
    if names.len() > FEW { format!("{shown} and {} more", names.len() - FEW) } else { shown }
}

fn keep_tree(db: &Connection, bundle: &Bundle, key: &Key) -> rusqlite::Result<i64> {
    let masks = serde_json::to_vec(&bundle.masks).map(Zeroizing::new).map_err(unwritable)?;
    let masks = key.mark(&[b"masks", &masks]);
    // The forms of the secrets are worked out for the first file that is new.
    let mut hider: Option<Hider> = None;
    let mut files = Vec::new();
    for file in &bundle.files {
        let bytes = file.content.as_bytes();
        let kept = KeptFile {
            path: file.path.clone(),
            class: file.class,
            owner: file.owner,
            mode: file.mode,
            on_change: file.on_change.clone(),
            is_text: std::str::from_utf8(bytes).is_ok(),
            mark: key.of_file(bytes),
            text: 0,
        };
        // With the masks: the same bytes are shown in another way where another word is a secret.
        let described = serde_json::to_vec(&kept).map_err(unwritable)?;
        let name = key.mark(&[b"kept", &described, masks.as_bytes()]);
        let known = find(db, name.as_bytes())?;
        let id = if let Some(id) = known {
            id
        } else {
            let hider = hider.get_or_insert_with(|| bundle.masks.hider());
            let shown = match std::str::from_utf8(bytes) {
                Ok(text) => hider.hide(text),
                Err(_) => format!("{} bytes that are no text\n", bytes.len()),
            };
            let kept = KeptFile { text: keep_text(db, shown.as_bytes())?, ..kept };
            insert(db, name.as_bytes(), &serde_json::to_vec(&kept).map_err(unwritable)?)?
        };
        files.push(id);
    }
    let rules = serde_json::json!({
        "directories": bundle.directories,
        "services": bundle.services,
        "compose": bundle.compose,
    });
    let rules = serde_json::to_string_pretty(&rules).map_err(unwritable)? + "\n";
    let rules = keep_text(db, bundle.masks.hide(&rules).as_bytes())?;
    keep_json(db, &KeptTree { role: bundle.role.clone(), rules, files })
}

fn keep_json(db: &Connection, content: &impl Serialize) -> rusqlite::Result<i64> {
    keep_text(db, &serde_json::to_vec(content).map_err(unwritable)?)
}

/// Keeps what may be read by everybody who reads the history.
fn keep_text(db: &Connection, text: &[u8]) -> rusqlite::Result<i64> {
    let digest = Digest::of(text);
    match find(db, digest.as_bytes())? {
        Some(id) => Ok(id),
        None => insert(db, digest.as_bytes(), text),
    }
}

fn find(db: &Connection, digest: &[u8]) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM blob WHERE digest = ?1")?.query_row([digest], |row| row.get(0)).optional()
}

fn insert(db: &Connection, digest: &[u8], bytes: &[u8]) -> rusqlite::Result<i64> {
    db.prepare_cached("INSERT INTO blob (digest, bytes) VALUES (?1, ?2)")?.insert((digest, bytes))
}

fn unwritable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
