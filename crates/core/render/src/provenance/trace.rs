//! What a value was made of, beside the value.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// How one thing depends on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is there, or is the one that was chosen, because of the other.
    Condition,
    /// It is made of the other.
    Value,
}

/// What something depends on, by JSON pointer (RFC 6901) below what templates see: `/settings/domain`,
/// `/machines/co1/ip`, `/derived/urls/api`, `/secrets/tls/key`.
///
/// The pointer of an object or a list stands for which elements it has, not for what they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dependencies(BTreeMap<Arc<str>, Kind>);

impl Dependencies {
    /// On one thing.
    pub(crate) fn on(pointer: impl Into<Arc<str>>, kind: Kind) -> Self {
        Self(BTreeMap::from([(pointer.into(), kind)]))
    }

    pub(crate) fn add(&mut self, pointer: &Arc<str>, kind: Kind) {
        match self.0.get_mut(pointer) {
            Some(known) => *known = (*known).max(kind),
            None => drop(self.0.insert(Arc::clone(pointer), kind)),
        }
    }

    /// Takes over what `more` depends on, as far as `most` allows.
    pub(crate) fn join(&mut self, more: &Self, most: Kind) {
        for (pointer, kind) in &more.0 {
            self.add(pointer, (*kind).min(most));
        }
    }

    /// Takes over all that another thing depends on.
    pub fn extend(&mut self, more: &Self) {
        self.join(more, Kind::Value);
    }

    /// The pointers, sorted, and how.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Kind)> {
        self.0.iter().map(|(pointer, kind)| (pointer, *kind))
    }

    /// Whether `other` names nothing that is not named here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.keys().all(|pointer| self.0.contains_key(pointer))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a value comes from, in the shape of the value.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Of a plain value, what it is made of; of an object or a list, what decides which elements it has.
    own: Dependencies,
    /// What holds for it and for everything in it.
    around: Rc<Dependencies>,
    /// Where it stands in what templates see, so that what is not there has a name, too.
    at: Option<Arc<str>>,
    inner: Inner,
    flat: OnceCell<Rc<Dependencies>>,
}

#[derive(Debug, Default)]
pub(crate) enum Inner {
    /// No shape is known: what is taken out of it depends on all of it.
    #[default]
    Plain,
    List(Vec<Rc<Trace>>),
    Map(BTreeMap<String, Rc<Trace>>),
}

impl Trace {
    pub(crate) fn plain(own: Dependencies) -> Rc<Self> {
        Rc::new(Self { own, ..Self::default() })
    }

    pub(crate) fn list(own: Dependencies, elements: Vec<Rc<Self>>) -> Rc<Self> {
        Rc::new(Self { own, inner: Inner::List(elements), ..Self::default() })
    }

    pub(crate) fn map(own: Dependencies, entries: BTreeMap<String, Rc<Self>>) -> Rc<Self> {
        Rc::new(Self { own, inner: Inner::Map(entries), ..Self::default() })
    }

    /// A value that stands at `pointer` of what templates see; each part of it depends on its own place.
    pub(crate) fn of_root(pointer: &str, value: &serde_json::Value) -> Rc<Self> {
        let inner = match value {
            serde_json::Value::Object(map) => Inner::Map(
                map.iter().map(|(key, value)| (key.clone(), Self::of_root(&child(pointer, key), value))).collect(),
            ),
            serde_json::Value::Array(list) => Inner::List(
                (0..)
                    .zip(list)
                    .map(|(index, value): (usize, _)| Self::of_root(&format!("{pointer}/{index}"), value))
                    .collect(),
            ),
            _ => Inner::Plain,
        };
        Self::at(pointer, inner, Kind::Value)
    }

    /// What stands at `pointer` and has that shape.
    pub(crate) fn at(pointer: &str, inner: Inner, kind: Kind) -> Rc<Self> {
        let at: Arc<str> = Arc::from(pointer);
        Rc::new(Self { own: Dependencies::on(Arc::clone(&at), kind), at: Some(at), inner, ..Self::default() })
    }

