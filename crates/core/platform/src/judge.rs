//! What a schema violation means to the person who wrote the value.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use crate::describe;
use crate::json_text::JsonText;
use crate::pointer;
use crate::problem::Problem;
use crate::schema::Schema;
use crate::suggest;

/// The problems that one violation comes to: several when it names several keys, those of the closest alternative when none
/// of the alternatives holds.
pub(crate) fn problems(
    error: &ValidationError<'_>,
    schema: &Schema,
    document: &Value,
    json: &JsonText,
) -> Vec<Problem> {
    let judge = Judge { schema, document, json, at: error.instance_path().as_str() };
    judge.problems(error)
}

/// Whether the violation is that no alternative holds, or more than one.
pub(crate) fn is_choice(error: &ValidationError<'_>) -> bool {
    matches!(
        error.kind(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } | Kind::Not { .. }
    )
}

struct Judge<'j> {
    schema: &'j Schema,
    document: &'j Value,
    json: &'j JsonText,
    at: &'j str,
}

impl Judge<'_> {
    fn problems(&self, error: &ValidationError<'_>) -> Vec<Problem> {
        let value = self.document.pointer(self.at).unwrap_or(&Value::Null);
        let shown = shown(value);
        let (code, message, rule): (_, String, String) = match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                return unexpected.iter().map(|key| self.unknown_key(key)).collect();
            }
            Kind::Required { property } => return vec![self.missing_key(property.as_str().unwrap_or_default())],
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => return self.closest_alternative(context),
            Kind::PropertyNames { error } => return vec![self.refused_key(error)],
            Kind::UniqueItems => return vec![self.repeated_item(value)],
            Kind::Type { kind } => {
                let expected = expected_types(kind);
                let help = match value {
                    Value::String(text) if would_be(text, kind) => format!("write it without quotes: {text}"),
                    _ => String::new(),
                };
                ("wrong-type", format!("expected {expected}, found {}", described(value)), help)
            }
            Kind::Format { format } => {
                let (what, example) = describe::format(format);
                ("wrong-format", format!("{shown} is not {what}"), example.to_owned())
            }
            Kind::Pattern { pattern } => {
                ("wrong-form", format!("{shown} is not of the form `{pattern}`"), String::new())
            }
            Kind::Enum { options } => {
                let words: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let closest = value.as_str().and_then(|word| suggest::closest(word, words.iter().copied()));
                let help = closest.map(|closest| format!("did you mean \"{closest}\"?")).unwrap_or_default();
                ("not-a-choice", format!("{shown} is not {}", describe::choices(options)), help)
            }
            Kind::Constant { expected_value } => {
                ("not-a-choice", format!("{shown} has to be {expected_value}"), String::new())
            }
            Kind::Minimum { limit } => ("out-of-range", format!("{shown} is too small"), format!("at least {limit}")),
            Kind::Maximum { limit } => ("out-of-range", format!("{shown} is too large"), format!("at most {limit}")),
            Kind::ExclusiveMinimum { limit } => {
                ("out-of-range", format!("{shown} is too small"), format!("more than {limit}"))
            }
            Kind::ExclusiveMaximum { limit } => {
                ("out-of-range", format!("{shown} is too large"), format!("less than {limit}"))
            }
            Kind::MultipleOf { multiple_of } => {
                ("out-of-range", format!("{shown} is not a multiple of {multiple_of}"), String::new())
            }
            Kind::MinLength { limit: 1 } => {
                ("too-short", "the text is empty".to_owned(), "write at least one character".to_owned())
            }
            Kind::MinLength { limit } => {
                ("too-short", format!("{shown} is too short"), format!("at least {limit} characters"))
            }
            Kind::MaxLength { limit } => {
                ("too-long", format!("{shown} is too long"), format!("at most {limit} characters"))
            }
            Kind::MinItems { limit } => {
                let message = format!("the list has {}", count(value.as_array().map_or(0, Vec::len), "element"));
                ("too-short", message, format!("at least {limit}"))
            }
            Kind::MaxItems { limit } => {
                let message = format!("the list has {}", count(value.as_array().map_or(0, Vec::len), "element"));
                ("too-long", message, format!("at most {limit}"))
            }
            Kind::MinProperties { limit } => {
                let message =
                    format!("there are {} here", count(value.as_object().map_or(0, serde_json::Map::len), "entry"));
                ("too-short", message, format!("at least {limit}"))
            }
            Kind::MaxProperties { limit } => {
                let message =
                    format!("there are {} here", count(value.as_object().map_or(0, serde_json::Map::len), "entry"));
                ("too-long", message, format!("at most {limit}"))
            }
            Kind::FalseSchema | Kind::Not { .. } => {
                ("not-allowed", format!("{shown} is not allowed here"), String::new())
            }
            // What is left (contains, encodings, …) is rare in a schema of settings; the validator's own words will do.
            _ => ("refused", error.to_string(), String::new()),
        };
        vec![self.json.problem(self.at, code, message, self.with_about(self.at, rule))]
    }

    /// The rule, then what the schema says the value is for.
    fn with_about(&self, at: &str, rule: String) -> String {
        let about = describe::purpose(&self.schema.about(at));
        match (rule.is_empty(), about) {
            (_, None) => rule,
            (true, Some(about)) => about,
            (false, Some(about)) if rule.ends_with('?') => format!("{rule} {about}"),
            (false, Some(about)) => format!("{rule}. {about}"),
        }
    }

    fn unknown_key(&self, key: &str) -> Problem {
        let here = pointer::child(self.at, key);
        let present = self.document.pointer(self.at).and_then(Value::as_object);
        let mut known: Vec<&str> = Vec::new();
        for schema in self.schema.about(self.at) {
            let names = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            known.extend(names.map(|(name, _)| name.as_str()));
        }
        // What is there already cannot have been meant, unless the schema put its default there.
        known.retain(|name| {
            let written = self.json.place(&pointer::child(self.at, name)).is_some();
            !(written && present.is_some_and(|present| present.contains_key(*name)))
        });
        let help = suggest::help(key, &known, "remove it");
        self.json.key_problem(&here, "unknown-key", format!("there is no key `{key}` here"), help)
    }

    fn missing_key(&self, key: &str) -> Problem {
        let here = pointer::child(self.at, key);
        let about = self.schema.about(&here);
        let example = describe::example(&about);
        let help = self.with_about(&here, format!("write \"{key}\": {example}"));
        Problem {
            span: self.json.key_span_of(self.at),
            ..self.json.problem(&here, "missing-key", format!("`{key}` is missing"), help)
        }
    }

    fn refused_key(&self, error: &ValidationError<'_>) -> Problem {
        let key = error.instance().as_str().unwrap_or_default().to_owned();
        let reason = match error.kind() {
            Kind::Format { format } => format!("the key `{key}` is not {}", describe::format(format).0),
            Kind::Pattern { pattern } => format!("the key `{key}` is not of the form `{pattern}`"),
            _ => format!("the key `{key}` is not allowed here"),
        };
        let help = match error.kind() {
            Kind::Format { format } => describe::format(format).1.to_owned(),
            _ => self.with_about(self.at, String::new()),
        };
        self.json.key_problem(&pointer::child(self.at, &key), "refused-key", reason, help)
    }

    fn repeated_item(&self, value: &Value) -> Problem {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let repeated = items.iter().enumerate().find_map(|(later, item)| {
            items[..later].iter().position(|earlier| earlier == item).map(|earlier| (earlier, later))
        });
        let Some((earlier, later)) = repeated else {
            return self.json.problem(
                self.at,
                "repeated-item",
                "the list holds something twice",
                "remove one of the two",
            );
        };
        let item = |index: usize| pointer::child(self.at, &index.to_string());
        let message = format!("{} is in the list twice", shown(&items[later]));
        let mut problem = self.json.problem(&item(later), "repeated-item", message, "remove one of the two");
        problem.related.extend(self.json.related(&item(earlier), "first written here"));
        problem
    }

    /// When every alternative has another constant at one place, that place is what is wrong.
    fn unknown_tag(&self, alternatives: &[Vec<ValidationError<'static>>]) -> Option<Problem> {
        let (place, choices) = tags(alternatives, self.at)?;
        let value = self.document.pointer(place).unwrap_or(&Value::Null);
        let message = format!("{} is not {}", shown(value), choices.join(" or "));
        Some(self.json.problem(place, "not-a-choice", message, self.with_about(place, String::new())))
    }

    /// None of the alternatives holds: the problems of the one that the value comes closest to.
    fn closest_alternative(&self, alternatives: &[Vec<ValidationError<'static>>]) -> Vec<Problem> {
        // An alternative that refuses the value's very type or constant is further away than one that refuses a part of it.
        let refuses_itself = |error: &ValidationError<'_>| {
            error.instance_path().as_str() == self.at
                && matches!(error.kind(), Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. })
        };
        let refuses_a_tag = |error: &ValidationError<'_>| matches!(error.kind(), Kind::Constant { .. });
        let distance = |errors: &Vec<ValidationError<'_>>| {
            (errors.iter().any(refuses_itself), errors.iter().any(refuses_a_tag), errors.len())
        };
        let Some(closest) = alternatives.iter().min_by_key(|errors| distance(errors)) else {
            return Vec::new();
        };
        if !closest.iter().any(refuses_itself) {
            if let Some(problem) = self.unknown_tag(alternatives) {
                return vec![problem];
            }
            return closest.iter().flat_map(|error| problems(error, self.schema, self.document, self.json)).collect();
        }
        let mut expected: Vec<String> = Vec::new();
        for error in alternatives.iter().flatten().filter(|error| refuses_itself(error)) {
            let one = match error.kind() {
                Kind::Type { kind } => expected_types(kind),
                Kind::Constant { expected_value } => expected_value.to_string(),
                Kind::Enum { options } => describe::choices(options),
                _ => continue,
            };
            if !expected.contains(&one) {
                expected.push(one);
            }
        }
        let value = self.document.pointer(self.at).unwrap_or(&Value::Null);
        let message = format!("expected {}, found {}", expected.join(" or "), described(value));
        vec![self.json.problem(self.at, "wrong-type", message, self.with_about(self.at, String::new()))]
    }
}

