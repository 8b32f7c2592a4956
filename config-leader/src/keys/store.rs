//! The keys of a running leader: seen by every request, changed by one at a time, on the disk before anybody relies on them.

use std::sync::{Arc, Mutex, PoisonError};

use pconf_bundle::{KeyId, Keys};
use pconf_names::MachineName;
use pconf_platform::Problem;
use pconf_wire::Clock;
use tokio::sync::watch;

use super::{Held, KeyRing, Ring, change};
use crate::folder::Folder;

/// The keys of a running leader.
pub(crate) struct KeyStore {
    pub(super) folder: Folder,
    pub(super) clock: Clock,
    rings: watch::Sender<Arc<KeyRing>>,
    /// Held while the folder is read: what is seen is never older than what was seen before.
    reading: Mutex<()>,
}

impl KeyStore {
    /// The folder's keys as they are now, and what is wrong with them.
    pub(crate) fn open(folder: Folder, clock: Clock) -> (Self, Vec<Problem>) {
        let (rings, problems) = KeyRing::default().reread(&folder, clock.now());
        let rings = watch::Sender::new(Arc::new(rings));
        (Self { folder, clock, rings, reading: Mutex::new(()) }, problems)
    }

    /// The keys as they are now.
    pub(crate) fn now(&self) -> Arc<KeyRing> {
        Arc::clone(&self.rings.borrow())
    }

    /// Hears of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<KeyRing>> {
        self.rings.subscribe()
    }

    /// The clock that their ends are measured by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What is derived from a version that is not over, whatever it is good for.
    pub(crate) fn find(&self, id: &KeyId) -> Option<Arc<Keys>> {
        let rings = self.rings.borrow();
        rings.of(&id.machine)?.find(id.version, self.clock.now()).map(|(_, keys)| Arc::clone(keys))
    }

    /// A machine's keys.
    pub(crate) fn of(&self, machine: &MachineName) -> Option<Arc<Held>> {
        self.rings.borrow().of(machine).map(Arc::clone)
    }

    /// Looks at the folder again; what is wrong with it. Blocks.
    pub(crate) fn reread(&self) -> Vec<Problem> {
        let _alone = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let (rings, problems) = self.now().reread(&self.folder, self.clock.now());
        self.show(rings);
        problems
    }

    /// Changes a machine's keys: alone, on the disk first, then for every request. Blocks.
    pub(crate) fn change<T>(
        &self,
        machine: &MachineName,
        how: impl FnOnce(&mut Ring) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let _folder = self.folder.lock()?;
        let changed = change(&self.folder, machine, how)?;
        let _alone = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.show(self.now().with(&self.folder, machine, self.clock.now())?);
        Ok(changed)
    }

    fn show(&self, rings: KeyRing) {
        self.rings.send_if_modified(|shown| {
            let is_news = **shown != rings;
            if is_news {
                *shown = Arc::new(rings);
            }
            is_news
        });
    }
}
