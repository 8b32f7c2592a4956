//! The JSON Schema of a template set's `platform.json`.
//!
//! One document, 2020-12, no references out of it: a schema that could fetch another one would be a file reader and an
//! HTTP client in the hands of whoever writes it.

use jsonschema::{Draft, ValidationError, ValidationOptions, Validator};
use pconf_names::{MachineName, Mode, Owner, RelativePath, RoleName};
use serde_json::{Map, Value, json};

use crate::describe;
use crate::json_text::JsonText;
use crate::pointer;
use crate::problem::Problem;
use crate::rollout;
use crate::secrets::SecretName;
use crate::suggest;

/// What a set says about its `platform.json`: JSON Schema 2020-12, compiled once.
///
/// Formats are asserted. Beside the usual ones there are `machine-name`, `role-name`, `secret-name`, `relative-path`,
/// `owner`, `mode` and `glob`.
#[derive(Debug)]
pub struct Schema {
    json: JsonText,
    validator: Validator,
}

impl Schema {
    /// Reads and compiles `platform.schema.json`, with what every set has in common laid over it; a default that the schema itself refuses is a problem too.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let mut json = JsonText::parse(file_name, text)?;
        rollout::lay_over(&mut json.value);
        Self::sound(json)
    }

    /// As [`Schema::parse`], of another file than `platform.json`.
    pub(crate) fn of_manifest(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        Self::sound(JsonText::parse(file_name, text)?)
    }

    fn sound(json: JsonText) -> Result<Self, Vec<Problem>> {
        let schema = Self::compile(json)?;
        let problems = schema.refused_defaults();
        if problems.is_empty() { Ok(schema) } else { Err(problems) }
    }

    fn compile(json: JsonText) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        faults(&json, &options(), &json.value, "", &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        match options().build(&json.value) {
            Ok(validator) => Ok(Self { json, validator }),
            Err(error) => {
                let message = format!("this is no JSON Schema 2020-12: {error}");
                let help = "see https://json-schema.org/draft/2020-12 for what a schema may say";
                Err(vec![json.problem(error.instance_path().as_str(), "invalid-schema", message, help)])
            }
        }
    }

    /// Everything that `value` breaks.
    pub(crate) fn violations<'v>(&'v self, value: &'v Value) -> impl Iterator<Item = ValidationError<'v>> {
        self.validator.iter_errors(value)
    }

    /// The parts of the schema that speak of the value at a pointer; alternatives (`anyOf`, `oneOf`) included.
    pub(crate) fn about(&self, pointer: &str) -> Vec<&Value> {
        let mut schemas = self.expand(&[&self.json.value], Alternatives::Included);
        for segment in pointer::segments(pointer) {
            let below: Vec<_> = schemas.iter().filter_map(|schema| below(schema, &segment)).collect();
            schemas = self.expand(&below, Alternatives::Included);
        }
        schemas
    }

    /// The schema of the whole document, with what it surely includes.
    pub(crate) fn root(&self) -> Vec<&Value> {
        self.expand(&[&self.json.value], Alternatives::LeftOut)
    }

    /// The schemas and what they surely include: the targets of `$ref`, the members of `allOf`.
    pub(crate) fn expand<'s>(&'s self, schemas: &[&'s Value], alternatives: Alternatives) -> Vec<&'s Value> {
        let mut found = Vec::new();
        for schema in schemas {
            self.expand_into(schema, alternatives, &mut found);
        }
        found
    }

    fn expand_into<'s>(&'s self, schema: &'s Value, alternatives: Alternatives, found: &mut Vec<&'s Value>) {
        // A schema may include itself by reference; each of them counts once.
        if found.iter().any(|known| std::ptr::eq(*known, schema)) {
            return;
        }
        found.push(schema);
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        if let Some(target) = target.and_then(|pointer| self.json.value.pointer(pointer)) {
            self.expand_into(target, alternatives, found);
        }
        let lists: &[&str] = match alternatives {
            Alternatives::LeftOut => &["allOf"],
            Alternatives::Included => &["allOf", "anyOf", "oneOf"],
        };
        for list in lists {
            for member in schema.get(list).and_then(Value::as_array).into_iter().flatten() {
                self.expand_into(member, alternatives, found);
            }
        }
    }

    /// The defaults that their own subschemas refuse. All are judged by one validator: a property per default, which refers
    /// to its subschema within the document, since a subschema may refer to the rest of it.
    fn refused_defaults(&self) -> Vec<Problem> {
        let mut places = Vec::new();
        defaults(&self.json.value, "", &mut places);
        // What a reference resolves to is known with a platform.json only; the whole is validated there.
        let defaults: Vec<(String, &Value)> = places
            .into_iter()
            .filter_map(|place| Some((self.json.value.pointer(&pointer::child(&place, "default"))?, place)))
            .filter(|(default, _)| !mentions_reference(default))
            .map(|(default, place)| (place, default))
            .collect();
        if defaults.is_empty() {
            return Vec::new();
        }
        let properties: Map<String, Value> = (0..)
            .zip(&defaults)
            .map(|(index, (place, _)): (usize, _)| {
                (index.to_string(), json!({ "$ref": format!("#/$defs/whole{place}") }))
            })
            .collect();
        let document = json!({ "properties": properties, "$defs": { "whole": rebased(&self.json.value) } });
        let instance: Value = (0..)
            .zip(&defaults)
            .map(|(index, (_, default)): (usize, _)| (index.to_string(), (*default).clone()))
            .collect();
        let Ok(validator) = options().build(&document) else { return Vec::new() };
        let errors = validator.iter_errors(&instance).filter_map(|error| {
            let mut path = error.instance_path().as_str().splitn(3, '/').skip(1);
            let (place, _) = defaults.get(path.next()?.parse::<usize>().ok()?)?;
            let below = path.next().map(|rest| format!("/{rest}")).unwrap_or_default();
            let at = format!("{}{below}", pointer::child(place, "default"));
            let message = format!("the default does not satisfy its own schema: {error}");
            Some(self.json.problem(&at, "refused-default", message, "change the default or the schema"))
        });
        errors.collect()
    }
}

