//! Each request counts once: the time window, the nonces seen in it, and what a restart forgets.
//!
//! A nonce is remembered until its request is too old to be accepted. What is not remembered (requests of an earlier
//! life, purged nonces) lies below a floor, so that no step of the clock can make it acceptable again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::time::Duration;

use super::parameters::RequestParameters;
use super::request::Rejection;
use crate::keys::KeyId;
use crate::time::{Moment, UnixSeconds};

/// How far two clocks may be apart, in seconds.
const TOLERANCE: u64 = 30;
/// The longest life of a request, in seconds.
const LONGEST_LIFE: u64 = 60;
/// How often all keys are purged, in seconds.
const PURGE_EVERY: u64 = 10;

/// How many nonces are remembered before new requests are refused as overload; live ones are never forgotten.
/// One takes about 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Of one key.
    pub per_key: usize,
    /// Of all keys together.
    pub in_all: usize,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self { per_key: 16_384, in_all: 262_144 }
    }
}

/// What was accepted lately, by key.
#[derive(Debug)]
pub struct ReplayGuard {
    limits: ReplayLimits,
    start: UnixSeconds,
    last: Moment,
    purged: UnixSeconds,
    remembered: usize,
    by_key: HashMap<KeyId, Accepted>,
}

#[derive(Debug, Default)]
struct Accepted {
    /// Only what was created after this is accepted: it covers all that is no longer remembered.
    floor: UnixSeconds,
    /// By a keyed hash of their text that nobody else can tell: every entry takes the same little room.
    nonces: HashMap<u64, Life>,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    created: UnixSeconds,
    expires: UnixSeconds,
}

impl ReplayGuard {
    /// A guard for a process that starts at `now`. `ahead` is what earlier lives persisted: by key, the newest accepted
    /// request that was ahead of the clock.
    #[must_use]
    pub fn new(limits: ReplayLimits, now: Moment, ahead: BTreeMap<KeyId, UnixSeconds>) -> Self {
        let by_key = ahead.into_iter().map(|(key, floor)| (key, Accepted { floor, nonces: HashMap::new() })).collect();
        Self { limits, start: now.wall, last: now, purged: now.wall, remembered: 0, by_key }
    }

    /// Accepts a request once. `Ok(true)` when it was created ahead of the clock: then a restart would forget it too
    /// early, and its `created` has to be persisted before it is answered.
    pub(super) fn admit(&mut self, now: Moment, request: &RequestParameters) -> Result<bool, Rejection> {
        self.look_at_the_clock(now);
        let now = now.wall;
        let life = Life { created: request.created, expires: request.expires };
        if !life.is_within(now) || life.created <= self.start {
            return Err(Rejection::ClockSkew);
        }
        let accepted = match self.by_key.get_mut(&request.key_id) {
            Some(accepted) => accepted,
            None => self.by_key.entry(request.key_id.clone()).or_default(),
        };
        if life.created <= accepted.floor {
            return Err(Rejection::ClockSkew);
        }
        let nonce = accepted.nonces.hasher().hash_one(request.nonce.as_str());
        let is_full = accepted.nonces.len() >= self.limits.per_key || self.remembered >= self.limits.in_all;
        match accepted.nonces.entry(nonce) {
            Entry::Occupied(_) => return Err(Rejection::Replayed),
            Entry::Vacant(_) if is_full => return Err(Rejection::Overloaded),
            Entry::Vacant(place) => place.insert(life),
        };
        self.remembered += 1;
        Ok(life.created > now)
    }

    fn look_at_the_clock(&mut self, now: Moment) {
        let passed = now.uptime.saturating_sub(self.last.uptime);
        let jumped_ahead = now.wall > self.last.wall.plus((passed + Duration::from_secs(TOLERANCE)).as_secs());
        let fell_behind = self.last.wall > now.wall.plus(TOLERANCE);
        if jumped_ahead || fell_behind {
            // The clock was wrong until now, so what it said at the start was wrong as well: count from here. What this
            // life accepted is still remembered, or lies below its key's floor.
            self.start = now.wall;
        }
        self.last = now;
        // A clock that was set back must not stop the purge for as long as it was ahead.
        if now.wall >= self.purged.plus(PURGE_EVERY) || now.wall < self.purged {
            self.purge(now.wall);
        }
    }

