//! `${settings.domain}` and `${machines.co1.ip}`: one value that follows another.
//!
//! A text that is one reference and nothing else becomes the value it names, with its type; inside a longer text the value
//! has to be a text, a number, true or false. `$${` is a literal `${`. Values are data: nothing else is special in them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::json_text::JsonText;
use crate::pointer;
use crate::problem::Problem;
use crate::suggest;

/// What resolving came to.
pub(crate) struct Resolved {
    /// The document; a value whose reference failed stands in it as written.
    pub(crate) value: Value,
    /// Pointers of the values that could not be resolved, because of a problem of their own or of one they refer to.
    pub(crate) failed: BTreeSet<String>,
    /// What is wrong, each thing once.
    pub(crate) unresolved: Vec<Unresolved>,
}

/// A reference that leads nowhere.
#[derive(PartialEq)]
pub(crate) struct Unresolved {
    /// The pointer of the text that holds it.
    pub(crate) at: String,
    /// What does not exist, dotted, if that is the matter.
    pub(crate) absent: Option<String>,
    pub(crate) problem: Problem,
}

/// Resolves every reference in `settings` and `machines` of a document whose defaults are filled in.
pub(crate) fn resolve(document: &Value, json: &JsonText) -> Resolved {
    let mut resolver = Resolver::new(document, json);
    let mut value = document.clone();
    for part in ROOTS {
        if let Some(place) = value.get_mut(part) {
            *place = resolver.lenient(&format!("/{part}"), document.get(part).unwrap_or(&Value::Null));
        }
    }
    Resolved { value, failed: resolver.failed, unresolved: resolver.unresolved }
}

/// Resolves the references in a default that found its place only when a reference had brought the object around it.
pub(crate) fn resolve_default(at: &str, default: &Value, document: &Value, json: &JsonText) -> Resolved {
    let mut resolver = Resolver::new(document, json);
    let value = resolver.lenient(at, default);
    Resolved { value, failed: resolver.failed, unresolved: resolver.unresolved }
}

/// The references in a text, without their signs.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Reference(name) => Some(name),
        Part::Literal(_) | Part::Unclosed => None,
    })
}

/// What a reference may start with.
pub(crate) const ROOTS: [&str; 2] = ["settings", "machines"];

/// A text in its parts.
#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Literal(&'t str),
    Reference(&'t str),
    Unclosed,
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let escaped = rest[..at].ends_with('$');
        let before = if escaped { &rest[..at - 1] } else { &rest[..at] };
        parts.push(Part::Literal(before));
        let after = &rest[at + 2..];
        if escaped {
            parts.push(Part::Literal("${"));
            rest = after;
        } else if let Some(end) = after.find('}') {
            parts.push(Part::Reference(&after[..end]));
            rest = &after[end + 1..];
        } else {
            parts.push(Part::Unclosed);
            rest = "";
        }
    }
    parts.push(Part::Literal(rest));
    parts.retain(|part| *part != Part::Literal(""));
    parts
}

fn step<'v>(around: &'v Value, segment: &str) -> Option<&'v Value> {
    match around {
        Value::Object(map) => map.get(segment),
        Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The value could not be resolved; the problem is noted.
#[derive(Debug, Clone, Copy)]
struct Failed;

/// A chain of references multiplies; what they bring in all together is bounded, so that no edit can exhaust the leader.
const MOST_BROUGHT: usize = 4 << 20;

struct Resolver<'d> {
    document: &'d Value,
    json: &'d JsonText,
    known: BTreeMap<String, Result<Value, Failed>>,
    under_way: Vec<String>,
    /// How much references have brought in so far, about in bytes.
    brought: usize,
    failed: BTreeSet<String>,
    unresolved: Vec<Unresolved>,
}

impl<'d> Resolver<'d> {
    fn new(document: &'d Value, json: &'d JsonText) -> Self {
        Self {
            document,
            json,
            known: BTreeMap::new(),
            under_way: Vec::new(),
            brought: 0,
            failed: BTreeSet::new(),
            unresolved: Vec::new(),
        }
    }

