//! What a plan follows from, as a hash: when any of it has moved, the plan is one of another platform.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use pconf_names::{Digest, MachineName, RevisionId};
use pconf_plan::Snapshot;
use pconf_platform::SecretId;

use crate::epoch;
use crate::folder::Folder;
use crate::inputs::Inputs;
use crate::secrets::Stored;

/// The parts of a hash, in order, as people call them.
const PARTS: [&str; 5] = ["settings", "templates", "secrets", "what machines are to have", "what machines have"];

/// Hexadecimal digits of each part: a plan is compared with now, never searched for.
const DIGITS: usize = 8;

/// A plan's hash: one part for each kind of thing that it follows from, so that a stale one tells what has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanHash([String; PARTS.len()]);

/// The text is no hash of a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no hash of a plan: `config-leader plan` prints one")]
pub(crate) struct InvalidPlanHash(String);

/// All that a plan follows from.
pub(super) struct Basis {
    settings: String,
    templates: String,
    secrets: String,
    epoch: u32,
    assigned: BTreeMap<MachineName, String>,
    told: BTreeMap<MachineName, String>,
}

impl Basis {
    /// Of the leader alone; machines are added one by one.
    pub(super) fn of(folder: &Folder, inputs: &Inputs) -> anyhow::Result<Self> {
        let looked = &inputs.looked;
        let version = |id: &SecretId| inputs.kept.get(id).map_or_else(|| "none".to_owned(), version);
        let secrets = looked.wanted.iter().map(|wanted| format!("{} {}\n", wanted.id, version(&wanted.id)));
        Ok(Self {
            settings: looked.text.clone(),
            templates: looked.templates.iter().fold(String::new(), |all, (path, of)| all + &format!("{of} {path}\n")),
            secrets: secrets.collect(),
            epoch: epoch::wanted(folder)?,
            assigned: BTreeMap::new(),
            told: BTreeMap::new(),
        })
    }

    /// What a machine is to have, and what it told.
    pub(super) fn machine(&mut self, name: &MachineName, assigned: Option<RevisionId>, told: Option<&Snapshot>) {
        let assigned = assigned.map_or_else(|| "none".to_owned(), |revision| revision.to_string());
        let told = told.map_or_else(|| "none".to_owned(), |snapshot| snapshot.digest().to_string());
        self.assigned.insert(name.clone(), assigned);
        self.told.insert(name.clone(), told);
    }

    pub(super) fn hash(&self) -> PlanHash {
        let lines = |of: &BTreeMap<MachineName, String>| {
            of.iter().fold(String::new(), |lines, (name, what)| lines + &format!("{name} {what}\n"))
        };
        let assigned = format!("epoch {}\n{}", self.epoch, lines(&self.assigned));
        let all = [&self.settings, &self.templates, &self.secrets, &assigned, &lines(&self.told)];
        PlanHash(all.map(|part| Digest::of(part.as_bytes()).to_string()[..DIGITS].to_owned()))
    }
}

/// What tells one value of a secret from another, without anything of the value.
fn version(stored: &Stored) -> String {
    let rotation = stored.rotation.as_ref().map(|rotating| format!(" {:?} {}", rotating.phase, rotating.made.at));
    // Two values may be made within one second, and not within one revision.
    let first = stored.first_used.map_or_else(|| "unused".to_owned(), |revision| revision.to_string());
    format!("{} {first}{}", stored.made.at, rotation.unwrap_or_default())
}

impl PlanHash {
    /// What has moved since `earlier`, as people call it; nothing where the plan still holds.
    pub(crate) fn moved_since(&self, earlier: &Self) -> Vec<&'static str> {
        let parts = self.0.iter().zip(&earlier.0).zip(PARTS);
        parts.filter(|((now, then), _)| now != then).map(|(_, what)| what).collect()
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("-"))
    }
}

impl FromStr for PlanHash {
    type Err = InvalidPlanHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part =
            |part: &&str| part.len() == DIGITS && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<String> = text.split('-').filter(is_part).map(str::to_owned).collect();
        let parts = parts.try_into().map_err(|_| InvalidPlanHash(text.to_owned()))?;
        let hash = Self(parts);
        if hash.to_string() == text { Ok(hash) } else { Err(InvalidPlanHash(text.to_owned())) }
    }
}

impl serde::Serialize for PlanHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PlanHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_its_text_form_and_tells_what_has_moved() -> anyhow::Result<()> {
        let machine: MachineName = "co1".parse()?;
        let basis = |settings: &str, told: &str| Basis {
            settings: settings.to_owned(),
            templates: String::new(),
            secrets: String::new(),
            epoch: 1,
            assigned: BTreeMap::new(),
            told: BTreeMap::from([(machine.clone(), told.to_owned())]),
        };
        let hash = basis("a", "b").hash();
        assert_eq!(hash.to_string()[..27], *"ca978112-e3b0c442-e3b0c442-");
        assert_eq!(hash.to_string().parse::<PlanHash>()?, hash);
        assert_eq!(basis("a", "b").hash().moved_since(&hash), [""; 0]);
        assert_eq!(basis("b", "a").hash().moved_since(&hash), ["settings", "what machines have"]);
        for bad in [
            "",
            "ca978112",
            "ca978112-e3b0c442-e3b0c442-e3b0c442-3e23e81g",
            "CA978112-e3b0c442-e3b0c442-e3b0c442-3e23e816",
        ] {
            assert!(bad.parse::<PlanHash>().is_err(), "{bad}");
        }
        Ok(())
    }
}
