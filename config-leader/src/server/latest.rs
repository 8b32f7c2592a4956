//! When each machine last reported: somebody on the line may keep a report back and deliver it after a newer one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pconf_bundle::UnixSeconds;
use pconf_names::MachineName;

/// The dates of the newest reports, by the machines' own clocks. Kept in memory alone: nothing that was signed before this
/// leader's start gets here.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<BTreeMap<MachineName, UnixSeconds>>);

impl Latest {
    /// Whether a report of that date is no older than the newest one, whose place it takes. Who sent it in good faith, from
    /// a clock that was set back, is told the time and sends it again.
    pub(super) fn admits(&self, machine: &MachineName, created: UnixSeconds) -> bool {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = latest.entry(machine.clone()).or_insert(created);
        let is_newest = *newest <= created;
        *newest = (*newest).max(created);
        is_newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_heard_unless_a_newer_one_of_that_machine_came_before() -> anyhow::Result<()> {
        let (latest, one, other) = (Latest::default(), "co1".parse()?, "co2".parse()?);
        let admits = |machine, seconds| latest.admits(machine, UnixSeconds(seconds));
        assert!(admits(&one, 100) && admits(&one, 100) && admits(&one, 102));
        assert!(!admits(&one, 101));
        assert!(admits(&other, 50) && admits(&one, 102));
        Ok(())
    }
}
