//! `keys/`: the keys that the leader shares with each machine's follower, one envelope per machine, never shared by two.
//!
//! The keys of a removed machine stay, so that its follower can be told so under a signature, and so that no version is ever
//! given out twice.

mod keeper;
mod ring;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pconf_bundle::{KeyId, Keys, Moment};
use pconf_daemon::{Chain, from_state, to_state};
use pconf_names::MachineName;
use pconf_platform::Problem;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::folder::Folder;
pub(crate) use keeper::look_after;
pub(crate) use ring::{Admission, Approval, Guest, KeyVersion, Ring, State};
pub(crate) use store::KeyStore;

/// The keys of every machine that has any, as they were read last.
#[derive(Default, Clone)]
pub(crate) struct KeyRing(BTreeMap<MachineName, Arc<Held>>);

/// One machine's keys, ready to be used.
pub(crate) struct Held {
    pub(crate) ring: Ring,
    keys: BTreeMap<u32, Arc<Keys>>,
    /// When versions end by the clock that never jumps: the wall clock may be set back, and they end all the same.
    deadlines: BTreeMap<u32, Duration>,
    /// Of the file.
    digest: [u8; 32],
}

impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        // What is read once is shared from then on: the same keys are the same allocation.
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len()
            && pairs.all(|((name, held), (other, others))| name == other && Arc::ptr_eq(held, others))
    }
}

impl Held {
    /// A version that is not over by now, and what is derived from it.
    pub(crate) fn find(&self, version: u32, now: Moment) -> Option<(&KeyVersion, &Arc<Keys>)> {
        let key = self.ring.get(version).filter(|key| !self.is_over(key, now))?;
        Some((key, self.keys.get(&version)?))
    }

    /// The keys that the machine's follower is spoken to with.
    pub(crate) fn spoken(&self) -> Option<&Arc<Keys>> {
        self.keys.get(&self.ring.spoken()?.version)
    }

    /// Whether a version has lasted as long as it was said.
    pub(crate) fn is_over(&self, key: &KeyVersion, now: Moment) -> bool {
        key.state.term().is_some_and(|term| term.is_over(now.wall))
            || self.deadlines.get(&key.version).is_some_and(|deadline| now.uptime >= *deadline)
    }
}

impl KeyRing {
    /// A machine's keys.
    pub(crate) fn of(&self, machine: &MachineName) -> Option<&Arc<Held>> {
        self.0.get(machine)
    }

    /// Every machine that has keys.
    pub(crate) fn machines(&self) -> impl Iterator<Item = (&MachineName, &Arc<Held>)> {
        self.0.iter()
    }

    /// Reads the folder again. What was derived before is used again while the file is the same, and while it cannot be
    /// used: what is wrong with one machine's keys concerns that machine alone.
    pub(crate) fn reread(&self, folder: &Folder, now: Moment) -> (Self, Vec<Problem>) {
        let entries = match std::fs::read_dir(folder.keys()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Self::default(), Vec::new()),
            Err(error) => return (self.clone(), vec![problem("keys", format!("cannot be read: {error}"))]),
        };
        let mut ring = BTreeMap::new();
        let mut problems = Vec::new();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<MachineName>().ok());
        for machine in names {
            let known = self.0.get(&machine);
            match hold(folder, &machine, known, now) {
                Ok(held) => ring.extend(held.map(|held| (machine, held))),
                Err(error) => {
                    problems.push(problem(&file(&machine), Chain(error.as_ref()).to_string()));
                    ring.extend(known.map(|known| (machine, Arc::clone(known))));
                }
            }
        }
        problems.sort_unstable_by(|one, other| one.file.cmp(&other.file));
        (Self(ring), problems)
    }

    /// As it is with this machine's keys read again.
    pub(crate) fn with(&self, folder: &Folder, machine: &MachineName, now: Moment) -> anyhow::Result<Self> {
        let mut rings = self.0.clone();
        if let Some(held) = hold(folder, machine, rings.get(machine), now)? {
            rings.insert(machine.clone(), held);
        }
        Ok(Self(rings))
    }
}

/// The keys of a machine as they are in its file; `None` where there is none. The same file is the same value.
fn hold(
    folder: &Folder,
    machine: &MachineName,
    known: Option<&Arc<Held>>,
    now: Moment,
) -> anyhow::Result<Option<Arc<Held>>> {
    let Some(bytes) = pconf_files::read_state(&folder.path().join(file(machine)))? else { return Ok(None) };
    let digest = Sha256::digest(&bytes).into();
    if let Some(known) = known.filter(|known| known.digest == digest) {
        return Ok(Some(Arc::clone(known)));
    }
    let ring = open(folder, machine, &folder.vault()?.opened(&file(machine), &bytes)?)?;
    let mut held = Held { ring, keys: BTreeMap::new(), deadlines: BTreeMap::new(), digest };
    for key in held.ring.keys() {
        let version = key.version;
        let same = known.filter(|known| known.ring.get(version).is_some_and(|known| known.key == key.key));
        // Derived once per version: what is sealed for a follower is kept with these very keys.
        let derived = same.and_then(|known| known.keys.get(&version)).map(Arc::clone);
        let derive = || Arc::new(Keys::derive(KeyId { machine: machine.clone(), version }, &key.key));
        held.keys.insert(version, derived.unwrap_or_else(derive));
        if let Some(term) = key.state.term() {
            let rest = Duration::from_secs(term.until.0.saturating_sub(now.wall.0));
            let kept = same.filter(|known| known.ring.get(version).and_then(|known| known.state.term()) == Some(term));
            let kept = kept.and_then(|known| known.deadlines.get(&version)).copied();
            held.deadlines.insert(version, kept.unwrap_or_else(|| now.uptime.saturating_add(rest)));
        }
    }
    Ok(Some(Arc::new(held)))
}

/// A machine's keys; none where it never had any.
pub(crate) fn read(folder: &Folder, machine: &MachineName) -> anyhow::Result<Ring> {
    match folder.sealed(&file(machine))? {
        Some(bytes) => open(folder, machine, &bytes),
        None => Ok(Ring::default()),
    }
}

/// Changes a machine's keys, durably; nothing is written where nothing changes. The caller holds the folder's lock.
pub(crate) fn change<T>(
    folder: &Folder,
    machine: &MachineName,
    change: impl FnOnce(&mut Ring) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut ring = read(folder, machine)?;
    let bytes = |ring: &Ring| to_state(ring).map(Zeroizing::new).context("cannot write the keys as JSON");
    let before = bytes(&ring)?;
    let changed = change(&mut ring)?;
    let after = bytes(&ring)?;
    if after != before {
        folder.vault()?.write(&file(machine), &after)?;
    }
    Ok(changed)
}

fn open(folder: &Folder, machine: &MachineName, bytes: &[u8]) -> anyhow::Result<Ring> {
    from_state(bytes).with_context(|| format!("`{}` holds no keys", folder.path().join(file(machine)).display()))
}

fn file(machine: &MachineName) -> String {
    format!("keys/{machine}")
}

fn problem(file: &str, message: String) -> Problem {
    Problem {
        code: "unusable-key",
        file: file.to_owned(),
        span: None,
        subject: String::new(),
        message,
        help: "restore it from a backup, or remove it and enrol the machine anew with `config-leader machine add`"
            .to_owned(),
        related: Vec::new(),
    }
}
