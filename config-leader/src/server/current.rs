//! What is served at this moment.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use pconf_bundle::{Bundle, Control, EntityTag, Keys, SealedBundle, name_bundle, seal_bundle};
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
    told: Mutex<Option<Told>>,
}

/// A bundle as its machine is told it.
struct Told {
    tag: HeaderValue,
    /// Of what it says about the connection.
    serial: Option<u64>,
    /// As it travels, and whose keys sealed it: made for the first who asks for it, given to those who ask again, and gone as
    /// soon as the machine has it.
    sealed: Option<(Arc<Keys>, Payload)>,
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
        let served = |bundle: Bundle| Arc::new(Served { bundle, told: Mutex::default() });
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

    /// What the machine is told that has `known`: the name of its bundle, and the bundle itself under the seal of these keys
    /// where it is another one. `control` is what there is to say about the connection, which changes with `serial`; where
    /// there is nothing to say, there is none. Sealing the same bytes once is enough: the same seal says the same.
    pub(crate) fn told(
        &self,
        keys: &Arc<Keys>,
        serial: Option<u64>,
        control: impl Fn() -> Option<Control>,
        known: Option<&HeaderValue>,
    ) -> Result<(HeaderValue, Option<Payload>), RandomnessError> {
        let mut kept = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take_if(|told| told.serial != serial);
        if kept.is_none() && known.is_some_and(|known| self.may_be(known)) {
            let tag = name_bundle(&self.with(control())).to_header();
            *kept = Some(Told { tag, serial, sealed: None });
        }
        if let Some(told) = kept.as_mut() {
            if known == Some(&told.tag) {
                told.sealed = None;
                return Ok((told.tag.clone(), None));
            }
            if let Some((by, payload)) = &told.sealed
                && Arc::ptr_eq(by, keys)
            {
                return Ok((told.tag.clone(), Some(payload.clone())));
            }
        }
        let SealedBundle { tag, bytes, .. } = seal_bundle(keys, &self.with(control()), seal_nonce()?);
        let (tag, payload) = (tag.to_header(), Payload::new(bytes));
        *kept = Some(Told { tag: tag.clone(), serial, sealed: Some((Arc::clone(keys), payload.clone())) });
        Ok((tag, Some(payload)))
    }

    /// The bundle as it travels.
    fn with(&self, control: Option<Control>) -> Cow<'_, Bundle> {
        match control {
            None => Cow::Borrowed(&self.bundle),
            control => Cow::Owned(Bundle { control, ..self.bundle.clone() }),
        }
    }

    /// Whether a name may be that of this bundle: another revision's is not.
    fn may_be(&self, known: &HeaderValue) -> bool {
        let known = known.to_str().ok().and_then(|known| known.parse::<EntityTag>().ok());
        known.is_some_and(|known| known.revision == self.revision())
    }
}

#[cfg(test)]
mod tests {
    use pconf_bundle::{EnrolmentKey, KeyId};

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn served() -> Result<Served, Box<dyn std::error::Error>> {
        let bundle = Bundle::empty("1.2".parse()?, "co1".parse()?, "core".parse()?);
        Ok(Served { bundle, told: Mutex::default() })
    }

    fn keys(version: u32) -> Result<Arc<Keys>, Box<dyn std::error::Error>> {
        Ok(Arc::new(Keys::derive(KeyId { machine: "co1".parse()?, version }, &EnrolmentKey::from([7; 32]))))
    }

    /// The bundle under seal, unless the machine has it.
    fn seal(
        served: &Served,
        keys: &Arc<Keys>,
        known: Option<&HeaderValue>,
    ) -> Result<Option<Payload>, RandomnessError> {
        Ok(served.told(keys, None, || None, known)?.1)
    }

    fn keeps_a_seal(served: &Served) -> bool {
        let told = served.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().is_some_and(|told| told.sealed.is_some())
    }

    #[test]
    fn a_seal_is_made_once_and_gone_when_the_machine_has_it() -> Outcome {
        let (served, keys, others) = (served()?, keys(1)?, keys(2)?);
        let (tag, first) = served.told(&keys, None, || None, None)?;
        let first = first.ok_or("a bundle")?;
        let again = seal(&served, &keys, Some(&HeaderValue::from_static("\"1.1-0123456789abcdef\"")))?;
        assert_eq!(again.ok_or("a bundle")?.bytes(), first.bytes(), "the same seal");
        assert_ne!(seal(&served, &others, None)?.ok_or("a bundle")?.bytes(), first.bytes(), "of other keys");
        assert!(keeps_a_seal(&served));
        assert!(seal(&served, &keys, Some(&tag))?.is_none() && !keeps_a_seal(&served));
        assert!(seal(&served, &keys, None)?.is_some(), "who lost it gets it again");
        Ok(())
    }

    #[test]
    fn who_has_it_already_is_told_so_without_a_seal() -> Outcome {
        let (tag, _) = served()?.told(&keys(1)?, None, || None, None)?;
        let fresh = served()?;
        assert!(seal(&fresh, &keys(1)?, Some(&tag))?.is_none() && !keeps_a_seal(&fresh));
        Ok(())
    }

    #[test]
    fn another_word_about_the_connection_is_another_bundle() -> Outcome {
        let (served, keys) = (served()?, keys(1)?);
        let control = |serial| Control { serial, next_key: None, authorities: Some("authority".to_owned()) };
        let (tag, _) = served.told(&keys, Some(4), || Some(control(4)), None)?;
        let (same, sealed) = served.told(&keys, Some(4), || Some(control(4)), Some(&tag))?;
        assert_eq!((&same, sealed.is_none()), (&tag, true));
        let (next, sealed) = served.told(&keys, Some(5), || Some(control(5)), Some(&tag))?;
        assert!(next != tag && sealed.is_some());
        Ok(())
    }
}