    /// The same, chosen because of `why`, as is everything in it.
    pub(crate) fn because(self: &Rc<Self>, why: &Dependencies) -> Rc<Self> {
        let is_known = |(pointer, _): (&Arc<str>, Kind)| self.around.0.contains_key(pointer);
        if why.iter().all(is_known) {
            return Rc::clone(self);
        }
        let mut around = (*self.around).clone();
        around.join(why, Kind::Condition);
        Rc::new(Self { around: Rc::new(around), ..self.copy() })
    }

    fn copy(&self) -> Self {
        let inner = match &self.inner {
            Inner::Plain => Inner::Plain,
            Inner::List(elements) => Inner::List(elements.clone()),
            Inner::Map(entries) => Inner::Map(entries.clone()),
        };
        Self {
            own: self.own.clone(),
            around: Rc::clone(&self.around),
            at: self.at.clone(),
            inner,
            flat: OnceCell::new(),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// What decides whether it is there, empty or true: not what is in it.
    pub(crate) fn shallow(&self) -> Dependencies {
        let mut all = self.own.clone();
        all.join(&self.around, Kind::Condition);
        all
    }

    /// All that it depends on, with everything in it.
    pub(crate) fn flat(&self) -> &Rc<Dependencies> {
        self.flat.get_or_init(|| {
            let mut all = self.shallow();
            match &self.inner {
                Inner::Plain => {}
                Inner::List(elements) => elements.iter().for_each(|one| all.join(one.flat(), Kind::Value)),
                Inner::Map(entries) => entries.values().for_each(|one| all.join(one.flat(), Kind::Value)),
            }
            Rc::new(all)
        })
    }

    /// What is below `key`, whether it is there or not.
    pub(crate) fn below(&self, key: &str) -> Rc<Self> {
        let found = match &self.inner {
            Inner::Map(entries) => entries.get(key),
            Inner::List(elements) => key.parse::<usize>().ok().and_then(|index| elements.get(index)),
            Inner::Plain => return Self::plain(self.shallow()),
        };
        match (found, &self.at) {
            (Some(found), _) => found.because(&self.around),
            (None, Some(at)) => Self::at(&child(at, key), Inner::Plain, Kind::Value).because(&self.around),
            (None, None) => Self::plain(self.shallow()),
        }
    }

    /// The elements of a list, or of an object in the order of `keys`; `None` where no shape is known.
    pub(crate) fn elements(&self, keys: &[String]) -> Option<Vec<Rc<Self>>> {
        match &self.inner {
            Inner::Plain => None,
            Inner::List(elements) => Some(elements.iter().map(|one| one.because(&self.around)).collect()),
            Inner::Map(_) => Some(keys.iter().map(|key| self.below(key)).collect()),
        }
    }
}

/// The pointer of a child.
pub(crate) fn child(pointer: &str, segment: &str) -> String {
    format!("{pointer}/{}", segment.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(dependencies: &Dependencies) -> Vec<String> {
        dependencies.iter().map(|(pointer, kind)| format!("{pointer} {kind:?}")).collect()
    }

    #[test]
    fn what_is_taken_out_of_a_value_depends_on_what_it_is_and_on_why_it_was_taken() {
        let root = Trace::of_root("/settings", &json!({ "mail": { "host": "x", "ports": [25] } }));
        let chosen = root.below("mail").because(&Dependencies::on("/settings/which", Kind::Value));
        assert_eq!(told(chosen.below("host").flat()), ["/settings/mail/host Value", "/settings/which Condition"]);
        assert_eq!(told(chosen.below("gone").flat()), ["/settings/mail/gone Value", "/settings/which Condition"]);
        assert_eq!(
            told(root.below("mail").below("ports").flat()),
            ["/settings/mail/ports Value", "/settings/mail/ports/0 Value"]
        );
        assert_eq!(told(&root.below("mail").shallow()), ["/settings/mail Value"]);
        assert_eq!(told(root.below("mail").below("host").below("0").flat()), ["/settings/mail/host Value"]);
    }
}
