//! What the value of an expression is made of.
//!
//! What cannot be told apart counts as a part: a dependency may be named too often, never too seldom.

use std::collections::BTreeMap;
use std::rc::Rc;

use tera::Value;

use super::expression::{Expression, What};
use super::trace::{Dependencies, Inner, Kind, Trace};
use super::walk::{Lost, Walk};

/// One element that a loop goes over.
pub(super) struct Round {
    pub(super) key: Option<Value>,
    pub(super) value: Value,
    pub(super) trace: Rc<Trace>,
}

type Arguments = [(String, Expression)];

impl Walk<'_> {
    /// Where the value of an expression comes from.
    pub(super) fn trace(&mut self, expression: &Expression) -> Result<Rc<Trace>, Lost> {
        self.step()?;
        Ok(match &expression.what {
            What::Constant => Rc::default(),
            What::Name(name) => self.names.get(name).map(Rc::clone).unwrap_or_default(),
            What::List(elements) => {
                let mut all = Vec::new();
                let mut own = Dependencies::default();
                for (is_spread, one) in elements {
                    let trace = self.trace(one)?;
                    if !is_spread {
                        all.push(trace);
                    } else if let Inner::List(_) = trace.inner() {
                        own.join(&trace.shallow(), Kind::Value);
                        all.extend(trace.elements(&[]).unwrap_or_default());
                    } else {
                        return self.made_of(elements.iter().map(|(_, one)| one));
                    }
                }
                Trace::list(own, all)
            }
            What::Map(entries) => {
                let mut all = BTreeMap::new();
                for (key, one) in entries {
                    let Some(key) = key else { return self.made_of(entries.iter().map(|(_, one)| one)) };
                    all.insert(key.clone(), self.trace(one)?);
                }
                Trace::map(Dependencies::default(), all)
            }
            What::Attribute(of, key) => self.trace(of)?.below(key),
            What::Item(of, key) => {
                let asked = self.value(key)?;
                let index = asked.as_i64().and_then(|index| usize::try_from(index).ok()).map(|index| index.to_string());
                match asked.as_str().map(str::to_owned).or(index) {
                    Some(text) => {
                        let why = Rc::clone(self.trace(key)?.flat());
                        self.trace(of)?.below(&text).because(&why)
                    }
                    None => self.made_of([&**of, &**key])?,
                }
            }
            What::Slice(of, bounds) => self.chosen(expression, of, bounds.iter())?,
            What::Filter { of, name, arguments } => self.filtered(expression, of, name, arguments)?,
            What::Test { of, name, arguments } => {
                // These ask about the value itself, not about what is in it.
                if matches!(name.as_str(), "defined" | "undefined" | "none" | "null") {
                    Trace::plain(self.trace(of)?.shallow())
                } else {
                    self.made_of(std::iter::once(&**of).chain(arguments.iter().map(|(_, one)| one)))?
                }
            }
            What::Choice { yes, condition, no } => {
                let why = self.truth(condition)?;
                let chosen = if self.value(condition)?.is_truthy() { yes } else { no };
                self.trace(chosen)?.because(&why)
            }
            What::Each { element, key, value, of, condition } => {
                self.each((element, condition.as_deref()), (key.as_deref(), value), of)?
            }
            What::Call { name, arguments } if name == "range" => self.numbers(expression, arguments)?,
            What::Call { arguments, .. } => self.made_of(arguments.iter().map(|(_, one)| one))?,
            What::Not(of) => Trace::plain(self.truth(of)?),
            What::And(left, right) | What::Or(left, right) => {
                let is_and = matches!(expression.what, What::And(..));
                if self.value(left)?.is_truthy() == is_and {
                    let why = self.truth(left)?;
                    self.trace(right)?.because(&why)
                } else {
                    self.trace(left)?
                }
            }
            What::Operation(operands) => self.made_of(operands)?,
        })
    }

    /// What decides whether an expression is true.
    pub(super) fn truth(&mut self, expression: &Expression) -> Result<Dependencies, Lost> {
        match &expression.what {
            What::Not(of) => self.truth(of),
            What::And(left, right) | What::Or(left, right) => {
                let is_and = matches!(expression.what, What::And(..));
                let mut why = self.truth(left)?;
                if self.value(left)?.is_truthy() == is_and {
                    why.join(&self.truth(right)?, Kind::Value);
                }
                Ok(why)
            }
            _ => Ok(self.trace(expression)?.shallow()),
        }
    }

    /// What an expression goes over in a loop.
    pub(super) fn rounds(&mut self, of: &Expression) -> Result<Vec<Round>, Lost> {
        let (value, trace) = (self.value(of)?, self.trace(of)?);
        let entries: Vec<(Option<Value>, Value)> = if let Some(list) = value.as_array() {
            list.iter().map(|one| (None, one.clone())).collect()
        } else if let Some(map) = value.as_map() {
            map.iter().map(|(key, one)| (Some(key.as_value()), one.clone())).collect()
        } else if let Some(text) = value.as_str() {
            text.chars().map(|one| (None, Value::from(one.to_string()))).collect()
        } else {
            return Err(Lost);
        };
        let traces = trace.elements(&keys(&value)).filter(|traces| traces.len() == entries.len());
        let traces = traces.unwrap_or_else(|| vec![Trace::plain((**trace.flat()).clone()); entries.len()]);
        let rounds = entries.into_iter().zip(traces);
        Ok(rounds.map(|((key, value), trace)| Round { key, value, trace }).collect())
    }

    /// Of all of them, without a shape.
    fn made_of<'e>(&mut self, parts: impl IntoIterator<Item = &'e Expression>) -> Result<Rc<Trace>, Lost> {
        let mut all = Dependencies::default();
        for part in parts {
            all.join(self.trace(part)?.flat(), Kind::Value);
        }
        Ok(Trace::plain(all))
    }

    fn each(
        &mut self,
        (element, condition): (&Expression, Option<&Expression>),
        (key, value): (Option<&str>, &str),
        of: &Expression,
    ) -> Result<Rc<Trace>, Lost> {
        let mut own = self.trace(of)?.shallow();
        let mut elements = Vec::new();
        for round in self.rounds(of)? {
            self.enter();
            if let Some(key) = key {
                self.bind(key, (round.key, Some(Trace::plain(own.clone()))));
            }
            self.bind(value, (Some(round.value), Some(round.trace)));
            let is_in = match condition {
                Some(condition) => {
                    own.join(&self.truth(condition)?, Kind::Condition);
                    self.value(condition)?.is_truthy()
                }
                None => true,
            };
            if is_in {
                elements.push(self.trace(element)?);
            }
            self.leave();
        }
        Ok(Trace::list(own, elements))
    }

    /// The numbers of `range`: the end decides how many there are, not which ones.
    fn numbers(&mut self, whole: &Expression, arguments: &Arguments) -> Result<Rc<Trace>, Lost> {
        let all = arguments.iter().map(|(_, one)| one);
        let own = Rc::clone(self.made_of(all)?.flat());
        let which = arguments.iter().filter(|(name, _)| name != "end").map(|(_, one)| one);
        let number = self.made_of(which)?;
        let count = self.value(whole)?.len().ok_or(Lost)?;
        Ok(Trace::list((*own).clone(), vec![number; count]))
    }

    fn filtered(
        &mut self,
        whole: &Expression,
        of: &Expression,
        name: &str,
        arguments: &Arguments,
    ) -> Result<Rc<Trace>, Lost> {
        let argument = |name: &str| arguments.iter().find(|(known, _)| known == name).map(|(_, one)| one);
        let trace = self.trace(of)?;
        let has_shape = !matches!(trace.inner(), Inner::Plain);
        let all = || std::iter::once(of).chain(arguments.iter().map(|(_, one)| one));
        match name {
            // These keep the shape: the whole of a derived value may be one printed expression.
            "json" | "yaml" => Ok(trace),
            "length" if has_shape => Ok(Trace::plain(trace.shallow())),
            "first" | "last" | "nth" if has_shape => {
                let Some(elements) = trace.elements(&[]) else { return self.made_of(all()) };
                let index = match (name, argument("n")) {
                    ("first", _) => Some(0),
                    ("last", _) => elements.len().checked_sub(1),
                    (_, Some(n)) => self.value(n)?.as_i64().and_then(|n| usize::try_from(n).ok()),
                    (_, None) => None,
                };
                let found = index.and_then(|index| elements.get(index)).map(Rc::clone).unwrap_or_default();
                let mut why = trace.shallow();
                if let Some(n) = argument("n") {
                    why.join(self.trace(n)?.flat(), Kind::Condition);
                }
                Ok(found.because(&why))
            }
            "get" if has_shape => {
                let Some(key) = argument("key") else { return self.made_of(all()) };
                let (asked, why) = (self.value(key)?, Rc::clone(self.trace(key)?.flat()));
                let Some(text) = asked.as_str() else { return self.made_of(all()) };
                let found = trace.below(text);
                let is_there =
                    self.value(of)?.as_map().is_some_and(|map| map.keys().any(|key| key.as_str() == Some(text)));
                match argument("default").filter(|_| !is_there) {
                    Some(default) => Ok(self.trace(default)?.because(&why).because(&found.shallow())),
                    None => Ok(found.because(&why)),
                }
            }
            "values" if has_shape => {
                let keys = keys(&self.value(of)?);
                Ok(Trace::list(trace.shallow(), trace.elements(&keys).unwrap_or_default()))
            }
            "keys" if has_shape => {
                let keys = keys(&self.value(of)?);
                Ok(Trace::list(trace.shallow(), keys.iter().map(|_| Trace::plain(trace.shallow())).collect()))
            }
            "default" => match argument("value") {
                Some(default) if self.value(of)? != self.value(whole)? => {
                    Ok(self.trace(default)?.because(&trace.shallow()))
                }
                _ => Ok(trace),
            },
            _ if has_shape => self.chosen(whole, of, arguments.iter().map(|(_, one)| one)),
            _ => self.made_of(all()),
        }
    }

    /// A list that may be made of elements of another one (`sort`, `unique`, a slice): one that is equal to an element comes
    /// from there, because of all the others.
    fn chosen<'e>(
        &mut self,
        whole: &Expression,
        of: &'e Expression,
        arguments: impl Iterator<Item = &'e Expression>,
    ) -> Result<Rc<Trace>, Lost> {
        let all = Rc::clone(self.made_of(std::iter::once(of).chain(arguments))?.flat());
        let (before, after) = (self.value(of)?, self.value(whole)?);
        let traces = self.trace(of)?.elements(&[]).unwrap_or_default();
        let (Some(before), Some(after)) = (before.as_array(), after.as_array()) else {
            return Ok(Trace::plain((*all).clone()));
        };
        if traces.len() != before.len() {
            return Ok(Trace::plain((*all).clone()));
        }
        let mut elements = Vec::new();
        for one in after {
            let mut equal = before.iter().zip(&traces).filter(|(value, _)| *value == one).map(|(_, trace)| trace);
            elements.push(match (equal.next(), equal.next()) {
                (Some(only), None) => only.because(&all),
                (Some(first), Some(second)) => {
                    let mut some = (**first.flat()).clone();
                    std::iter::once(second).chain(equal).for_each(|more| some.join(more.flat(), Kind::Value));
                    Trace::plain(some).because(&all)
                }
                (None, _) => Trace::plain((*all).clone()),
            });
        }
        let mut own = Dependencies::default();
        own.join(&all, Kind::Condition);
        Ok(Trace::list(own, elements))
    }
}

/// The keys of an object, in its order.
fn keys(value: &Value) -> Vec<String> {
    value.as_map().map(|map| map.keys().map(ToString::to_string).collect()).unwrap_or_default()
}
