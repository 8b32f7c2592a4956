//! The database file: how it is opened, what is in it, how it is copied while it is used.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pconf_files::FilesError;
use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::HistoryError;

/// `cfgh`: tells this database from any other.
const APPLICATION: i64 = 0x6366_6768;
/// The form of the tables below.
const FORM: i64 = 1;
/// How long to wait for somebody else who writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A blob is kept once, under its digest; everything else refers to it by its short number. A revision's `machines` is a
/// JSON object from machine to tree, a tree names the blobs of its files, and a file's blob names that of its text.
const TABLES: &str = "
    CREATE TABLE blob (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        bytes BLOB NOT NULL
    ) STRICT;
    CREATE TABLE revision (
        epoch INTEGER NOT NULL,
        number INTEGER NOT NULL,
        digest TEXT NOT NULL,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        platform INTEGER NOT NULL REFERENCES blob (id),
        templates INTEGER NOT NULL REFERENCES blob (id),
        secrets INTEGER NOT NULL REFERENCES blob (id),
        machines INTEGER NOT NULL REFERENCES blob (id),
        PRIMARY KEY (epoch, number)
    ) STRICT, WITHOUT ROWID;
";

/// An open history. Any number of processes may read it while one writes.
pub struct History {
    pub(crate) db: Connection,
    path: PathBuf,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "history in {}", self.path.display())
    }
}

impl History {
    /// Opens the history at `path` and makes it, for its owner alone, where it is missing.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        // SQLite makes files for everybody; an empty one is a database without tables.
        if std::fs::symlink_metadata(path).is_err() {
            pconf_files::create_state(path, b"")?;
        }
        let history = Self::connect(path)?;
        history.attempt(|db| {
            db.pragma_update(None, "journal_mode", "wal")?;
            let transaction = rusqlite::Transaction::new_unchecked(db, rusqlite::TransactionBehavior::Immediate)?;
            if application(&transaction)? == 0 {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", FORM)?;
            }
            transaction.commit()
        })?;
        history.known()
    }

    /// Opens the history at `path` to look into it; `None` where there is none.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, HistoryError> {
        if std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let history = Self::connect(path)?;
        // One that is just being made has no tables yet.
        if history.attempt(application)? == 0 { Ok(None) } else { history.known().map(Some) }
    }

    fn connect(path: &Path) -> Result<Self, HistoryError> {
        let database = |source| HistoryError::Database { path: path.to_owned(), source };
        if let Ok(metadata) = std::fs::metadata(path) {
            let mode = metadata.mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(FilesError::Exposed { path: path.to_owned(), mode }.into());
            }
        }
        // Whoever reads a WAL takes part in its bookkeeping, so it is never opened read-only.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(database)?;
        let history = Self { db, path: path.to_owned() };
        history.attempt(|db| {
            db.busy_timeout(PATIENCE)?;
            db.pragma_update(None, "foreign_keys", true)?;
            db.pragma_update(None, "synchronous", "full")?;
            db.pragma_update(None, "temp_store", "memory")
        })?;
        Ok(history)
    }

    /// Itself, unless it is somebody else's database.
    fn known(self) -> Result<Self, HistoryError> {
        let (owner, form) = self.attempt(|db| Ok((application(db)?, number(db, "user_version")?)))?;
        if owner == APPLICATION && form == FORM {
            return Ok(self);
        }
        Err(HistoryError::Foreign { path: self.path, found: form, known: FORM })
    }

    /// Copies the whole history to `file`, which is made, as it is at this moment; others go on reading and writing.
    pub fn back_up(&self, file: &Path) -> Result<(), HistoryError> {
        if !pconf_files::create_state(file, b"")? {
            return Err(HistoryError::AlreadyThere(file.to_owned()));
        }
        let database = |source| HistoryError::Database { path: file.to_owned(), source };
        let copied = || -> Result<(), HistoryError> {
            let mut copy = Connection::open(file).map_err(database)?;
            // In one step: with pauses every write of somebody else would begin it anew.
            Backup::new(&self.db, &mut copy)
                .and_then(|backup| backup.run_to_completion(i32::MAX, Duration::from_millis(50), None))
                .map_err(|error| self.error(error))?;
            // One file, without a log beside it.
            copy.pragma_update(None, "journal_mode", "delete").map_err(database)?;
            let found: String = copy.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(database)?;
            if found != "ok" {
                return Err(self.damaged(found));
            }
            Ok(())
        };
        copied().inspect_err(|_| {
            // The error worth telling is the first one.
            let _ = std::fs::remove_file(file);
        })
    }

    /// Runs something on the database.
    pub(crate) fn attempt<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, HistoryError> {
        run(&self.db).map_err(|error| self.error(error))
    }

    pub(crate) fn error(&self, source: rusqlite::Error) -> HistoryError {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => self.damaged(source.to_string()),
            _ => HistoryError::Database { path: self.path.clone(), source },
        }
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> HistoryError {
        HistoryError::Damaged { path: self.path.clone(), what: what.into() }
    }
}

fn application(db: &Connection) -> rusqlite::Result<i64> {
    number(db, "application_id")
}

fn number(db: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, pragma, |row| row.get(0))
}
