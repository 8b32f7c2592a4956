//! The history of a platform: every revision with its inputs, who, when and why, in one `SQLite` file.
//!
//! Files are kept as they may be shown: `••••` stands where a secret was, and no secret ever gets into the database. That a
//! secret changed is known all the same, by a digest of the real bytes under a key that is not in it. Everything is kept
//! once, by its digest: a machine that a revision does not change costs nothing, and one that changes costs its changed
//! files.
//!
//! Nothing is decided by the history and nothing is served out of it: without it the leader publishes as well.

mod compare;
mod error;
mod find;
mod read;
mod record;
mod retain;
mod store;
#[cfg(test)]
mod tests;

pub use compare::{Change, Comparison, FileChange, MachineChange, text_diff};
pub use error::HistoryError;
pub use find::{InvalidNamed, Named};
pub use read::{File, Machine, Revision};
pub use record::{Key, New, changed};
pub use retain::Retention;
pub use store::History;
