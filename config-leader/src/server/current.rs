//! What is served at this moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use pconf_bundle::{Bundle, Control, Keys, SealedBundle, seal_bundle};
use pconf_names::{Digest, MachineName, RevisionId, RoleName};
use pconf_publish::{MadeOf, Publication, Rollout};
use pconf_wire::{Payload, RandomnessError, seal_nonce};
use serde_json::Value;

/// What is served at this moment, and what is wrong with the inputs, if anything is.
#[derive(Clone, Default)]
pub(crate) struct Current {
    /// The last good revision.
    pub(crate) published: Option<Arc<Published>>,
    /// What each of its machines is told: it, or an older one until its turn comes.
    pub(crate) machines: Arc<BTreeMap<MachineName, Arc<Served>>>,
    /// How far it is with the fleet.
    pub(crate) rollout: Option<Arc<Rollout>>,
    /// Why what is saved is not published by itself, as `code`, `message` and `help`.
    pub(crate) draft: Option<Value>,
    /// Where each machine's follower is reached, and its own origins of the leader.
    pub(crate) addresses: BTreeMap<MachineName, Addresses>,
    /// The problems of the inputs as they are now, as `check --output json` gives them; empty when they are good.
    pub(crate) problems: Vec<Value>,
}

/// Who reaches whom, where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Where the leader reaches the follower.
    pub(crate) follower: Option<String>,
    /// By which origin the follower reaches the leader, where the platform derives one.
    pub(crate) leader: Option<String>,
    /// Below which folder its files go, where the platform says so.
    pub(crate) root: Option<String>,
}

/// One revision as it is served.
pub(crate) struct Published {
    pub(crate) revision: RevisionId,
    pub(crate) digest: Digest,
    /// Whether the admin lets it through although it changes much.
    pub(crate) is_accepted: bool,
    /// For the history.
    pub(crate) made_of: Option<MadeOf>,
    pub(crate) machines: BTreeMap<MachineName, Arc<Served>>,
}

/// One machine's part of a revision.
pub(crate) struct Served {
    bundle: Bundle,
    sealed: Mutex<Option<Arc<Sealed>>>,
}

/// A bundle as it travels, made on the first request and given to every later one.
pub(crate) struct Sealed {
    pub(crate) tag: HeaderValue,
    pub(crate) payload: Payload,
    /// Whose keys sealed it: other keys need another seal.
    keys: Arc<Keys>,
    /// Of what it says about the connection.
    serial: Option<u64>,
}

impl PartialEq for Current {
    fn eq(&self, other: &Self) -> bool {
        let number = |current: &Self| current.published.as_ref().map(Arc::as_ptr);
        number(self) == number(other)
            && Arc::ptr_eq(&self.machines, &other.machines)
            && self.rollout == other.rollout
            && self.draft == other.draft
            && self.addresses == other.addresses
            && self.problems == other.problems
    }
}

impl Current {
    /// The revision that is served.
    pub(crate) fn revision(&self) -> Option<RevisionId> {
        self.published.as_ref().map(|published| published.revision)
    }

    /// What is due for a machine, to be compared: another value is another bundle. As cheap as a look-up.
    pub(crate) fn due(&self, machine: &MachineName) -> Option<(RevisionId, bool)> {
        self.machines.get(machine).map(|served| (served.revision(), served.bundle.accepted))
    }
}

impl From<Publication> for Published {
    fn from(publication: Publication) -> Self {
        let served = |bundle: Bundle| Arc::new(Served { bundle, sealed: Mutex::default() });
        Self {
            revision: publication.revision,
            digest: publication.digest,
            is_accepted: publication.is_accepted(),
            made_of: publication.made_of,
            machines: publication.machines.into_iter().map(|(name, bundle)| (name, served(bundle))).collect(),
        }
    }
}

impl Published {
    /// The same as it is kept.
    pub(crate) fn to_publication(&self) -> Publication {
        let machines = self.machines.iter().map(|(name, served)| (name.clone(), served.bundle.clone())).collect();
        Publication { revision: self.revision, digest: self.digest, machines, made_of: self.made_of.clone() }
    }

    /// What every machine gets.
    pub(crate) fn bundles(&self) -> impl Iterator<Item = (&MachineName, &Bundle)> {
        self.machines.iter().map(|(name, served)| (name, &served.bundle))
    }
}

impl Served {
    pub(crate) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    pub(crate) fn revision(&self) -> RevisionId {
        self.bundle.revision
    }

    pub(crate) fn role(&self) -> &RoleName {
        &self.bundle.role
    }

    /// The bundle, with what there is to say about the connection, under the seal of these keys. Sealing the same bytes once
    /// is enough: the same seal says the same.
    pub(crate) fn sealed(&self, keys: &Arc<Keys>, control: Option<Control>) -> Result<Arc<Sealed>, RandomnessError> {
        let serial = control.as_ref().map(|control| control.serial);
        let mut kept = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |sealed: &&Arc<Sealed>| Arc::ptr_eq(&sealed.keys, keys) && sealed.serial == serial;
        if let Some(sealed) = kept.as_ref().filter(is_same) {
            return Ok(Arc::clone(sealed));
        }
        let nonce = seal_nonce()?;
        let SealedBundle { tag, bytes, .. } = match control {
            None => seal_bundle(keys, &self.bundle, nonce),
            control => seal_bundle(keys, &Bundle { control, ..self.bundle.clone() }, nonce),
        };
        let (tag, payload) = (tag.to_header(), Payload::new(bytes));
        let sealed = Arc::new(Sealed { tag, payload, keys: Arc::clone(keys), serial });
        *kept = Some(Arc::clone(&sealed));
        Ok(sealed)
    }
}