/// Whether a schema's alternatives count as what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Alternatives {
    Included,
    LeftOut,
}

/// The schema of the child `segment`, as far as one keyword of `schema` tells.
pub(crate) fn below<'s>(schema: &'s Value, segment: &str) -> Option<&'s Value> {
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(segment)) {
        return Some(property);
    }
    let prefix = segment.parse::<usize>().ok().and_then(|index| schema.get("prefixItems")?.get(index));
    let items = segment.parse::<usize>().ok().and_then(|_| schema.get("items"));
    prefix.or(items).or_else(|| schema.get("additionalProperties").filter(|rest| rest.is_object()))
}

fn options() -> ValidationOptions<'static> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_format("machine-name", |text: &str| text.parse::<MachineName>().is_ok())
        .with_format("role-name", |text: &str| text.parse::<RoleName>().is_ok())
        .with_format("secret-name", |text: &str| text.parse::<SecretName>().is_ok())
        .with_format("relative-path", |text: &str| text.parse::<RelativePath>().is_ok())
        .with_format("owner", |text: &str| text.parse::<Owner>().is_ok())
        .with_format("mode", |text: &str| text.parse::<Mode>().is_ok())
        .with_format("glob", |text: &str| crate::role::glob(text).is_ok())
}

/// Keywords whose value is data, not schema.
const DATA: [&str; 4] = ["default", "const", "enum", "examples"];

/// References that lead nowhere and formats that nobody knows: what the validator would not say the place of.
fn faults(json: &JsonText, options: &ValidationOptions<'_>, node: &Value, at: &str, problems: &mut Vec<Problem>) {
    match node {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| !DATA.contains(&key.as_str())) {
                let here = pointer::child(at, key);
                match (key.as_str(), value) {
                    ("$ref", Value::String(target)) if !leads_somewhere(json, target) => {
                        let message = format!("`{target}` is not a place in this document");
                        let help = "refer to a part of this file, e.g. \"#/$defs/name\"";
                        problems.push(json.problem(&here, "foreign-reference", message, help));
                    }
                    ("format", Value::String(name)) if !options.is_known_format(Draft::Draft202012, name) => {
                        let message = format!("the format `{name}` is unknown");
                        let help = suggest::help(name, &describe::FORMATS, "leave it out");
                        problems.push(json.problem(&here, "invalid-schema", message, help));
                    }
                    _ => faults(json, options, value, &here, problems),
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                faults(json, options, value, &pointer::child(at, &format!("{index}")), problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn leads_somewhere(json: &JsonText, target: &str) -> bool {
    target.strip_prefix('#').is_some_and(|pointer| pointer.starts_with('/') && json.value.pointer(pointer).is_some())
}

/// The places of all subschemas with a default.
fn defaults(node: &Value, at: &str, places: &mut Vec<String>) {
    match node {
        Value::Object(map) => {
            // A property may itself be called `default`; then it is a schema and not the default of one.
            let in_properties =
                pointer::split_last(at).is_some_and(|(_, last)| last == "properties" || last == "$defs");
            if map.contains_key("default") && !in_properties {
                places.push(at.to_owned());
            }
            for (key, value) in map.iter().filter(|(key, _)| in_properties || !DATA.contains(&key.as_str())) {
                defaults(value, &pointer::child(at, key), places);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                defaults(value, &pointer::child(at, &format!("{index}")), places);
            }
        }
        _ => {}
    }
}

fn mentions_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(list) => list.iter().any(mentions_reference),
        Value::Object(map) => map.values().any(mentions_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The document with its references as they are when it stands at `#/$defs/whole`.
fn rebased(node: &Value) -> Value {
    match node {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| *key != "$schema" && *key != "$id")
            .map(|(key, value)| match value {
                Value::String(target) if key == "$ref" => {
                    (key.clone(), Value::String(target.replacen("#/", "#/$defs/whole/", 1)))
                }
                _ => (key.clone(), rebased(value)),
            })
            .collect(),
        Value::Array(list) => list.iter().map(rebased).collect(),
        other => other.clone(),
    }
}
