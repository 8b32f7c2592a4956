//! The keys that this machine shares with its leader, and how one follows the other.
//!
//! One key is active; beside it there is at most one more: the next one, which the leader has handed out and nobody has
//! used yet, or the one before, for as long as the leader may not have heard of the change. Every change is a new ring,
//! so that whoever has to make it durable first holds both.

use std::fmt;
use std::sync::Arc;

use pconf_bundle::{EnrolmentKey, KeyId, Keys, UnixSeconds};
use pconf_names::MachineName;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

/// The live keys of one machine.
#[derive(Clone)]
pub struct Ring {
    active: Live,
    beside: Option<Beside>,
}

#[derive(Clone)]
struct Live {
    key: EnrolmentKey,
    keys: Arc<Keys>,
}

#[derive(Clone)]
enum Beside {
    /// Handed out and not used yet.
    Next(Live),
    /// The one before; the leader needs it until then at most.
    Retiring(Live, UnixSeconds),
}

impl Live {
    fn new(machine: &MachineName, version: u32, key: EnrolmentKey) -> Self {
        let keys = Keys::derive(KeyId { machine: machine.clone(), version }, &key);
        Self { key, keys: Arc::new(keys) }
    }

    fn is(&self, version: u32, key: &EnrolmentKey) -> bool {
        self.keys.id().version == version && self.key == *key
    }
}

impl Ring {
    /// The ring of a machine that has one key.
    #[must_use]
    pub fn new(machine: &MachineName, version: u32, key: EnrolmentKey) -> Self {
        Self { active: Live::new(machine, version, key), beside: None }
    }

    /// Whose keys these are.
    #[must_use]
    pub fn machine(&self) -> &MachineName {
        &self.active.keys.id().machine
    }

    /// The key to ask with: the next one, as soon as there is one.
    #[must_use]
    pub fn asking(&self) -> &Arc<Keys> {
        match &self.beside {
            Some(Beside::Next(next)) => &next.keys,
            Some(Beside::Retiring(..)) | None => &self.active.keys,
        }
    }

    /// The one to ask with once where the other is not known.
    #[must_use]
    pub fn other(&self) -> Option<&Arc<Keys>> {
        match &self.beside {
            Some(Beside::Next(_)) => Some(&self.active.keys),
            Some(Beside::Retiring(before, _)) => Some(&before.keys),
            None => None,
        }
    }

    /// Every live key.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Keys>> {
        [Some(self.asking()), self.other()].into_iter().flatten()
    }

    /// The live key of that id.
    #[must_use]
    pub fn find(&self, id: &KeyId) -> Option<&Arc<Keys>> {
        self.live().find(|keys| keys.id() == id)
    }

    /// The key that no ring after this one has: what only it opens has to be sealed anew before.
    #[must_use]
    pub fn retiring(&self) -> Option<&Arc<Keys>> {
        match &self.beside {
            Some(Beside::Retiring(before, _)) => Some(&before.keys),
            Some(Beside::Next(_)) | None => None,
        }
    }

    /// The ring with the key that the leader hands out as the next one, in an answer to `asked`; `None` where that is no
    /// news.
    ///
    /// Only the active key can say it: the one before is taken for an answer, and for nothing that lasts.
    #[must_use]
    pub fn with_next(&self, asked: &KeyId, version: u32, key: &EnrolmentKey) -> Option<Self> {
        let active = self.active.keys.id();
        let is_known = matches!(&self.beside, Some(Beside::Next(next)) if next.is(version, key));
        if asked != active || version <= active.version || is_known {
            return None;
        }
        let next = Live::new(self.machine(), version, key.clone());
        Some(Self { active: self.active.clone(), beside: Some(Beside::Next(next)) })
    }

    /// The ring after the leader has answered to the next key; `None` where `asked` is another one.
    #[must_use]
    pub fn with_proven(&self, asked: &KeyId, until: UnixSeconds) -> Option<Self> {
        match &self.beside {
            Some(Beside::Next(next)) if next.keys.id() == asked => {
                Some(Self { active: next.clone(), beside: Some(Beside::Retiring(self.active.clone(), until)) })
            }
            Some(Beside::Next(_) | Beside::Retiring(..)) | None => None,
        }
    }

    /// The ring without the key before, once its time is over; `None` until then.
    #[must_use]
    pub fn without_retired(&self, now: UnixSeconds) -> Option<Self> {
        match &self.beside {
            Some(Beside::Retiring(_, until)) if *until <= now => {
                Some(Self { active: self.active.clone(), beside: None })
            }
            Some(Beside::Next(_) | Beside::Retiring(..)) | None => None,
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beside = match &self.beside {
            Some(Beside::Next(next)) => format!(", next {}", next.keys.id()),
            Some(Beside::Retiring(before, until)) => format!(", retiring {} until {until}", before.keys.id()),
            None => String::new(),
        };
        write!(f, "Ring({}{beside})", self.active.keys.id())
    }
}

/// A ring as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    pub(crate) machine: MachineName,
    keys: Vec<WrittenKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    version: u32,
    #[serde(serialize_with = "EnrolmentKey::serialize_text")]
    key: EnrolmentKey,
    state: State,
    /// Unix seconds; of a retiring one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Active,
    Next,
    Retiring,
}

impl Serialize for Ring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = |live: &Live, state, until| WrittenKey {
            version: live.keys.id().version,
            key: live.key.clone(),
            state,
            until,
        };
        let mut keys = vec![written(&self.active, State::Active, None)];
        keys.extend(self.beside.as_ref().map(|beside| match beside {
            Beside::Next(next) => written(next, State::Next, None),
            Beside::Retiring(before, until) => written(before, State::Retiring, Some(until.0)),
        }));
        Written { machine: self.machine().clone(), keys }.serialize(serializer).map_err(S::Error::custom)
    }
}

