//! The key versions of one machine through their lives. Decides only: clock, randomness and disk are its callers'.
//!
//! A version is given out once: what is dropped leaves its number behind. A version that was revoked keeps its key, so that
//! its follower can be told so under a signature.

use std::net::IpAddr;

use pconf_bundle::{EnrolmentKey, UnixSeconds};
use serde::{Deserialize, Serialize};

/// How long the key before is good for after the first use of the next one, in seconds.
const RETIRING: u64 = 24 * 3600;
/// A clock that was set back by more than this is not believed, in seconds.
const TOLERANCE: u64 = 30;

/// The key versions of one machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ring {
    /// The newest version that was ever given out.
    last: u32,
    /// Grows with whatever the follower is told about its keys.
    serial: u64,
    /// By version.
    keys: Vec<KeyVersion>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyVersion {
    pub(crate) version: u32,
    #[serde(serialize_with = "EnrolmentKey::serialize_text")]
    pub(crate) key: EnrolmentKey,
    #[serde(with = "seconds")]
    pub(crate) made: UnixSeconds,
    pub(crate) state: State,
}

/// What a version is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum State {
    /// It is in a string for `join`: good for `/enroll` only.
    Enrolling(Invitation),
    /// It was, and a machine has enrolled with it; whoever tries it again is somebody else.
    Spent(Term),
    /// Handed out, not used yet.
    Next(Origin),
    /// The one that is used.
    Active,
    /// The one before it.
    Retiring(Term),
    /// Good for nothing but a signed refusal.
    Revoked,
}

/// How a follower came to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// It enrolled: whatever key that machine had before belongs to somebody else from its first use on.
    Enrolment,
    /// It was told by the key before.
    Rotation,
}

/// A string for `join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invitation {
    pub(crate) term: Term,
    pub(crate) approval: Approval,
    /// Who used it first.
    pub(crate) guest: Option<Guest>,
    /// The version that was handed to it.
    pub(crate) handed: Option<u32>,
}

/// Whether the admin has to say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Approval {
    /// The string is enough.
    NotNeeded,
    /// Nothing is handed out before.
    Awaited,
    /// The admin has said yes.
    Given,
}

/// Who uses a string: the one with this id and this half of a key exchange, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guest {
    pub(crate) id: [u8; 16],
    pub(crate) ephemeral: [u8; 32],
    #[serde(with = "seconds")]
    pub(crate) at: UnixSeconds,
    pub(crate) from: IpAddr,
}

/// A stretch of time by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Term {
    #[serde(with = "seconds")]
    pub(crate) from: UnixSeconds,
    #[serde(with = "seconds")]
    pub(crate) until: UnixSeconds,
}

/// What becomes of somebody who uses a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Gets this version, now and each time it asks again.
    Handed(u32),
    /// Waits for the admin.
    Pending,
    /// Comes too late: somebody else used the string.
    Spent,
}

impl Term {
    pub(crate) fn starting(from: UnixSeconds, seconds: u64) -> Self {
        Self { from, until: from.plus(seconds) }
    }

    /// Whether it is over; so it is, too, when the clock shows a time before it began: it is never longer than it was said.
    pub(crate) fn is_over(self, now: UnixSeconds) -> bool {
        now >= self.until || now.plus(TOLERANCE) < self.from
    }
}

impl State {
    /// Until when it lasts, where that is certain.
    pub(crate) fn term(&self) -> Option<Term> {
        match self {
            Self::Enrolling(Invitation { term, .. }) | Self::Spent(term) | Self::Retiring(term) => Some(*term),
            Self::Next(_) | Self::Active | Self::Revoked => None,
        }
    }

    /// Whether a follower may ask for its configuration with it.
    pub(crate) fn is_live(&self) -> bool {
        match self {
            Self::Next(_) | Self::Active | Self::Retiring(_) => true,
            Self::Enrolling(_) | Self::Spent(_) | Self::Revoked => false,
        }
    }

    /// Whether there is something to revoke.
    pub(crate) fn is_good_for_something(&self) -> bool {
        self.is_live() || matches!(self, Self::Enrolling(_))
    }

