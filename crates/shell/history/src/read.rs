//! What was written down, as it was.

use std::collections::BTreeMap;

use pconf_names::{Class, Digest, MachineName, Mode, OnChange, Owner, RelativePath, RevisionId, RoleName};
use pconf_publish::SecretVersion;
use rusqlite::{OptionalExtension as _, Row};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::HistoryError;
use crate::store::History;

/// One revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number.
    pub id: RevisionId,
    /// The digest of what every machine got.
    pub digest: Digest,
    /// When it was made, in Unix seconds.
    pub at: u64,
    /// Who wanted it.
    pub actor: String,
    /// Why.
    pub reason: String,
    pub(crate) platform: i64,
    pub(crate) templates: i64,
    pub(crate) secrets: i64,
    pub(crate) machines: i64,
}

/// What one machine got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its role.
    pub role: RoleName,
    /// Its files, by path.
    pub files: BTreeMap<RelativePath, File>,
    /// Its directories, and what is said about its services.
    pub(crate) rules: i64,
}

/// A file of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// How it is treated.
    pub class: Class,
    /// Numeric owner.
    pub owner: Owner,
    /// Permission bits.
    pub mode: Mode,
    /// How services take a change of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
    /// Whether it is UTF-8.
    pub is_text: bool,
    /// Equal for equal bytes; see [`crate::Key::mark`].
    pub mark: String,
    #[serde(skip)]
    pub(crate) text: i64,
}

/// A file as it is written down.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeptFile {
    pub(crate) path: RelativePath,
    pub(crate) class: Class,
    pub(crate) owner: Owner,
    pub(crate) mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_change: Option<OnChange>,
    pub(crate) is_text: bool,
    pub(crate) mark: String,
    /// The blob of what may be shown of it.
    pub(crate) text: i64,
}

/// What a machine got, as it is written down: the blobs of its files.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptTree {
    pub(crate) role: RoleName,
    pub(crate) rules: i64,
    pub(crate) files: Vec<i64>,
}

const COLUMNS: &str = "epoch, number, digest, at, actor, reason, platform, templates, secrets, machines";

impl History {
    /// The newest revision.
    pub fn newest(&self) -> Result<Option<Revision>, HistoryError> {
        Ok(self.revisions(Some(1))?.pop())
    }

    /// The newest revisions, the newest first; all of them where no number is given.
    pub fn revisions(&self, number: Option<usize>) -> Result<Vec<Revision>, HistoryError> {
        let limit = number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
        self.attempt(|db| {
            let sql = format!("SELECT {COLUMNS} FROM revision ORDER BY epoch DESC, number DESC LIMIT ?1");
            db.prepare_cached(&sql)?.query_map([limit], row)?.collect()
        })
    }

    /// A revision by its number.
    pub fn revision(&self, id: RevisionId) -> Result<Option<Revision>, HistoryError> {
        self.attempt(|db| {
            let sql = format!("SELECT {COLUMNS} FROM revision WHERE epoch = ?1 AND number = ?2");
            db.prepare_cached(&sql)?.query_row((id.epoch, id.number.cast_signed()), row).optional()
        })
    }

    /// The revision before that one.
    pub fn before(&self, revision: &Revision) -> Result<Option<Revision>, HistoryError> {
        let RevisionId { epoch, number } = revision.id;
        self.attempt(|db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM revision WHERE (epoch, number) < (?1, ?2) ORDER BY epoch DESC, number DESC LIMIT 1"
            );
            db.prepare_cached(&sql)?.query_row((epoch, number.cast_signed()), row).optional()
        })
    }

    /// The text of `platform.json`, byte for byte.
    pub fn platform(&self, revision: &Revision) -> Result<String, HistoryError> {
        self.text(revision.platform)
    }

    /// Whether that text of `platform.json` is one of a revision that is kept.
    pub fn knows_platform(&self, text: &str) -> Result<bool, HistoryError> {
        let digest = Digest::of(text.as_bytes());
        self.attempt(|db| {
            db.query_row(
                "SELECT EXISTS (SELECT 1 FROM revision JOIN blob ON blob.id = revision.platform WHERE blob.digest = ?1)",
                [digest.as_bytes().as_slice()],
                |row| row.get(0),
            )
        })
    }

    /// The files of the template set.
    pub fn templates(&self, revision: &Revision) -> Result<BTreeMap<String, Digest>, HistoryError> {
        self.json(revision.templates)
    }

    /// The values of secrets.
    pub fn secrets(&self, revision: &Revision) -> Result<BTreeMap<String, SecretVersion>, HistoryError> {
        self.json(revision.secrets)
    }

    /// The machines, and under which number what they got is written down: the same number is the same.
    pub fn machines(&self, revision: &Revision) -> Result<BTreeMap<MachineName, i64>, HistoryError> {
        self.json(revision.machines)
    }

    /// What a machine got, by the number of [`History::machines`].
    pub fn machine(&self, tree: i64) -> Result<Machine, HistoryError> {
        let KeptTree { role, rules, files } = self.json(tree)?;
        let mut machine = Machine { role, files: BTreeMap::new(), rules };
        for id in files {
            let KeptFile { path, class, owner, mode, on_change, is_text, mark, text } = self.kept_file(id)?;
            machine.files.insert(path, File { class, owner, mode, on_change, is_text, mark, text });
        }
        Ok(machine)
    }

    pub(crate) fn kept_file(&self, id: i64) -> Result<KeptFile, HistoryError> {
        self.parsed(id, &self.blob(id)?.1)
    }

    /// A text that is kept under its own digest.
    pub(crate) fn text(&self, id: i64) -> Result<String, HistoryError> {
        let (digest, bytes) = self.blob(id)?;
        if Digest::of(&bytes).as_bytes().as_slice() != digest {
            return Err(self.damaged(format!("blob {id} is not what was written")));
        }
        String::from_utf8(bytes).map_err(|_| self.damaged(format!("blob {id} is no text")))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, id: i64) -> Result<T, HistoryError> {
        self.parsed(id, self.text(id)?.as_bytes())
    }

    fn parsed<T: DeserializeOwned>(&self, id: i64, bytes: &[u8]) -> Result<T, HistoryError> {
        serde_json::from_slice(bytes).map_err(|error| self.damaged(format!("blob {id}: {error}")))
    }

    fn blob(&self, id: i64) -> Result<(Vec<u8>, Vec<u8>), HistoryError> {
        let found = self.attempt(|db| {
            db.prepare_cached("SELECT digest, bytes FROM blob WHERE id = ?1")?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        found.ok_or_else(|| self.damaged(format!("blob {id} is missing")))
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<Revision> {
    let digest: String = row.get(2)?;
    let digest = digest
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(Revision {
        id: RevisionId { epoch: row.get(0)?, number: row.get::<_, i64>(1)?.cast_unsigned() },
        digest,
        at: row.get::<_, i64>(3)?.cast_unsigned(),
        actor: row.get(4)?,
        reason: row.get(5)?,
        platform: row.get(6)?,
        templates: row.get(7)?,
        secrets: row.get(8)?,
        machines: row.get(9)?,
    })
}