    /// The value with everything resolved that can be.
    fn lenient(&mut self, at: &str, written: &Value) -> Value {
        match written {
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.clone(), self.lenient(&pointer::child(at, key), value))).collect()
            }
            Value::Array(list) => {
                let element =
                    |(index, value): (usize, &Value)| self.lenient(&pointer::child(at, &format!("{index}")), value);
                list.iter().enumerate().map(element).collect()
            }
            Value::String(_) => self.value_at(at, written).unwrap_or_else(|Failed| {
                self.failed.insert(at.to_owned());
                written.clone()
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => written.clone(),
        }
    }

    /// The resolved value of what is written at a pointer.
    fn value_at(&mut self, at: &str, written: &Value) -> Result<Value, Failed> {
        if let Some(known) = self.known.get(at) {
            return known.clone();
        }
        if let Some(start) = self.under_way.iter().position(|pointer| pointer == at) {
            self.note_cycle(start);
            return Err(Failed);
        }
        self.under_way.push(at.to_owned());
        let value = match written {
            Value::String(text) => self.text(at, text),
            Value::Array(list) => {
                let element = |(index, value)| self.value_at(&pointer::child(at, &format!("{index}")), value);
                list.iter().enumerate().map(element).collect()
            }
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| Ok((key.clone(), self.value_at(&pointer::child(at, key), value)?)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(written.clone()),
        };
        self.under_way.pop();
        self.known.insert(at.to_owned(), value.clone());
        value
    }

    fn text(&mut self, at: &str, text: &str) -> Result<Value, Failed> {
        let parts = parts(text);
        if let [Part::Reference(name)] = parts.as_slice() {
            return self.named(at, name);
        }
        let mut whole = String::new();
        let mut outcome = Ok(());
        for part in parts {
            match part {
                Part::Literal(literal) => whole.push_str(literal),
                Part::Unclosed => {
                    let message = "`${` starts a reference that is never closed";
                    self.note(
                        at,
                        None,
                        "${",
                        "reference-syntax",
                        message,
                        "close it with `}`, or write `$${` for a plain `${`",
                    );
                    outcome = Err(Failed);
                }
                Part::Reference(name) => match self.named(at, name) {
                    Ok(Value::String(text)) => whole.push_str(&text),
                    Ok(value @ (Value::Bool(_) | Value::Number(_))) => whole.push_str(&value.to_string()),
                    Ok(value) => {
                        self.note_no_text(at, name, &value);
                        outcome = Err(Failed);
                    }
                    Err(Failed) => outcome = Err(Failed),
                },
            }
        }
        outcome.map(|()| Value::String(whole))
    }

    /// The value that a reference at `at` names, within the limit of what all references may bring.
    fn named(&mut self, at: &str, name: &str) -> Result<Value, Failed> {
        let value = self.meant(at, name)?;
        self.brought = self.brought.saturating_add(weight(&value));
        if self.brought > MOST_BROUGHT {
            let message = "references to references make this platform larger than any real one";
            self.note(at, None, &format!("${{{name}}}"), "references-too-large", message, "write the value out, once");
            return Err(Failed);
        }
        Ok(value)
    }

    fn meant(&mut self, at: &str, name: &str) -> Result<Value, Failed> {
        let mut here = String::new();
        // Borrowed as long as it stands in the document; what a reference on the way resolved to is owned.
        let mut value = Cow::Borrowed(self.document);
        for segment in name.split('.') {
            if let Cow::Borrowed(written @ Value::String(_)) = value {
                value = Cow::Owned(self.value_at(&here, written)?);
            }
            let next = match &value {
                _ if here.is_empty() && !ROOTS.contains(&segment) => None,
                Cow::Borrowed(around) => step(around, segment).map(Cow::Borrowed),
                Cow::Owned(around) => step(around, segment).cloned().map(Cow::Owned),
            };
            let Some(next) = next else {
                self.note_unknown(at, name, &here, &value, segment);
                return Err(Failed);
            };
            here = pointer::child(&here, segment);
            value = next;
        }
        match value {
            Cow::Borrowed(written) => self.value_at(&here, written),
            Cow::Owned(resolved) => Ok(resolved),
        }
    }

    fn note_unknown(&mut self, at: &str, name: &str, around: &str, value: &Value, segment: &str) {
        let whole = format!("${{{name}}}");
        let known: Vec<&str> = match value {
            _ if around.is_empty() => ROOTS.to_vec(),
            Value::Object(map) => map.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        let prefix = pointer::dotted(around);
        let full = |word: &str| if prefix.is_empty() { word.to_owned() } else { format!("{prefix}.{word}") };
        let escape = "for a plain `${` write `$${`";
        let (message, help) = match suggest::closest(segment, known.iter().copied()) {
            Some(closest) => {
                let rest = name.strip_prefix(&full(segment)).unwrap_or_default();
                (format!("`{}` does not exist", full(segment)), format!("did you mean `${{{}{rest}}}`?", full(closest)))
            }
            None if around.is_empty() => (
                format!("`{whole}` refers to nothing"),
                format!("a reference starts with `settings.` or `machines.`; {escape}"),
            ),
            None => (
                format!("`{}` does not exist", full(segment)),
                format!("{}; {escape}", suggest::help(segment, &known, &format!("`{prefix}` has nothing below it"))),
            ),
        };
        let absent = full(segment);
        self.note(at, Some(absent), &whole, "unknown-reference", message, help);
    }

    fn note_no_text(&mut self, at: &str, name: &str, value: &Value) {
        let what = match value {
            Value::Object(_) => "an object",
            Value::Array(_) => "a list",
            _ => "null",
        };
        let message = format!("`{name}` is {what} and cannot stand inside a text");
        let help = "refer to a text, a number, true or false; or let the reference be the whole value";
        self.note(at, None, &format!("${{{name}}}"), "reference-in-text", message, help);
    }

    /// The values from `start` on refer to each other in a circle; told once, at the one that is written first.
    fn note_cycle(&mut self, start: usize) {
        // Containers are under way too, as the way down to the text that holds the reference.
        let mut circle: Vec<String> = self.under_way[start..].to_vec();
        circle.retain(|pointer| self.document.pointer(pointer).is_some_and(Value::is_string));
        let first =
            circle.iter().enumerate().min_by_key(|(_, pointer)| self.json.span_of(pointer).map(|span| span.start));
        let Some((first, _)) = first else { return };
        circle.rotate_left(first);
        let names: Vec<_> = circle.iter().map(|pointer| format!("`{}`", pointer::dotted(pointer))).collect();
        let message = match names.as_slice() {
            [alone] => format!("{alone} refers to itself"),
            more => format!("these values refer to each other in a circle: {} → {}", more.join(" → "), more[0]),
        };
        let help = if circle.len() == 1 { "write the value itself" } else { "write one of them out" };
        let mut problem = self.json.problem(&circle[0], "reference-cycle", message, help);
        problem.related =
            circle[1..].iter().filter_map(|pointer| self.json.related(pointer, "part of the circle")).collect();
        self.unresolved.push(Unresolved { at: circle[0].clone(), absent: None, problem });
    }

    /// Notes a problem with `needle`, a part of the text at a pointer.
    fn note(
        &mut self,
        at: &str,
        absent: Option<String>,
        needle: &str,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let mut problem = self.json.problem(at, code, message, help);
        if let Some(place) = self.json.place(at)
            // Escapes may make the written text differ from its meaning; then the whole text is underlined.
            && let Some(offset) = self.json.text[place.value.clone()].find(needle)
        {
            let start = place.value.start + offset;
            problem.span = Some(start..start + needle.len());
        }
        let unresolved = Unresolved { at: at.to_owned(), absent, problem };
        if !self.unresolved.contains(&unresolved) {
            self.unresolved.push(unresolved);
        }
    }
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 1,
        Value::Array(list) => 1 + list.iter().map(weight).sum::<usize>(),
        Value::Object(map) => 1 + map.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_its_parts() {
        use Part::{Literal, Reference, Unclosed};
        for (text, expected) in [
            ("", vec![]),
            ("$host {{ x }} #{y} $", vec![Literal("$host {{ x }} #{y} $")]),
            ("a${b}c", vec![Literal("a"), Reference("b"), Literal("c")]),
            ("${a}${b}", vec![Reference("a"), Reference("b")]),
            ("$${a}", vec![Literal("${"), Literal("a}")]),
            ("$$${a}", vec![Literal("$"), Literal("${"), Literal("a}")]),
            ("a${b", vec![Literal("a"), Unclosed]),
        ] {
            assert_eq!(parts(text), expected, "{text:?}");
        }
    }
}
