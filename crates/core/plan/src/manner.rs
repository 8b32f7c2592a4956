//! How one container takes changes: what the set says about its service, and what its own labels say.

use std::collections::BTreeSet;

use pconf_bundle::{Bundle, Check, Health, OnChange, ServiceRule};
use pconf_names::RelativePath;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::observed::Container;

/// How long an external step may take where nothing is said, in seconds.
const USUAL_LIMIT: u32 = 60;

/// How one container takes changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// How it takes a change of a file that does not say so itself.
    pub on_change: OnChange,
    /// What has to succeed before any of its files is replaced.
    pub check: Option<Check>,
    /// How its health is seen, where it is not by the image's HEALTHCHECK or by running on.
    pub health: Option<Health>,
    /// The services that it goes after.
    pub after: BTreeSet<String>,
    /// The services whose addresses it keeps.
    pub upstreams: BTreeSet<String>,
    /// How many seconds each external step may take.
    pub limit: u32,
    /// Labels that are not understood, each with the way out.
    pub misunderstood: Vec<String>,
}

impl Manner {
    /// The manner of `container` where the set says `rules`.
    #[must_use]
    pub fn of(container: &Container, rules: &[ServiceRule]) -> Self {
        let mut manner = Self::of_service(&[&container.service, &container.name], rules);
        for (name, text) in &container.labels {
            if let Err(way_out) = manner.obey(name, text) {
                let label = format!("`{}` has the label `config-follower.{name}={text}`", container.name);
                manner.misunderstood.push(format!("{label}, which is not understood: {way_out}"));
            }
        }
        manner
    }

    /// The manner of a service that has no container yet, by its names.
    #[must_use]
    pub fn of_service(names: &[&str], rules: &[ServiceRule]) -> Self {
        let mut manner = Self {
            on_change: OnChange::Restart,
            check: None,
            health: None,
            after: BTreeSet::new(),
            upstreams: BTreeSet::new(),
            limit: USUAL_LIMIT,
            misunderstood: Vec::new(),
        };
        for rule in rules.iter().filter(|rule| rule.service == "*" || names.contains(&rule.service.as_str())) {
            if let Some(on_change) = &rule.on_change {
                manner.on_change = on_change.clone();
            }
            manner.check = rule.check.clone().or(manner.check);
            manner.health = rule.health.clone().or(manner.health);
            if let Some(after) = &rule.after {
                manner.after = after.iter().cloned().collect();
            }
            if let Some(upstreams) = &rule.upstreams {
                manner.upstreams = upstreams.iter().cloned().collect();
            }
            manner.limit = rule.limit.unwrap_or(manner.limit);
        }
        manner
    }

    /// How it takes a change of the file at `path`.
    #[must_use]
    pub fn takes(&self, goal: &Bundle, path: &RelativePath) -> OnChange {
        let file = goal.files.iter().find(|file| file.path == *path);
        file.and_then(|file| file.on_change.clone()).unwrap_or_else(|| self.on_change.clone())
    }

    /// How it forgets the addresses that it keeps.
    #[must_use]
    pub fn for_upstreams(&self) -> OnChange {
        match &self.on_change {
            reload @ (OnChange::Reload(_) | OnChange::Exec(_)) => reload.clone(),
            OnChange::None | OnChange::Restart | OnChange::StopFirst | OnChange::Recreate => OnChange::Restart,
        }
    }

    fn obey(&mut self, label: &str, text: &str) -> Result<(), &'static str> {
        match label {
            "on-change" => {
                self.on_change = read(text)
                    .ok_or("none, restart, stop-first, recreate, {\"reload\":\"SIGHUP\"} or {\"exec\":[\"…\"]}")?;
            }
            "check" => self.check = Some(read(text).ok_or("{\"run\":[\"…\"]} or {\"exec\":[\"…\"]}")?),
            "health" => {
                let health =
                    "{\"http\":{\"port\":80,\"path\":\"/\"}}, {\"tcp\":80}, {\"exec\":[\"…\"]} or {\"running\":3}";
                self.health = Some(read(text).ok_or(health)?);
            }
            "after" => self.after = list(text),
            "upstreams" => self.upstreams = list(text),
            "limit" => self.limit = text.parse().ok().filter(|limit| *limit > 0).ok_or("a number of seconds")?,
            _ => return Err("on-change, check, health, after, upstreams or limit"),
        }
        Ok(())
    }
}

/// A label's text: JSON, or the bare word for what has no more to it.
fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    serde_json::from_value(value).ok()
}

fn list(text: &str) -> BTreeSet<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
