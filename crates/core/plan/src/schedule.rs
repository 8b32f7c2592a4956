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

/// No retry follows sooner, however the dice fall.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long to wait before looking again: `poll` ± 20 %; after failures anything up to 2 s, 4 s, 8 s, … up to `poll`.
///
/// `chance` is any random number. It spreads the followers of a platform, so that they do not all come at once; most of
/// all after a failure, which may be that of the leader of them all (full jitter).
#[must_use]
pub fn wait(poll: Duration, urgency: Urgency, chance: u32) -> Duration {
    let chance = f64::from(chance) / f64::from(u32::MAX);
    match urgency {
        Urgency::Usual => poll.mul_f64(0.8 + 0.4 * chance),
        Urgency::Again { failures } => {
            Duration::from_secs(1 << failures.min(20)).min(poll).mul_f64(chance).max(SHORTEST.min(poll))
        }
    }
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
        let waits = |chance| {
            let waits = (1..=7).map(move |failures| wait(MINUTE, Urgency::Again { failures }, chance).as_millis());
            waits.collect::<Vec<_>>()
        };
        assert_eq!(waits(u32::MAX), [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(waits(0), [100; 7]);
        assert_eq!(wait(MINUTE, Urgency::Again { failures: u32::MAX }, u32::MAX), MINUTE);
    }
}
