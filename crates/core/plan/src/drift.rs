//! What is no longer as it was left.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::RelativePath;

use crate::ledger::Ledger;
use crate::observed::{ContainerState, OnDisk};

/// A managed file, folder or container that is not as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drifted {
    /// The file's path, or the container's name.
    pub what: String,
    /// How it differs, e.g. `changed`.
    pub how: String,
    /// Whether writing the files again puts it right.
    pub is_file: bool,
}

impl Ledger {
    /// The places that [`Ledger::drift`] has to know about, with the sizes whose bytes matter.
    #[must_use]
    pub fn places_of_ours(&self) -> BTreeMap<RelativePath, BTreeSet<u64>> {
        let files = self.files.iter().map(|(path, record)| (path.clone(), BTreeSet::from([record.size])));
        files.chain(self.directories.iter().map(|path| (path.clone(), BTreeSet::new()))).collect()
    }

    /// What differs from how it was left, sorted; `disk` tells what stands at [`Ledger::places_of_ours`].
    #[must_use]
    pub fn drift(
        &self,
        disk: &BTreeMap<RelativePath, OnDisk>,
        containers: Option<&BTreeMap<String, ContainerState>>,
    ) -> Vec<Drifted> {
        let mut found: Vec<Drifted> = Vec::new();
        let mut add = |what: &str, how: &str, is_file| {
            found.push(Drifted { what: what.to_owned(), how: how.to_owned(), is_file });
        };
        for (path, record) in &self.files {
            let how = match disk.get(path) {
                None | Some(OnDisk::Nothing) => "missing",
                Some(OnDisk::File { digest, .. }) if *digest != Some(record.digest) => "changed",
                Some(OnDisk::File { owner, .. }) if *owner != record.owner => "owner changed",
                Some(OnDisk::File { mode, .. }) if *mode != record.mode.bits() => "mode changed",
                Some(OnDisk::File { .. }) => continue,
                Some(OnDisk::Folder | OnDisk::Obstacle(_)) => "replaced by something else",
            };
            add(path.as_str(), how, true);
        }
        for path in &self.directories {
            if matches!(disk.get(path), None | Some(OnDisk::Nothing)) {
                add(path.as_str(), "missing", true);
            }
        }
        for (name, taken) in self.services.iter().filter(|_| containers.is_some()) {
            match containers.and_then(|containers| containers.get(name)) {
                None => add(name, "removed", false),
                Some(ContainerState::Died) => add(name, "died", false),
                Some(ContainerState::Stopped) if !taken.is_stopped => add(name, "stopped", false),
                Some(ContainerState::Up | ContainerState::Stopped) => {}
            }
        }
        found.sort_unstable();
        found
    }
}
