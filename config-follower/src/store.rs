//! The bundles that the machine may have to go to without the leader: the one that runs, the one before it, and the one
//! that is being taken. They are kept as they travelled, sealed for this machine alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pconf_bundle::{Keys, OpenError, VerifiedBundle, open_bundle};
use pconf_files::{FilesError, StateFolder, read_state};
use pconf_names::{RevisionId, RoleName};
use pconf_plan::{Attempt, Ledger, fingerprint};

use crate::Config;

/// The bundles of one machine, in its state folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: Arc<StateFolder>,
    keys: Arc<Keys>,
    role: RoleName,
}

/// A bundle is not to be had from the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The disk's fault.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It is not there.
    #[error("`{}` is not there: the machine can only go on to a newer revision", .0.display())]
    Missing(PathBuf),
    /// It does not open.
    #[error(
        "`{}` cannot be opened; if the machine's key was replaced, the machine can only go on to a newer revision",
        path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// It is not what it was.
    #[error("`{}` holds something else than the ledger says: the machine can only go on to a newer revision", .0.display())]
    Other(PathBuf),
}

impl Store {
    pub(crate) fn new(folder: Arc<StateFolder>, config: &Config) -> Self {
        Self { folder, keys: Arc::clone(&config.keys), role: config.role.clone() }
    }

    /// Keeps a bundle durably.
    pub(crate) fn keep(&self, revision: RevisionId, sealed: &[u8]) -> Result<(), FilesError> {
        let name = name(revision);
        // A machine that comes back to a revision has it already.
        if self.folder.read(&name)?.is_some_and(|kept| kept == sealed) {
            return Ok(());
        }
        self.folder.write(&name, sealed)
    }

    /// The bundle of a revision that the ledger knows.
    pub(crate) fn open(&self, known: &Attempt) -> Result<VerifiedBundle, StoreError> {
        open(&self.folder.file(&name(known.revision)), &self.keys, &self.role, known)
    }

    /// Removes the bundles that the machine cannot have to go to any more.
    pub(crate) fn forget(&self, ledger: &Ledger) -> Result<(), FilesError> {
        let known = ledger.applied.iter().chain(&ledger.previous).chain(&ledger.attempt);
        let needed: Vec<String> = known.map(|known| name(known.revision)).collect();
        for name in self.folder.names()? {
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) && !needed.contains(&name) {
                self.folder.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// The bundle of a revision that the ledger of `config` knows, without taking its memory.
pub(crate) fn look(config: &Config, known: &Attempt) -> Result<VerifiedBundle, StoreError> {
    open(&config.state.join(name(known.revision)), &config.keys, &config.role, known)
}

fn open(path: &Path, keys: &Keys, role: &RoleName, known: &Attempt) -> Result<VerifiedBundle, StoreError> {
    let sealed = read_state(path)?.ok_or_else(|| StoreError::Missing(path.to_owned()))?;
    let bundle = open_bundle(keys, role, known.revision, &sealed)
        .map_err(|source| StoreError::Sealed { path: path.to_owned(), source })?;
    if fingerprint(&bundle) == known.fingerprint { Ok(bundle) } else { Err(StoreError::Other(path.to_owned())) }
}

const PREFIX: &str = "bundle-";
const SUFFIX: &str = ".sealed";

fn name(revision: RevisionId) -> String {
    format!("{PREFIX}{revision}{SUFFIX}")
}
