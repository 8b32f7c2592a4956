//! The platform as usable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use pconf_names::{MachineName, RoleName};
use serde_json::{Map, Value};

use crate::file::PlatformFile;
use crate::fill;
use crate::follows;
use crate::judge;
use crate::machines;
use crate::pointer;
use crate::problem::{self, Problem};
use crate::references::{self, Resolved};
use crate::role::RoleManifest;
use crate::rollout::{self, Policy};
use crate::schema::Schema;

/// A platform whose every value may be used: references resolved, defaults filled in, schema satisfied, roles known.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Which template set it is of.
    pub kind: String,
    /// The settings, an object.
    pub settings: Value,
    /// The machines by name; at least one.
    pub machines: BTreeMap<MachineName, Machine>,
    /// How a change reaches them.
    pub rollout: Policy,
    file: PlatformFile,
}

/// One machine of a platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name, the key in `machines`.
    pub name: MachineName,
    /// What it is for; a role of the set.
    pub role: RoleName,
    /// All its fields, `name` and `role` included.
    pub fields: Map<String, Value>,
}

impl Platform {
    /// Makes a platform of its file, or says everything that is wrong with it, in the order of the text.
    pub fn check(
        file: &PlatformFile,
        schema: &Schema,
        roles: &BTreeMap<RoleName, RoleManifest>,
    ) -> Result<Self, Vec<Problem>> {
        let (document, mut problems) = settle(file, schema);
        let kind = file.kind().map(str::to_owned).map_err(|problem| add(&mut problems, vec![problem]));
        let machines = machines::check(document.get("machines"), &file.json, roles);
        let machines = machines.map_err(|found| add(&mut problems, found));
        let rollout = rollout::check(document.get("rollout"), &file.json, machines.as_ref().ok(), roles);
        let rollout = rollout.map_err(|found| add(&mut problems, found));
        match (kind, machines, rollout) {
            (Ok(kind), Ok(machines), Ok(rollout)) if problems.is_empty() => {
                let settings = document.get("settings").cloned().unwrap_or_else(|| Value::Object(Map::new()));
                Ok(Self { kind, settings, machines, rollout, file: file.clone() })
            }
            _ => {
                problem::put_in_order(&mut problems);
                Err(problems)
            }
        }
    }

    /// What to underline to mean the value at a JSON pointer (e.g. `/settings/domain`); `None` for a default.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> Option<Range<usize>> {
        self.file.place_of(pointer)
    }

    /// Settings and machines as they are used: defaults filled in, references resolved.
    #[must_use]
    pub fn value(&self) -> Value {
        let machines = self.machines.iter().map(|(name, machine)| (name.to_string(), machine.fields.clone().into()));
        serde_json::json!({ "settings": self.settings, "machines": machines.collect::<Map<String, Value>>() })
    }

    /// Which values follow which others, by JSON pointer: those whose text, or whose default, holds a reference.
    #[must_use]
    pub fn follows(&self, schema: &Schema) -> BTreeMap<String, BTreeSet<String>> {
        follows::follows(&self.file, schema, &self.value())
    }

    /// A problem with the value at a JSON pointer, or with the closest value around it that is written.
    #[must_use]
    pub fn problem_at(
        &self,
        pointer: &str,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        self.file.problem_at(pointer, code, message, help)
    }
}

/// The document with defaults filled in and references resolved, and what the schema and the references have against it.
pub(crate) fn settle(file: &PlatformFile, schema: &Schema) -> (Value, Vec<Problem>) {
    let mut document = file.json.value.clone();
    fill::fill(schema, &mut document, &mut |_, default| default);
    let Resolved { mut value, failed, mut unresolved } = references::resolve(&document, &file.json);
    // A reference to an object may have brought one that lacks what its new place has defaults for.
    fill::fill(schema, &mut value, &mut |at, default| {
        let late = references::resolve_default(at, &default, &document, &file.json);
        unresolved.extend(late.unresolved);
        late.value
    });

    let (mut problems, mut consequences) = (Vec::new(), Vec::new());
    for violation in schema.violations(&value) {
        let at = violation.instance_path().as_str();
        // A value that could not be resolved is not judged, nor is the choice between alternatives around it.
        let is_excused = failed.iter().any(|failed| {
            pointer::is_within(at, failed) || (judge::is_choice(&violation) && pointer::is_within(failed, at))
        });
        if !is_excused {
            let found = judge::problems(&violation, schema, &value, &file.json);
            if file.json.is_default(at) { consequences.extend(found) } else { problems.extend(found) }
        }
    }
    for unresolved in unresolved {
        // What follows a setting that is missing would only tell the same thing a second time.
        let is_told = problems.iter().any(|problem| {
            problem.code == "missing-key" && unresolved.absent.as_deref() == Some(problem.subject.as_str())
        });
        if !is_told {
            problems.push(unresolved.problem);
        }
    }
    // A default goes wrong because a setting that it follows did; alone, the set's author has to know.
    (value, if problems.is_empty() { consequences } else { problems })
}

/// Adds the problems with what has none yet: the schema, the references and the checks in code notice the same things.
fn add(problems: &mut Vec<Problem>, mut more: Vec<Problem>) {
    more.retain(|problem| !problems.iter().any(|known| known.subject == problem.subject));
    problems.append(&mut more);
}
