//! The bundles that the machine may have to go to without the leader: the one that runs, the one before it, and the one
//! that is being taken. They are kept as they travelled, sealed for this machine alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pconf_bundle::{Bundle, Keys, OpenError, VerifiedBundle, open_bundle, seal_bundle};
use pconf_files::{FilesError, StateFolder, read_state};
use pconf_names::{RevisionId, RoleName};
use pconf_plan::{Attempt, Ledger, fingerprint};
use pconf_wire::{RandomnessError, seal_nonce};

use crate::Config;
use crate::identity::{Identity, IdentityError};
use crate::ring::Ring;

/// The bundles of one machine, in its state folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: Arc<StateFolder>,
    identity: Arc<Identity>,
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
    /// Its key cannot be replaced: nothing can be sealed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// Its key cannot be replaced: that cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Store {
    pub(crate) fn new(folder: Arc<StateFolder>, identity: Arc<Identity>, role: RoleName) -> Self {
        Self { folder, identity, role }
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
        open(&self.folder.file(&name(known.revision)), &self.identity.ring(), &self.role, known)
    }

    /// Goes on with another ring. What only the key opens that goes is sealed anew first, so that it opens after a crash at
    /// any step.
    pub(crate) fn go_on_with(&self, ring: Ring) -> Result<(), StoreError> {
        if let Some(gone) = self.identity.ring().retiring().filter(|gone| ring.find(gone.id()).is_none()) {
            seal_anew(&self.folder, &self.role, gone, ring.live().last().unwrap_or(ring.asking()))?;
        }
        Ok(self.identity.change(ring)?)
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

/// Seals with `keys` what is sealed with `gone` among the bundles in `folder`.
pub(crate) fn seal_anew(folder: &StateFolder, role: &RoleName, gone: &Keys, keys: &Keys) -> Result<(), StoreError> {
    for name in folder.names()? {
        let Some(revision) = revision(&name) else { continue };
        let Some(sealed) = folder.read(&name)? else { continue };
        // What it does not open is sealed with another key, or damaged, which is seen when it is needed.
        let Ok(bundle) = open_bundle(gone, role, revision, &sealed) else { continue };
        // What the leader said of keys then is done.
        let bundle = Bundle { control: None, ..Bundle::clone(&bundle) };
        folder.write(&name, &seal_bundle(keys, &bundle, seal_nonce()?).bytes)?;
    }
    Ok(())
}

/// The bundle of a revision that the ledger of `config` knows, without taking its memory.
pub(crate) fn look(config: &Config, known: &Attempt) -> Result<VerifiedBundle, StoreError> {
    open(&config.state.join(name(known.revision)), &config.ring, &config.role, known)
}

/// Any live key may have sealed it.
fn open(path: &Path, ring: &Ring, role: &RoleName, known: &Attempt) -> Result<VerifiedBundle, StoreError> {
    let sealed = read_state(path)?.ok_or_else(|| StoreError::Missing(path.to_owned()))?;
    let with = |keys: &Keys| open_bundle(keys, role, known.revision, &sealed);
    let opened = match (with(ring.asking()), ring.other()) {
        (Err(OpenError::Seal(_)), Some(other)) => with(other),
        (opened, _) => opened,
    };
    let bundle = opened.map_err(|source| StoreError::Sealed { path: path.to_owned(), source })?;
    if fingerprint(&bundle) == known.fingerprint { Ok(bundle) } else { Err(StoreError::Other(path.to_owned())) }
}

const PREFIX: &str = "bundle-";
const SUFFIX: &str = ".sealed";

fn name(revision: RevisionId) -> String {
    format!("{PREFIX}{revision}{SUFFIX}")
}

fn revision(name: &str) -> Option<RevisionId> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}
