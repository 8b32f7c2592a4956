//! How a change reaches the machines: what `rollout` in `platform.json` says.
//!
//! It is the same for every template set, so its schema is a part of this crate and is laid over the set's own.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::{MachineName, RoleName, Span};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json_text::JsonText;
use crate::platform::Machine;
use crate::pointer;
use crate::problem::Problem;
use crate::role::RoleManifest;
use crate::suggest;

/// How a change reaches the machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Whether a saved, valid change goes out by itself.
    pub publish: Publish,
    /// A change of more machines needs the admin's word; of the whole platform.
    pub max_affected: Option<Amount>,
    /// They go first.
    pub canary: BTreeSet<MachineName>,
    /// Roles in their order; the others come last, together.
    pub order: Vec<RoleName>,
    /// How fast it goes, where the role says nothing.
    #[serde(flatten)]
    pub pace: Pace,
    /// So many machines may fail before the rollout halts.
    pub failures: u32,
    /// A machine that took the files and is neither done nor back after so long has failed.
    #[serde(with = "text")]
    pub give_up_after: Span,
    /// A machine that was not heard for so long is silent: nobody waits for it.
    #[serde(with = "text")]
    pub silent_after: Span,
    /// What those do that are done when the rollout halts.
    pub on_failure: OnFailure,
    /// How fast it goes by role.
    pub roles: BTreeMap<RoleName, Pace>,
}

/// Whether a saved, valid change goes out by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Publish {
    /// It does.
    #[default]
    Auto,
    /// It waits for `apply`.
    Manual,
}

/// What the machines do that are done when a rollout halts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They go back to what they ran before.
    #[default]
    Return,
    /// They stay where they are.
    Stay,
}

/// How fast a rollout goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pace {
    /// How many machines of a role are changed together; all without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Amount>,
    /// Between two batches.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_text")]
    pub pause: Option<Span>,
    /// For how long every service of a machine has to stay well.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_text")]
    pub healthy_for: Option<Span>,
    /// So many machines of a role may be on their way or not well at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Amount>,
}

/// A number of machines, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// So many.
    Machines(u32),
    /// So many of a hundred, written `25%`.
    #[serde(with = "percent")]
    Percent(u32),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            publish: Publish::Auto,
            max_affected: None,
            canary: BTreeSet::new(),
            order: Vec::new(),
            pace: Pace::default(),
            failures: 0,
            give_up_after: Span { seconds: 600 },
            silent_after: Span { seconds: 180 },
            on_failure: OnFailure::Return,
            roles: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// Where nothing is said of rollouts: every machine gets every revision at once, and what one makes of it concerns no other.
    #[must_use]
    pub fn at_once() -> Self {
        Self { failures: u32::MAX, on_failure: OnFailure::Stay, ..Self::default() }
    }

    /// Whether no machine ever waits for another one.
    #[must_use]
    pub fn waits_for_nobody(&self) -> bool {
        let is_limited = |pace: &Pace| pace.batch.is_some() || pace.pause.is_some() || pace.max_unavailable.is_some();
        let mut paces = self.roles.values().chain([&self.pace]);
        self.canary.is_empty() && self.order.is_empty() && !paces.any(is_limited)
    }

    /// How fast it goes for a role: what the role says, else what is said for all.
    #[must_use]
    pub fn pace_of(&self, role: &RoleName) -> Pace {
        let own = self.roles.get(role).cloned().unwrap_or_default();
        Pace {
            batch: own.batch.or(self.pace.batch),
            pause: own.pause.or(self.pace.pause),
            healthy_for: own.healthy_for.or(self.pace.healthy_for),
            max_unavailable: own.max_unavailable.or(self.pace.max_unavailable),
        }
    }
}

impl Amount {
    /// How many that is of `all`, rounded down, but one at least.
    #[must_use]
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Machines(number) => usize::try_from(number).unwrap_or(usize::MAX).max(1),
            Self::Percent(share) => (all * usize::try_from(share).unwrap_or(100) / 100).max(1),
        }
    }
}