    /// Its name, as people and programs read it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Enrolling(Invitation { approval: Approval::Awaited, guest: Some(_), .. }) => "waits for approval",
            Self::Enrolling(_) => "enrolling",
            Self::Spent(_) => "spent",
            Self::Next(_) => "next",
            Self::Active => "active",
            Self::Retiring(_) => "retiring",
            Self::Revoked => "revoked",
        }
    }
}

impl Ring {
    /// Every version that is known, oldest first.
    pub(crate) fn keys(&self) -> &[KeyVersion] {
        &self.keys
    }

    /// One version.
    pub(crate) fn get(&self, version: u32) -> Option<&KeyVersion> {
        self.keys.iter().find(|key| key.version == version)
    }

    /// The newest version that was ever given out.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// Changes with what the follower is told about its keys.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// The version that the follower is spoken to with: the one that it uses, else the one that it has.
    pub(crate) fn spoken(&self) -> Option<&KeyVersion> {
        let with = |wanted: fn(&State) -> bool| self.keys.iter().rev().find(move |key| wanted(&key.state));
        with(|state| *state == State::Active).or_else(|| with(|state| *state == State::Next(Origin::Enrolment)))
    }

    /// The version that the follower is told to use from now on.
    pub(crate) fn announced(&self) -> Option<&KeyVersion> {
        self.keys.iter().find(|key| key.state == State::Next(Origin::Rotation))
    }

    /// Gives out a version that is good at once; every earlier one is revoked.
    pub(crate) fn issue(&mut self, key: EnrolmentKey, now: UnixSeconds) -> u32 {
        self.revoke();
        self.add(key, now, State::Active)
    }

    /// Gives out a version for a string that is good for `seconds`; a string from before that is not spent dies.
    pub(crate) fn invite(&mut self, token: EnrolmentKey, now: UnixSeconds, seconds: u64, approval: Approval) -> u32 {
        self.uninvite();
        let term = Term::starting(now, seconds);
        self.add(token, now, State::Enrolling(Invitation { term, approval, guest: None, handed: None }))
    }

    /// Somebody uses a string. `fresh` is what is handed out the first time.
    pub(crate) fn admit(&mut self, version: u32, guest: &Guest, fresh: EnrolmentKey) -> Admission {
        let now = guest.at;
        let Some(invitation) = self.invitation(version) else { return Admission::Spent };
        let first = invitation.guest.get_or_insert_with(|| guest.clone());
        if (first.id, first.ephemeral) != (guest.id, guest.ephemeral) {
            return Admission::Spent;
        }
        match (invitation.approval, invitation.handed) {
            (Approval::Awaited, _) => Admission::Pending,
            (Approval::NotNeeded | Approval::Given, Some(handed)) => Admission::Handed(handed),
            (Approval::NotNeeded | Approval::Given, None) => {
                let handed = self.add(fresh, now, State::Next(Origin::Enrolment));
                if let Some(invitation) = self.invitation(version) {
                    invitation.handed = Some(handed);
                }
                Admission::Handed(handed)
            }
        }
    }

    /// The admin says yes to whoever waits. `None` where nobody does.
    pub(crate) fn approve(&mut self) -> Option<Guest> {
        self.keys.iter_mut().find_map(|key| match &mut key.state {
            State::Enrolling(Invitation { approval, guest: Some(guest), .. }) if *approval == Approval::Awaited => {
                *approval = Approval::Given;
                Some(guest.clone())
            }
            _ => None,
        })
    }

    /// Announces another version. One that is announced already stays; `None` where no version is in use that could
    /// carry the word.
    pub(crate) fn rotate(&mut self, fresh: EnrolmentKey, now: UnixSeconds) -> Option<u32> {
        if let Some(announced) = self.announced() {
            return Some(announced.version);
        }
        if !self.is_in_use() {
            return None;
        }
        // A third one would only be one more to lose.
        self.keys.retain(|key| !matches!(key.state, State::Retiring(_)));
        self.serial += 1;
        Some(self.add(fresh, now, State::Next(Origin::Rotation)))
    }

