//! What the followers would hold back of a state that is not published yet.

use std::collections::BTreeMap;

use pconf_bundle::{Suspicion, suspicions};
use pconf_names::MachineName;
use pconf_render::RenderedMachine;

use crate::publication::Publication;

/// What is suspicious about going from what is published to what was rendered, by machine; machines without it are left
/// out.
#[must_use]
pub fn held_back(
    published: &Publication,
    rendered: &BTreeMap<MachineName, RenderedMachine>,
) -> BTreeMap<MachineName, Vec<Suspicion>> {
    let of_both = rendered.iter().filter_map(|(name, after)| Some((name, published.machines.get(name)?, after)));
    let judged = of_both.map(|(name, before, after)| {
        let before = before.files.iter().map(|file| (file.path.clone(), length(file.content.as_bytes())));
        let after = after.files.iter().map(|file| (file.path.clone(), length(&file.bytes)));
        (name.clone(), suspicions(&before.collect(), &after.collect()))
    });
    judged.filter(|(_, found)| !found.is_empty()).collect()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
