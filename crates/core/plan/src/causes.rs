//! Which changes concern a container.

use std::collections::BTreeMap;

use pconf_bundle::{Bundle, OnChange};
use pconf_names::{Digest, RelativePath};

use crate::debt::{Change, Was};
use crate::definitions::{Definitions, key};
use crate::ledger::Ledger;
use crate::manner::Manner;
use crate::observed::Container;

/// The machine before it changes.
pub(crate) struct Before<'a, L> {
    /// What has changed since containers took it.
    pub(crate) changes: &'a BTreeMap<RelativePath, Was>,
    /// How compose was told to make its services.
    pub(crate) definitions: &'a BTreeMap<String, Digest>,
    /// Whether the container may have been made or started while files were written, before that was cut off.
    pub(crate) is_late: bool,
    /// Whether a container's mount of that single file may show an older form of it: then no reload reaches the new one.
    pub(crate) is_loose: L,
}

/// The changed files that a container has to take, each with how.
pub(crate) fn causes(
    goal: &Bundle,
    definitions: &Definitions,
    before: &Before<impl Fn(&RelativePath) -> bool>,
    (container, manner): (&Container, &Manner),
) -> BTreeMap<RelativePath, Change> {
    let mut causes = BTreeMap::new();
    for (path, was) in before.changes.iter().filter(|(path, _)| container.can_read(path)) {
        let how = match manner.takes(goal, path) {
            OnChange::None => continue,
            OnChange::Reload(_) | OnChange::Exec(_) if container.mounts_alone(path) && (before.is_loose)(path) => {
                OnChange::Restart
            }
            how => how,
        };
        causes.insert(path.clone(), Change { was: *was, how });
    }
    let (Some(compose), Some(service)) = (&container.made_from, definitions.service_of(container)) else {
        return causes;
    };
    let known = before.definitions.get(&key(&compose.file, &container.service));
    let is_same = known.is_some_and(|known| *known == definitions.definition(service));
    for path in service.env_files.iter().chain([&compose.file]) {
        let Some(was) = before.changes.get(path) else { continue };
        // What was edited by hand, or stood there half written, may have made another container.
        if !is_same || before.is_late || *was == Was::Unknown {
            causes.insert(path.clone(), Change { was: *was, how: OnChange::Recreate });
        }
    }
    causes
}

/// The compose file whose service the container was, if that has left it now or the file has left the set.
pub(crate) fn has_left(
    goal: &Bundle,
    definitions: &Definitions,
    ledger: &Ledger,
    changes: &BTreeMap<RelativePath, Was>,
    container: &Container,
) -> Option<RelativePath> {
    let compose = container.made_from.as_ref()?;
    let file = &compose.file;
    let is_known = ledger.definitions.contains_key(&key(file, &container.service)) || goal.compose.contains(compose);
    let owed = ledger.owed.get(&container.name).and_then(|debt| debt.files.get(file));
    let is_owed = owed.is_some_and(|change| change.how == OnChange::Recreate);
    let is_concerned = is_owed || (is_known && changes.contains_key(file));
    let is_there = match definitions.services(file) {
        Some(services) => services.0.contains_key(&container.service),
        // Without a list of services nobody has left it.
        None => goal.files.iter().any(|each| each.path == *file),
    };
    (is_concerned && !is_there).then(|| file.clone())
}
