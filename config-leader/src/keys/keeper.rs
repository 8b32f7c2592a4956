//! What happens to keys by itself: they end when they were said to, and get old enough for another one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::{Chain, Shutdown};
use tracing::{info, warn};

use super::KeyStore;
use crate::audit::{self, Change};
use crate::orders::Actor;

const LOOK: Duration = Duration::from_mins(1);
const DAY: u64 = 86_400;

/// Looks after the keys until `shutdown`. They are replaced after so many days; 0: never.
pub(crate) async fn look_after(keys: Arc<KeyStore>, rotate_after: u64, mut shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        let looked = Arc::clone(&keys);
        let looking = tokio::task::spawn_blocking(move || looked.look(rotate_after));
        if let Err(error) = looking.await.context("the keeper of keys broke down")? {
            warn!(error = %Chain(error.as_ref()), "keys stay as they are: what is over is not taken all the same");
        }
        // Cancel-safe: nothing is lost with a pause.
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

impl KeyStore {
    /// Drops what is over, and announces another key to whoever uses one that is `rotate_after` days old. Blocks.
    pub(crate) fn look(&self, rotate_after: u64) -> anyhow::Result<()> {
        let now = self.clock.now();
        for (machine, held) in self.now().machines() {
            if held.ring.keys().iter().any(|key| held.is_over(key, now)) {
                self.change(machine, |ring| {
                    ring.sweep(|key| held.is_over(key, now));
                    Ok(())
                })?;
            }
            if rotate_after > 0 && held.ring.is_due(rotate_after.saturating_mul(DAY), now.wall) {
                let announced = self.change(machine, |ring| {
                    let announced = ring.rotate(pconf_wire::enrolment_key()?, now.wall);
                    if let Some(version) = announced {
                        let object = format!("{machine}.{version}");
                        audit::append(&self.folder, &Actor::Leader, "machine.rotate-key", &object, Change::default())?;
                    }
                    Ok(announced)
                })?;
                info!(%machine, version = announced, "another key is announced: the one before is old");
            }
        }
        Ok(())
    }
}