impl Written {
    /// The ring; `None` where it is none: without an active key, or with more keys than a machine has.
    pub(crate) fn ring(self) -> Option<Ring> {
        let (mut active, mut beside) = (None, None);
        for WrittenKey { version, key, state, until } in self.keys {
            let live = Live::new(&self.machine, version, key);
            let is_second = match state {
                State::Active => active.replace(live).is_some(),
                State::Next => beside.replace(Beside::Next(live)).is_some(),
                // Where nobody says how long, the time is over.
                State::Retiring => beside.replace(Beside::Retiring(live, UnixSeconds(until.unwrap_or(0)))).is_some(),
            };
            if is_second {
                return None;
            }
        }
        Some(Ring { active: active?, beside })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn key(byte: u8) -> EnrolmentKey {
        [byte; 32].into()
    }

    fn id(version: u32) -> Result<KeyId, Box<dyn std::error::Error>> {
        Ok(format!("co1.{version}").parse()?)
    }

    fn said(ring: Option<&Ring>) -> String {
        ring.map_or_else(|| "as before".to_owned(), |ring| format!("{ring:?}"))
    }

    #[test]
    fn one_key_follows_the_other() -> Outcome {
        let first = Ring::new(&"co1".parse()?, 1, key(1));
        let handed = first.with_next(&id(1)?, 2, &key(2)).ok_or("it is news")?;
        let proven = handed.with_proven(&id(2)?, UnixSeconds(90)).ok_or("it is proven")?;
        let gone = proven.without_retired(UnixSeconds(90)).ok_or("it is over")?;
        let asking = |ring: &Ring| (ring.asking().id().version, ring.other().map(|keys| keys.id().version));
        assert_eq!(
            [&first, &handed, &proven, &gone].map(|ring| (said(Some(ring)), asking(ring))),
            [
                ("Ring(co1.1)".to_owned(), (1, None)),
                ("Ring(co1.1, next co1.2)".to_owned(), (2, Some(1))),
                ("Ring(co1.2, retiring co1.1 until 90)".to_owned(), (2, Some(1))),
                ("Ring(co1.2)".to_owned(), (2, None)),
            ]
        );
        Ok(())
    }

    #[test]
    fn what_is_no_news_changes_nothing() -> Outcome {
        let ring = Ring::new(&"co1".parse()?, 3, key(3));
        // Older, or the same.
        for version in [0, 2, 3] {
            assert_eq!(said(ring.with_next(&id(3)?, version, &key(4)).as_ref()), "as before");
        }
        assert_eq!(said(ring.with_proven(&id(3)?, UnixSeconds(9)).as_ref()), "as before");
        assert_eq!(said(ring.without_retired(UnixSeconds(9)).as_ref()), "as before");
        let handed = ring.with_next(&id(3)?, 4, &key(4)).ok_or("it is news")?;
        assert_eq!(said(handed.with_next(&id(3)?, 4, &key(4)).as_ref()), "as before");
        assert_eq!(said(handed.with_proven(&id(3)?, UnixSeconds(9)).as_ref()), "as before");
        // A leader that lost what it had handed out hands out something else under the same number.
        assert_eq!(said(handed.with_next(&id(3)?, 4, &key(5)).as_ref()), "Ring(co1.3, next co1.4)");
        Ok(())
    }

    #[test]
    fn the_key_before_says_nothing_that_lasts_and_goes_with_the_next_one() -> Outcome {
        let ring = Ring::new(&"co1".parse()?, 1, key(1)).with_next(&id(1)?, 2, &key(2)).ok_or("news")?;
        let ring = ring.with_proven(&id(2)?, UnixSeconds(90)).ok_or("proven")?;
        assert_eq!(said(ring.with_next(&id(1)?, 3, &key(3)).as_ref()), "as before");
        assert_eq!(said(ring.with_next(&id(2)?, 3, &key(3)).as_ref()), "Ring(co1.2, next co1.3)");
        assert_eq!(said(ring.without_retired(UnixSeconds(89)).as_ref()), "as before");
        Ok(())
    }

    #[test]
    fn a_ring_comes_back_from_its_text() -> Outcome {
        let ring = Ring::new(&"co1".parse()?, 1, key(1)).with_next(&id(1)?, 2, &key(2)).ok_or("news")?;
        let retiring = ring.with_proven(&id(2)?, UnixSeconds(90)).ok_or("proven")?;
        for ring in [ring, retiring] {
            let text = serde_json::to_string(&ring)?;
            let back = serde_json::from_str::<Written>(&text)?.ring().ok_or("no ring")?;
            assert_eq!((format!("{back:?}"), serde_json::to_string(&back)?), (format!("{ring:?}"), text));
        }
        let key = key(1).to_text();
        let entry = |state: &str| format!(r#"{{"version":1,"key":"{}","state":"{state}"}}"#, *key);
        for keys in [vec![], vec!["next"], vec!["active", "active"], vec!["active", "next", "retiring"]] {
            let keys: Vec<String> = keys.into_iter().map(entry).collect();
            let text = format!(r#"{{"machine":"co1","keys":[{}]}}"#, keys.join(","));
            assert!(serde_json::from_str::<Written>(&text)?.ring().is_none(), "{}", keys.len());
        }
        Ok(())
    }
}