    fn purge(&mut self, now: UnixSeconds) {
        for Accepted { floor, nonces } in self.by_key.values_mut() {
            nonces.retain(|_, life| {
                let live = life.is_remembered(now);
                if !live {
                    *floor = life.created.max(*floor);
                }
                live
            });
            // A burst must not hold its memory for ever.
            if nonces.capacity() > 64 && nonces.len() < nonces.capacity() / 4 {
                nonces.shrink_to_fit();
            }
        }
        self.remembered = self.by_key.values().map(|accepted| accepted.nonces.len()).sum();
        self.purged = now;
    }
}

impl Life {
    fn is_within(self, now: UnixSeconds) -> bool {
        self.created <= self.expires
            && self.expires <= self.created.plus(LONGEST_LIFE)
            && self.created <= now.plus(TOLERANCE)
            && now <= self.expires.plus(TOLERANCE)
    }

    fn is_remembered(self, now: UnixSeconds) -> bool {
        now <= self.expires.plus(TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000;

    fn at(wall: u64) -> Moment {
        Moment { wall: UnixSeconds(wall), uptime: Duration::from_secs(wall - 1_799_000_000) }
    }

    fn guard(limits: ReplayLimits) -> ReplayGuard {
        ReplayGuard::new(limits, at(START), BTreeMap::new())
    }

    fn request(key_id: &str, created: u64, expires: u64, nonce: u8) -> RequestParameters {
        RequestParameters {
            created: UnixSeconds(created),
            expires: UnixSeconds(expires),
            nonce: super::super::Nonce::from_random([nonce; 16]),
            key_id: key_id.parse().unwrap_or_else(|_| unreachable!("test keys are well-formed")),
        }
    }

    #[test]
    fn the_window_has_sharp_edges() {
        let created = START + 1000;
        for (now, expected) in [
            (created - 31, Err(Rejection::ClockSkew)),
            (created - 30, Ok(true)),
            (created, Ok(false)),
            (created + 90, Ok(false)),
            (created + 91, Err(Rejection::ClockSkew)),
        ] {
            let outcome = guard(ReplayLimits::default()).admit(at(now), &request("co1.1", created, created + 60, 1));
            assert_eq!(outcome, expected, "at {now}");
        }
    }

    #[test]
    fn a_life_is_between_nothing_and_a_minute() {
        let now = START + 1000;
        for (expires, expected) in [(now - 1, false), (now, true), (now + 60, true), (now + 61, false)] {
            let outcome = guard(ReplayLimits::default()).admit(at(now), &request("co1.1", now, expires, 1));
            assert_eq!(outcome.is_ok(), expected, "until {expires}");
        }
    }

    #[test]
    fn a_nonce_counts_once_per_key() {
        let mut guard = guard(ReplayLimits::default());
        let now = START + 10;
        let first = request("co1.1", now, now + 60, 1);
        assert_eq!(guard.admit(at(now), &first), Ok(false));
        assert_eq!(guard.admit(at(now), &first), Err(Rejection::Replayed));
        assert_eq!(guard.admit(at(now), &request("co2.1", now, now + 60, 1)), Ok(false));
        assert_eq!(guard.admit(at(now + 90), &first), Err(Rejection::Replayed));
    }

    #[test]
    fn nothing_of_an_earlier_life_is_accepted() {
        let ahead = BTreeMap::from([(request("co1.1", 0, 0, 0).key_id, UnixSeconds(START + 20))]);
        let mut guard = ReplayGuard::new(ReplayLimits::default(), at(START), ahead);
        for (key, created, accepted) in [
            ("co2.1", START, false),
            ("co2.1", START + 1, true),
            ("co1.1", START + 20, false),
            ("co1.1", START + 21, true),
        ] {
            assert_eq!(
                guard.admit(at(START + 1), &request(key, created, created + 60, 1)).is_ok(),
                accepted,
                "{created}"
            );
        }
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing_back() {
        let mut guard = guard(ReplayLimits::default());
        let now = START + 100;
        let seen = request("co1.1", now, now + 60, 1);
        assert_eq!(guard.admit(at(now), &seen), Ok(false));
        assert_eq!(guard.admit(at(now + 200), &request("co1.1", now + 200, now + 260, 2)), Ok(false));
        let back = Moment { wall: UnixSeconds(now + 5), ..at(now + 201) };
        assert_eq!(guard.admit(back, &seen), Err(Rejection::ClockSkew));
        assert_eq!(guard.admit(back, &request("co1.1", now + 6, now + 66, 3)), Ok(true));
    }

    #[test]
    fn a_jump_forward_counts_as_a_restart() {
        let mut guard = guard(ReplayLimits::default());
        let jumped = Moment { wall: UnixSeconds(START + 3600), ..at(START + 10) };
        assert_eq!(guard.admit(jumped, &request("co1.1", START + 3600, START + 3660, 1)), Err(Rejection::ClockSkew));
        assert_eq!(guard.admit(jumped, &request("co1.1", START + 3601, START + 3661, 1)), Ok(true));
    }

    #[test]
    fn a_clock_that_is_corrected_backwards_counts_as_a_restart() {
        let hour = 3600;
        let mut guard = guard(ReplayLimits::default());
        for (wall, uptime, key, created, nonce, expected) in [
            // The clock is an hour ahead from the start, and so is one follower's.
            (START + 10, 10, "co1.1", START + 10, 1, Ok(false)),
            // It is corrected: everybody's time is below that of the start, and is accepted nevertheless.
            (START - hour + 20, 20, "co2.1", START - hour + 20, 1, Err(Rejection::ClockSkew)),
            (START - hour + 21, 21, "co2.1", START - hour + 21, 1, Ok(false)),
            (START - hour + 21, 21, "co2.1", START - hour + 21, 1, Err(Rejection::Replayed)),
            // A small step back changes nothing.
            (START - hour + 19, 22, "co2.1", START - hour + 22, 2, Ok(true)),
            (START - hour + 19, 22, "co2.1", START - hour + 20, 3, Err(Rejection::ClockSkew)),
            // An hour later, what was accepted before the correction is still known.
            (START + 10, hour + 10, "co1.1", START + 10, 1, Err(Rejection::Replayed)),
            (START + 11, hour + 11, "co1.1", START + 11, 2, Ok(false)),
        ] {
            let now = Moment { wall: UnixSeconds(wall), uptime: at(START + uptime).uptime };
            assert_eq!(guard.admit(now, &request(key, created, created + 60, nonce)), expected, "at {wall}, {created}");
        }
    }

    #[test]
    fn a_full_memory_refuses_and_forgets_nothing() {
        let mut guard = guard(ReplayLimits { per_key: 2, in_all: 3 });
        let now = START + 10;
        let mut ask = |key: &str, nonce, now| guard.admit(at(now), &request(key, now, now + 60, nonce));
        assert_eq!(ask("co1.1", 1, now), Ok(false));
        assert_eq!(ask("co1.1", 2, now), Ok(false));
        assert_eq!(ask("co1.1", 3, now), Err(Rejection::Overloaded));
        assert_eq!(ask("co1.1", 1, now), Err(Rejection::Replayed));
        assert_eq!(ask("co2.1", 1, now), Ok(false));
        assert_eq!(ask("co3.1", 1, now), Err(Rejection::Overloaded));
        assert_eq!(ask("co3.1", 1, now + 91), Ok(false));
    }
}
