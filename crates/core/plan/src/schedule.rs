//! When to look again. Randomness comes in as an argument.

use std::time::Duration;

/// Why to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// All is well, or waits for somebody else: look at the usual time.
    Usual,
    /// Something failed this many times in a row: look sooner at first, then ever later up to the usual time.
    Again {
        /// How many times, the last one included.
        failures: u32,
    },
}

/// How long to wait before looking again: `poll`, or 1 s, 2 s, 4 s, … up to `poll` after failures; either ± 20 %.
///
/// `chance` is any random number. It spreads the followers of a platform, so that they do not all come at once.
#[must_use]
pub fn wait(poll: Duration, urgency: Urgency, chance: u32) -> Duration {
    let middle = match urgency {
        Urgency::Usual => poll,
        Urgency::Again { failures } => Duration::from_secs(1 << failures.saturating_sub(1).min(20)).min(poll),
    };
    middle.mul_f64(0.8 + 0.4 * f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn the_usual_wait_is_a_minute_more_or_less_a_fifth() {
        assert_eq!(wait(MINUTE, Urgency::Usual, 0), Duration::from_secs(48));
        assert_eq!(wait(MINUTE, Urgency::Usual, u32::MAX), Duration::from_secs(72));
    }

    #[test]
    fn failures_are_retried_soon_and_then_ever_later_up_to_the_usual_wait() {
        let waits = (1..=8).map(|failures| wait(MINUTE, Urgency::Again { failures }, 0).as_millis());
        assert_eq!(waits.collect::<Vec<_>>(), [800, 1600, 3200, 6400, 12_800, 25_600, 48_000, 48_000]);
        let many = wait(MINUTE, Urgency::Again { failures: u32::MAX }, u32::MAX);
        assert_eq!(many, Duration::from_secs(72));
    }
}
