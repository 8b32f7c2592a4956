//! Why the history cannot be used.

use std::path::PathBuf;

use pconf_files::FilesError;

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The database says so.
    #[error("cannot use `{}`", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// Another program's database, or one of a later version of this one.
    #[error("`{}` is a database of form {found}, and this program knows form {known}: use the version that made it", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What it says of itself.
        found: i64,
        /// What this program writes.
        known: i64,
    },
    /// What is in it is not as it was written.
    #[error("`{}` is damaged ({what}): put a backup in its place, or move it away to begin another", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Others may look into it, or it cannot be made.
    #[error(transparent)]
    File(#[from] FilesError),
    /// Something is there already.
    #[error("`{}` is there already: nothing was written", .0.display())]
    AlreadyThere(PathBuf),
}