/// The schema of `rollout`, laid over the set's own.
pub(crate) fn lay_over(schema: &mut Value) {
    let Ok(own) = serde_json::from_str::<Value>(include_str!("rollout.schema.json")) else {
        unreachable!("the schema of rollouts is JSON");
    };
    let amount = json!({
        "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 1_000_000 }, { "type": "string", "pattern": "^([1-9][0-9]?|100)%$" }]
    });
    let span = json!({ "type": "string", "pattern": "^[1-9][0-9]{0,5}[smhd]$" });
    if let Some(schema) = schema.as_object_mut() {
        for (place, parts) in
            [("properties", vec![("rollout", own)]), ("$defs", vec![("rolloutAmount", amount), ("rolloutSpan", span)])]
        {
            let known = schema.entry(place).or_insert_with(|| json!({}));
            if let Some(known) = known.as_object_mut() {
                known.extend(parts.into_iter().map(|(name, part)| (name.to_owned(), part)));
            }
        }
    }
}

/// What a document that satisfies the schema says, or which of its names do not exist.
pub(crate) fn check(
    rollout: Option<&Value>,
    json: &JsonText,
    machines: Option<&BTreeMap<MachineName, Machine>>,
    roles: &BTreeMap<RoleName, RoleManifest>,
) -> Result<Policy, Vec<Problem>> {
    let Some(rollout) = rollout else { return Ok(Policy::at_once()) };
    // What is of the wrong form the schema has told already.
    let Ok(policy) = serde_json::from_value::<Policy>(rollout.clone()) else { return Err(Vec::new()) };
    let mut problems = Vec::new();
    let known_roles: Vec<&str> = roles.keys().map(RoleName::as_str).collect();
    let unknown_role = |role: &RoleName, at: String| {
        let help = suggest::help(role.as_str(), &known_roles, "the template set has no roles");
        json.problem(&at, "unknown-role", format!("there is no role `{role}`"), help)
    };
    for (index, role) in policy.order.iter().enumerate().filter(|(_, role)| !roles.contains_key(*role)) {
        problems.push(unknown_role(role, format!("/rollout/order/{index}")));
    }
    for role in policy.roles.keys().filter(|role| !roles.contains_key(*role)) {
        problems.push(unknown_role(role, pointer::child("/rollout/roles", role.as_str())));
    }
    if let Some(machines) = machines {
        let known: Vec<&str> = machines.keys().map(MachineName::as_str).collect();
        let written = rollout.get("canary").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for (index, name) in written.enumerate().filter(|(_, name)| !known.contains(name)) {
            let help = suggest::help(name, &known, "no machine is declared");
            let at = format!("/rollout/canary/{index}");
            problems.push(json.problem(&at, "unknown-machine", format!("there is no machine `{name}`"), help));
        }
    }
    if problems.is_empty() { Ok(policy) } else { Err(problems) }
}

/// A length of time as people write it.
mod text {
    use std::borrow::Cow;

    use pconf_names::Span;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&span.exact())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// As [`text`], where there may be none.
mod optional_text {
    use pconf_names::Span;
    use serde::{Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(span: &Option<Span>, serializer: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::text::serialize(span, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
        super::text::deserialize(deserializer).map(Some)
    }
}

/// `25%`.
mod percent {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(share: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{share}%"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let share = text.strip_suffix('%').and_then(|number| number.parse().ok());
        share.ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no share, e.g. `25%`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_never_nothing() {
        assert_eq!([Amount::Machines(3).of(2), Amount::Percent(25).of(10), Amount::Percent(1).of(3)], [3, 2, 1]);
    }

    #[test]
    fn a_role_goes_at_its_own_pace_where_it_has_one() -> Result<(), Box<dyn std::error::Error>> {
        let policy: Policy = serde_json::from_value(json!({
            "batch": 5, "healthyFor": "90s", "giveUpAfter": "2m", "roles": { "core": { "batch": "20%", "pause": "1h" } }
        }))?;
        let own = policy.pace_of(&"core".parse()?);
        assert_eq!(
            (own.batch, own.pause, own.healthy_for, own.max_unavailable),
            (Some(Amount::Percent(20)), Some(Span { seconds: 3600 }), Some(Span { seconds: 90 }), None)
        );
        assert_eq!(policy.pace_of(&"www".parse()?), policy.pace);
        assert_eq!(policy.give_up_after.seconds, 120);
        assert_eq!(serde_json::from_value::<Policy>(serde_json::to_value(&policy)?)?, policy);
        Ok(())
    }
}