/// The place and the constants of a tag (such as `type`) by which every alternative refuses the value.
fn tags<'e>(alternatives: &'e [Vec<ValidationError<'static>>], at: &str) -> Option<(&'e str, Vec<String>)> {
    let mut place = None;
    let mut choices = Vec::new();
    for errors in alternatives {
        let refuses_all = |error: &ValidationError<'_>| {
            error.instance_path().as_str() == at && matches!(error.kind(), Kind::Type { .. })
        };
        if errors.iter().any(refuses_all) {
            continue;
        }
        let tag = errors.iter().find_map(|error| match error.kind() {
            Kind::Constant { expected_value } => Some((error.instance_path().as_str(), expected_value.to_string())),
            _ => None,
        });
        let (here, choice) = tag?;
        if *place.get_or_insert(here) != here {
            return None;
        }
        choices.push(choice);
    }
    place.map(|place| (place, choices))
}

/// A value as a message shows it: compact JSON, cut when long.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

fn described(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(_) => format!("the text {}", shown(value)),
        Value::Number(_) => format!("the number {value}"),
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn expected_types(kind: &TypeKind) -> String {
    let types: Vec<_> = match kind {
        TypeKind::Single(one) => vec![describe::type_name(*one)],
        // `null` reads best as the afterthought that it is.
        TypeKind::Multiple(several) => {
            let (nulls, others): (Vec<_>, Vec<_>) = several.iter().partition(|one| *one == JsonType::Null);
            others.into_iter().chain(nulls).map(describe::type_name).collect()
        }
    };
    types.join(" or ")
}

/// Whether a text without its quotes would be of the expected type.
fn would_be(text: &str, kind: &TypeKind) -> bool {
    let is = |expected: JsonType| match (expected, serde_json::from_str::<Value>(text)) {
        (JsonType::Integer, Ok(Value::Number(number))) => number.is_i64() || number.is_u64(),
        (JsonType::Number, Ok(Value::Number(_))) | (JsonType::Boolean, Ok(Value::Bool(_))) => true,
        _ => false,
    };
    match kind {
        TypeKind::Single(one) => is(*one),
        TypeKind::Multiple(several) => several.iter().any(is),
    }
}

fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, _) => format!("1 {what}"),
        (_, "entry") => format!("{number} entries"),
        _ => format!("{number} {what}s"),
    }
}
