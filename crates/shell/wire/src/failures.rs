//! How much may come without a valid signature. Only what fails before the MAC is counted, so nobody can lock out a good
//! key from its own address; and the memory of it has a bound, so that no flood can fill the receiver's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// So many failures in a row are answered in full.
const BURST: u32 = 20;
/// Afterwards one more for each of these (five per second).
const REFILL: Duration = Duration::from_millis(200);
/// So many addresses are known at a time.
const MOST: usize = 4096;

/// Who fails how often.
#[derive(Debug, Default)]
pub struct Failures(HashMap<IpAddr, Failing>);

#[derive(Debug, Clone, Copy)]
struct Failing {
    /// When all of it will be forgiven, in the receiver's uptime.
    forgiven: Duration,
    /// Whether the log was told that it is limited.
    is_told: bool,
}

/// What to do about one more failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer it and say why in the log.
    Answer,
    /// Limit it, and say so in the log.
    LimitFromNow,
    /// Limit it.
    Limit,
}

impl Failures {
    /// Counts a failure that came from `from` at `now` by a clock that never jumps.
    pub fn count(&mut self, from: IpAddr, now: Duration) -> Verdict {
        let from = network(from);
        if self.0.len() >= MOST && !self.0.contains_key(&from) {
            self.forget_the_quietest();
        }
        let failing = self.0.entry(from).or_insert(Failing { forgiven: now, is_told: false });
        if failing.forgiven <= now {
            *failing = Failing { forgiven: now, is_told: false };
        }
        if failing.forgiven + REFILL <= now + BURST * REFILL {
            failing.forgiven += REFILL;
            Verdict::Answer
        } else if std::mem::replace(&mut failing.is_told, true) {
            Verdict::Limit
        } else {
            Verdict::LimitFromNow
        }
    }

    /// Forgets a quarter at once, so that a flood from many addresses does not look for the quietest each time.
    fn forget_the_quietest(&mut self) {
        let mut times: Vec<Duration> = self.0.values().map(|failing| failing.forgiven).collect();
        let (_, last, _) = times.select_nth_unstable(MOST / 4);
        let last = *last;
        self.0.retain(|_, failing| failing.forgiven > last);
    }
}

/// One host has all the addresses of its IPv6 network; an IPv4 address has one form.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn host(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    /// What becomes of `count` failures in a row.
    fn burst(failures: &mut Failures, from: IpAddr, now: Duration, count: usize) -> Vec<Verdict> {
        (0..count).map(|_| failures.count(from, now)).collect()
    }

    #[test]
    fn twenty_at_once_and_five_per_second_are_answered() {
        let mut failures = Failures::default();
        let told = burst(&mut failures, host(1), SECOND, 23);
        assert_eq!(told[..20], [Verdict::Answer; 20]);
        assert_eq!(told[20..], [Verdict::LimitFromNow, Verdict::Limit, Verdict::Limit]);
        let later = burst(&mut failures, host(1), 2 * SECOND, 7);
        assert_eq!((&later[..5], &later[5..]), ([Verdict::Answer; 5].as_slice(), [Verdict::Limit; 2].as_slice()));
        assert_eq!(failures.count(host(2), 2 * SECOND), Verdict::Answer, "another address");
    }

    #[test]
    fn who_was_quiet_is_forgiven_and_told_of_anew() {
        let mut failures = Failures::default();
        burst(&mut failures, host(1), SECOND, 30);
        let later = burst(&mut failures, host(1), 5 * SECOND, 21);
        assert_eq!((later[19], later[20]), (Verdict::Answer, Verdict::LimitFromNow));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_ipv4_has_one_form() -> Result<(), std::net::AddrParseError> {
        let mut failures = Failures::default();
        let mut limited = |first: &str, second: &str| -> Result<bool, std::net::AddrParseError> {
            burst(&mut failures, first.parse()?, SECOND, 21);
            Ok(failures.count(second.parse()?, SECOND) == Verdict::Limit)
        };
        assert!(limited("2001:db8::1", "2001:db8::ffff:1")?);
        assert!(limited("::ffff:10.0.0.1", "10.0.0.1")?);
        assert!(!limited("2001:db8:0:1::1", "2001:db8:0:2::1")?);
        assert!(!limited("10.0.0.2", "10.0.0.3")?);
        Ok(())
    }

    #[test]
    fn a_flood_from_everywhere_takes_no_more_memory_and_does_not_free_who_floods_most() {
        let mut failures = Failures::default();
        let mut now = SECOND;
        for number in 1_000..101_000 {
            now += Duration::from_micros(20);
            failures.count(host(number), now);
            failures.count(host(1), now);
            assert!(failures.0.len() <= MOST);
        }
        assert_eq!(failures.count(host(1), now), Verdict::Limit);
    }
}
