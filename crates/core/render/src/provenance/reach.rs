//! From a dependency on to what that depends on, until a setting, a secret or nothing more.

use std::collections::BTreeMap;

use pconf_names::MachineName;

use super::Provenance;
use super::file::Place;
use super::trace::{Dependencies, Kind};
use crate::set::TemplateSet;

/// One step from a thing to what it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The pointer of what it depends on.
    pub to: String,
    /// How.
    pub kind: Kind,
}

/// Which things depend on one that was asked for; remembers what it found.
pub struct Reach<'p> {
    provenance: &'p Provenance<'p>,
    asked: String,
    /// What stands for it where it is not there: the object or the list that would have it.
    around: Option<String>,
    known: BTreeMap<(String, Seen), Option<Kind>>,
}

/// What templates see: derived values are made of the machines as they are written, everything else of the whole ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    AsWritten,
    Whole,
}

impl<'p> Provenance<'p> {
    /// Asks what depends on the thing at a pointer, or on anything in it.
    #[must_use]
    pub fn reach(&'p self, asked: &str) -> Reach<'p> {
        let is_there = self.value(asked).is_some() || asked.starts_with("/secrets/");
        let mut around = asked;
        while self.value(around).is_none()
            && let Some((parent, _)) = around.rsplit_once('/')
        {
            around = parent;
        }
        let around = (!is_there && around != asked).then(|| around.to_owned());
        Reach { provenance: self, asked: asked.to_owned(), around, known: BTreeMap::new() }
    }

    /// What a thing that templates of a role see is made of, one step on. Empty for what is written or has no origin.
    #[must_use]
    pub fn steps(&self, pointer: &str) -> Vec<Step> {
        self.next(pointer, Seen::Whole).into_iter().map(|(to, kind, _)| Step { to, kind }).collect()
    }

    /// What a value that `derived.json.tera` sees is made of, one step on.
    #[must_use]
    pub fn steps_in_derived(&self, pointer: &str) -> Vec<Step> {
        self.next(pointer, Seen::AsWritten).into_iter().map(|(to, kind, _)| Step { to, kind }).collect()
    }

    /// What in `derived.json.tera`, or in what it includes, printed a derived value: its place and its text.
    #[must_use]
    pub fn printed_by(&self, pointer: &str) -> Option<(Place, Option<String>)> {
        let by = self.origins.get(pointer)?.printed_by.as_ref()?;
        let text = self.set.sources.text(&format!("{}/{}", self.set.shown, by.template));
        let expression = text.and_then(|text| text.get(by.span.clone())).filter(|_| by.is_expression);
        Some((Place::new(self.set, &by.template, by.span.start), expression.map(|text| text.trim().to_owned())))
    }

    fn next(&self, pointer: &str, seen: Seen) -> Vec<(String, Kind, Seen)> {
        if pointer == "/derived" || pointer.starts_with("/derived/") {
            let (origin, most) = match self.origins.get(pointer) {
                Some(origin) => (Some(origin), Kind::Value),
                // What is not there would be there if what is around it were another one.
                None => (self.closest_origin(pointer), Kind::Condition),
            };
            let steps = origin.map(|origin| origin.dependencies.iter()).into_iter().flatten();
            return steps.map(|(to, kind)| (to.to_string(), kind.min(most), Seen::AsWritten)).collect();
        }
        let followed = self.follows.get(pointer).into_iter().flatten();
        let mut steps: Vec<_> = followed.map(|to| (to.clone(), Kind::Value, Seen::AsWritten)).collect();
        if seen == Seen::Whole && self.is_filled_in(pointer) {
            steps.push((format!("/derived{pointer}"), Kind::Value, Seen::AsWritten));
        }
        steps
    }

    fn closest_origin(&self, pointer: &str) -> Option<&super::Origin> {
        let around = std::iter::successors(pointer.rsplit_once('/'), |(around, _)| around.rsplit_once('/'));
        around.map(|(around, _)| around).find_map(|around| self.origins.get(around))
    }

    /// Whether it is a field of a machine that the admin left out.
    fn is_filled_in(&self, pointer: &str) -> bool {
        let mut segments = pointer.strip_prefix("/machines/").unwrap_or_default().splitn(3, '/');
        let (Some(name), Some(field)) = (segments.next(), segments.next()) else { return false };
        let machine = name.parse::<MachineName>().ok().and_then(|name| self.scene.platform.machines.get(&name));
        machine.is_some_and(|machine| !machine.fields.contains_key(&field.replace("~1", "/").replace("~0", "~")))
    }

    /// The set that it is about.
    #[must_use]
    pub fn set(&self) -> &TemplateSet {
        self.set
    }
}

impl Reach<'_> {
    /// How something with these dependencies depends on what was asked for; `None` where it does not.
    pub fn of(&mut self, dependencies: &Dependencies) -> Option<Kind> {
        let mut most = None;
        for (pointer, kind) in dependencies.iter() {
            most = most.max(self.along(pointer, Seen::Whole).map(|found| found.min(kind)));
        }
        most
    }

    fn along(&mut self, pointer: &str, seen: Seen) -> Option<Kind> {
        let is_below =
            |above: &str| pointer.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_below(&self.asked) || self.around.as_deref() == Some(pointer) {
            return Some(Kind::Value);
        }
        let key = (pointer.to_owned(), seen);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        // What comes back to itself says nothing new.
        self.known.insert(key.clone(), None);
        let mut most = None;
        for (to, kind, seen) in self.provenance.next(pointer, seen) {
            most = most.max(self.along(&to, seen).map(|found| found.min(kind)));
        }
        self.known.insert(key, most);
        most
    }
}
