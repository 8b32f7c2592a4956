//! One value as its envelope holds it: with when and by whom it was made, the revision that first used it, and how far a
//! rotation of it has come.

use pconf_names::RevisionId;
use pconf_platform::SecretKind;
use pconf_render::{LiveSecret, SecretValue};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::now;

/// One value and its history, as far as that is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Stored {
    /// What is used.
    pub(crate) value: SecretValue,
    pub(crate) made: Made,
    /// The first revision that it went into; nobody outside has seen it before.
    pub(crate) first_used: Option<RevisionId>,
    /// For a certificate that the platform's own authority has issued.
    pub(crate) leaf: Option<Leaf>,
    pub(crate) rotation: Option<Rotating>,
}

/// When and by whom the value that is used was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) by: String,
}

/// What a certificate of our own is for and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leaf {
    names: Vec<String>,
    /// Unix seconds.
    since: i64,
    until: i64,
}

/// A rotation that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotating {
    pub(crate) phase: Phase,
    /// The value besides the one that is used: the one that comes, then the one that goes.
    pub(crate) other: SecretValue,
    pub(crate) made: Made,
    /// The first revision in which everybody is at this phase; the next phase begins when every reader runs it. `None` until
    /// such a revision is published.
    pub(crate) gate: Option<RevisionId>,
}

/// How far a rotation has come. What comes after the last phase is no rotation any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// The old value is used, both are accepted.
    Announce,
    /// The new value is used, both are accepted.
    Switch,
}

impl Stored {
    /// A value that was just made or brought.
    pub(crate) fn new(value: SecretValue, by: &str) -> Self {
        Self { value, made: Made::now(by), first_used: None, leaf: None, rotation: None }
    }

    /// What templates see of it.
    pub(crate) fn live(&self) -> LiveSecret {
        LiveSecret { used: self.value.clone(), other: self.rotation.as_ref().map(|rotating| rotating.other.clone()) }
    }

    /// The same at the beginning of a rotation to `next`.
    pub(crate) fn announcing(&self, next: SecretValue, by: &str) -> Self {
        let rotation = Rotating { phase: Phase::Announce, other: next, made: Made::now(by), gate: None };
        Self { rotation: Some(rotation), ..self.clone() }
    }

    /// The same one phase on; `None` where no rotation is under way.
    pub(crate) fn advanced(&self) -> Option<Self> {
        let rotating = self.rotation.as_ref()?;
        Some(match rotating.phase {
            Phase::Announce => Self {
                value: rotating.other.clone(),
                made: rotating.made.clone(),
                rotation: Some(Rotating {
                    phase: Phase::Switch,
                    other: self.value.clone(),
                    made: rotating.made.clone(),
                    gate: None,
                }),
                ..self.clone()
            },
            Phase::Switch => Self { rotation: None, ..self.clone() },
        })
    }

    /// The same with the revision in which everybody is at the present phase; `None` where that is known or not asked.
    pub(crate) fn gated(&self, revision: RevisionId) -> Option<Self> {
        let rotating = self.rotation.as_ref().filter(|rotating| rotating.gate.is_none())?;
        Some(Self { rotation: Some(Rotating { gate: Some(revision), ..rotating.clone() }), ..self.clone() })
    }

    /// The same as if nobody had been told of the present phase in `revision`; `None` where nobody was.
    pub(crate) fn ungated(&self, revision: RevisionId) -> Option<Self> {
        let rotating = self.rotation.as_ref().filter(|rotating| rotating.gate == Some(revision))?;
        Some(Self { rotation: Some(Rotating { gate: None, ..rotating.clone() }), ..self.clone() })
    }

    /// Whether the value has the shape of that kind.
    pub(crate) fn fits(&self, kind: &SecretKind) -> bool {
        match (&self.value, kind) {
            (SecretValue::Certificate { .. }, SecretKind::Certificate { .. })
            | (SecretValue::Pair { .. }, SecretKind::P256 | SecretKind::Ed25519 | SecretKind::Rsa { .. }) => true,
            (SecretValue::Text(_), kind) => kind.is_text(),
            (SecretValue::Pair { .. } | SecretValue::Certificate { .. } | SecretValue::Public(_), _) => false,
        }
    }
}

impl Made {
    pub(crate) fn now(by: &str) -> Self {
        Self { at: now::to_the_second(), by: by.to_owned() }
    }
}

impl Leaf {
    pub(crate) fn new(names: &[String], now: OffsetDateTime, lifetime: Duration) -> Self {
        let since = now.unix_timestamp();
        Self { names: names.to_vec(), since, until: since + lifetime.whole_seconds() }
    }

    /// Whether another one is due: for other names, or because two thirds of its life are gone.
    pub(crate) fn is_due(&self, names: &[String], now: OffsetDateTime) -> bool {
        self.names != names || now.unix_timestamp() >= self.until - (self.until - self.since) / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_always_use_what_is_accepted_and_the_old_value_goes_last() -> Result<(), Box<dyn std::error::Error>> {
        let text = |text: &str| SecretValue::Text(text.to_owned());
        let steady = Stored::new(text("old"), "leader");
        let announced = steady.announcing(text("new"), "uid 0");
        let switched = announced.advanced().ok_or("there is a second phase")?;
        let retired = switched.advanced().ok_or("there is an end")?;
        let seen = [&steady, &announced, &switched, &retired].map(|stored| {
            let live = stored.live();
            let accepted = live.values().map(|value| value.verifying().to_owned()).collect::<Vec<_>>().join(" ");
            (live.used.verifying().to_owned(), accepted)
        });
        assert_eq!(
            seen.each_ref().map(|(used, accepted)| (used.as_str(), accepted.as_str())),
            [("old", "old"), ("old", "old new"), ("new", "new old"), ("new", "new")]
        );
        assert_eq!(retired.made.by, "uid 0");
        assert_eq!(retired.advanced(), None);
        let gated = switched.gated("1.7".parse()?).ok_or("it waits for its revision")?;
        assert_eq!(gated.gated("1.8".parse()?), None);
        assert_eq!(gated.advanced(), Some(retired));
        Ok(())
    }

    #[test]
    fn a_certificate_is_renewed_in_time_and_for_other_names() {
        let names = ["a.example".to_owned()];
        let start = OffsetDateTime::UNIX_EPOCH;
        let leaf = Leaf::new(&names, start, Duration::days(300));
        assert!(!leaf.is_due(&names, start + Duration::days(199)));
        assert!(leaf.is_due(&names, start + Duration::days(200)));
        assert!(leaf.is_due(&["b.example".to_owned()], start));
    }
}