    /// A good request came with this version: what was before it ends, at once or in a while.
    pub(crate) fn prove(&mut self, version: u32, now: UnixSeconds) {
        let Some(State::Next(origin)) = self.get(version).map(|key| key.state.clone()) else { return };
        for key in &mut self.keys {
            key.state = match (std::mem::replace(&mut key.state, State::Revoked), origin) {
                _ if key.version == version => State::Active,
                (State::Active, Origin::Rotation) => State::Retiring(Term::starting(now, RETIRING)),
                (State::Enrolling(invitation), _) if invitation.handed == Some(version) => {
                    State::Spent(invitation.term)
                }
                // Whoever enrolled takes the place of whoever has the keys from before.
                (State::Active | State::Next(_) | State::Retiring(_), Origin::Enrolment) => State::Revoked,
                (other, _) => other,
            };
        }
        self.serial += 1;
    }

    /// Ends everything that is good for something; how many versions that were.
    pub(crate) fn revoke(&mut self) -> usize {
        self.uninvite();
        let live = self.keys.iter_mut().filter(|key| key.state.is_live());
        let revoked = live.map(|key| key.state = State::Revoked).count();
        self.serial += u64::from(revoked > 0);
        revoked
    }

    /// Drops what is over by now. `true` where there was something.
    pub(crate) fn sweep(&mut self, is_over: impl Fn(&KeyVersion) -> bool) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| !is_over(key));
        before != self.keys.len()
    }

    /// Whether a version is used that another one could be announced to.
    pub(crate) fn is_in_use(&self) -> bool {
        self.keys.iter().any(|key| key.state == State::Active)
    }

    /// Whether the version in use is so many seconds old, and none is announced to follow it.
    pub(crate) fn is_due(&self, seconds: u64, now: UnixSeconds) -> bool {
        let active = self.keys.iter().find(|key| key.state == State::Active);
        self.announced().is_none() && active.is_some_and(|active| now >= active.made.plus(seconds))
    }

    fn uninvite(&mut self) {
        self.keys.retain(|key| !matches!(key.state, State::Enrolling(_)));
    }

    fn invitation(&mut self, version: u32) -> Option<&mut Invitation> {
        self.keys.iter_mut().find_map(|key| match &mut key.state {
            State::Enrolling(invitation) if key.version == version => Some(invitation),
            _ => None,
        })
    }

    fn add(&mut self, key: EnrolmentKey, made: UnixSeconds, state: State) -> u32 {
        self.last += 1;
        self.keys.push(KeyVersion { version: self.last, key, made, state });
        self.last
    }
}

