//! A clock for what lasts: the wall's time when this process started, and from then on only forward, second by second.
//! Whoever sets the machine's clock ends no pause and gives up no machine.

use pconf_wire::Clock;

/// A clock that is never set.
#[derive(Debug, Clone)]
pub(crate) struct Steady {
    clock: Clock,
    /// By the wall, when the uptime was nought.
    start: u64,
}

impl Steady {
    pub(crate) fn new(clock: Clock) -> Self {
        let now = clock.now();
        Self { start: now.wall.0.saturating_sub(now.uptime.as_secs()), clock }
    }

    /// Seconds since 1970, as the wall had it when this process started.
    pub(crate) fn now(&self) -> u64 {
        self.start + self.clock.now().uptime.as_secs()
    }
}