/// Unix seconds as a number.
mod seconds {
    use pconf_bundle::UnixSeconds;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(super) fn serialize<S: Serializer>(seconds: &UnixSeconds, serializer: S) -> Result<S::Ok, S::Error> {
        seconds.0.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixSeconds, D::Error> {
        u64::deserialize(deserializer).map(UnixSeconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const HOUR: u64 = 3600;

    fn key(byte: u8) -> EnrolmentKey {
        EnrolmentKey::from([byte; 32])
    }

    fn guest(id: u8) -> Guest {
        Guest { id: [id; 16], ephemeral: [id; 32], at: NOW, from: IpAddr::from([10, 0, 0, id]) }
    }

    fn states(ring: &Ring) -> Vec<(u32, &'static str)> {
        ring.keys().iter().map(|key| (key.version, key.state.name())).collect()
    }

    #[test]
    fn a_rotation_lets_the_key_before_live_on_for_a_day_and_a_new_one_ends_that() {
        let mut ring = Ring::default();
        ring.issue(key(1), NOW);
        assert_eq!(ring.rotate(key(2), NOW), Some(2));
        assert_eq!(ring.rotate(key(9), NOW), Some(2), "what is announced is announced once");
        assert_eq!(states(&ring), [(1, "active"), (2, "next")]);
        ring.prove(2, NOW);
        assert_eq!(states(&ring), [(1, "retiring"), (2, "active")]);
        let over = |now: UnixSeconds| move |key: &KeyVersion| key.state.term().is_some_and(|term| term.is_over(now));
        assert!(!ring.clone().sweep(over(NOW.plus(RETIRING - 1))));
        assert!(ring.clone().sweep(over(NOW.plus(RETIRING))));
        assert!(ring.clone().sweep(over(NOW.minus(HOUR))), "a clock that was set back makes nothing longer");
        assert_eq!(ring.rotate(key(3), NOW), Some(3));
        assert_eq!(states(&ring), [(2, "active"), (3, "next")]);
    }

    #[test]
    fn a_key_that_was_never_used_does_not_rotate() {
        let mut ring = Ring::default();
        assert_eq!(ring.rotate(key(1), NOW), None);
        let version = ring.invite(key(1), NOW, HOUR, Approval::NotNeeded);
        ring.admit(version, &guest(1), key(2));
        assert_eq!(ring.rotate(key(3), NOW), None);
    }

    #[test]
    fn a_string_gives_one_guest_one_key_and_is_spent_for_every_other() {
        let mut ring = Ring::default();
        let version = ring.invite(key(1), NOW, HOUR, Approval::NotNeeded);
        assert_eq!(ring.admit(version, &guest(1), key(2)), Admission::Handed(2));
        assert_eq!(ring.admit(version, &guest(1), key(3)), Admission::Handed(2));
        assert_eq!(ring.admit(version, &guest(2), key(4)), Admission::Spent);
        let other_half = Guest { ephemeral: [9; 32], ..guest(1) };
        assert_eq!(ring.admit(version, &other_half, key(4)), Admission::Spent);
        ring.prove(2, NOW);
        assert_eq!(states(&ring), [(1, "spent"), (2, "active")]);
        assert_eq!(ring.admit(version, &guest(1), key(5)), Admission::Spent);
    }

    #[test]
    fn a_string_that_wants_approval_hands_nothing_out_before() {
        let mut ring = Ring::default();
        let version = ring.invite(key(1), NOW, HOUR, Approval::Awaited);
        assert_eq!(ring.approve(), None, "nobody waits yet");
        assert_eq!(ring.admit(version, &guest(1), key(2)), Admission::Pending);
        assert_eq!(ring.admit(version, &guest(2), key(2)), Admission::Spent);
        assert_eq!(ring.approve(), Some(guest(1)));
        assert_eq!(ring.admit(version, &guest(1), key(2)), Admission::Handed(2));
    }

    #[test]
    fn who_enrols_anew_takes_the_place_of_the_keys_from_before() {
        let mut ring = Ring::default();
        ring.issue(key(1), NOW);
        ring.rotate(key(2), NOW);
        let unused = ring.invite(key(3), NOW, HOUR, Approval::NotNeeded);
        let version = ring.invite(key(4), NOW, HOUR, Approval::NotNeeded);
        assert_eq!(ring.admit(unused, &guest(1), key(5)), Admission::Spent, "the string before died");
        assert_eq!(ring.admit(version, &guest(1), key(5)), Admission::Handed(5));
        assert_eq!(states(&ring), [(1, "active"), (2, "next"), (4, "enrolling"), (5, "next")]);
        ring.prove(5, NOW);
        assert_eq!(states(&ring), [(1, "revoked"), (2, "revoked"), (4, "spent"), (5, "active")]);
    }

    #[test]
    fn a_version_is_never_given_out_twice() {
        let mut ring = Ring::default();
        ring.issue(key(1), NOW);
        ring.invite(key(2), NOW, HOUR, Approval::NotNeeded);
        assert_eq!(ring.revoke(), 1);
        assert_eq!(states(&ring), [(1, "revoked")]);
        assert_eq!(ring.issue(key(3), NOW), 3);
    }

    #[test]
    fn a_ring_survives_its_text() -> serde_json::Result<()> {
        let mut ring = Ring::default();
        ring.issue(key(1), NOW);
        let version = ring.invite(key(2), NOW, HOUR, Approval::NotNeeded);
        ring.admit(version, &guest(1), key(3));
        let text = serde_json::to_string(&ring)?;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Ring>(&text)?)?, text);
        Ok(())
    }
}
