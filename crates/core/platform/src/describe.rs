//! A schema in words: what a value is for, what it may be.

use jsonschema::JsonType;
use serde_json::Value;

use crate::schema::{Alternatives, Schema};

/// What a value is for: the description of the most specific schema that has one, else its title.
pub(crate) fn purpose(schemas: &[&Value]) -> Option<String> {
    let text = |keyword| schemas.iter().find_map(|schema| schema.get(keyword)?.as_str());
    text("description").or_else(|| text("title")).map(str::to_owned)
}

/// A value that could stand there, as JSON: an example, the default, a choice, or a value of the type.
pub(crate) fn example(schemas: &[&Value]) -> String {
    let found = |keyword| schemas.iter().find_map(|schema| schema.get(keyword));
    let first = |keyword| found(keyword).and_then(|list| list.get(0));
    if let Some(value) =
        first("examples").or_else(|| found("default")).or_else(|| found("const")).or_else(|| first("enum"))
    {
        return value.to_string();
    }
    let of = found("type").and_then(|of| of.as_str().or_else(|| of.get(0)?.as_str()));
    match of {
        Some("integer" | "number") => found("minimum").map_or_else(|| "0".to_owned(), Value::to_string),
        Some("boolean") => "false".to_owned(),
        Some("array") => "[]".to_owned(),
        Some("object") => "{}".to_owned(),
        Some("null") => "null".to_owned(),
        _ => "\"…\"".to_owned(),
    }
}

/// The name of a type with its article.
pub(crate) fn type_name(of: JsonType) -> &'static str {
    match of {
        JsonType::Null => "null",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    }
}

/// The values of an `enum`: `"a", "b" or "c"`.
pub(crate) fn choices(options: &Value) -> String {
    let words: Vec<_> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// What a value may be, e.g. `Whole number from 1 to 65535`; empty where the schema does not say.
pub(crate) fn facts(schema: &Schema, schemas: &[&Value]) -> String {
    let found = |keyword| schemas.iter().find_map(|schema| schema.get(keyword));
    if let Some(options) = found("enum") {
        return format!("One of {}", choices(options));
    }
    if let Some(value) = found("const") {
        return format!("Always {value}");
    }
    if let Some(of) = found("type") {
        let types: Vec<&str> = match of {
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        let words: Vec<_> = types.iter().map(|of| of_type(of, schema, schemas)).collect();
        return capitalised(&words.join(" or "));
    }
    let alternatives = found("oneOf").or_else(|| found("anyOf")).and_then(Value::as_array);
    let mut words: Vec<String> = Vec::new();
    for alternative in alternatives.into_iter().flatten() {
        let one = facts(schema, &schema.expand(&[alternative], Alternatives::LeftOut));
        let one = if words.is_empty() { one } else { uncapitalised(&one) };
        if !one.is_empty() && !words.iter().any(|known| known.eq_ignore_ascii_case(&one)) {
            words.push(one);
        }
    }
    words.join(" or ")
}

fn of_type(of: &str, schema: &Schema, schemas: &[&Value]) -> String {
    let found = |keyword| schemas.iter().find_map(|schema| schema.get(keyword));
    match of {
        "string" => match found("format").and_then(Value::as_str) {
            Some(name) => format(name).0.trim_start_matches("an ").trim_start_matches("a ").to_owned(),
            None => "text".to_owned(),
        },
        "integer" | "number" => {
            let what = if of == "integer" { "whole number" } else { "number" };
            match (found("minimum"), found("maximum")) {
                (Some(least), Some(most)) => format!("{what} from {least} to {most}"),
                (Some(least), None) => format!("{what}, at least {least}"),
                (None, Some(most)) => format!("{what}, at most {most}"),
                (None, None) => what.to_owned(),
            }
        }
        "boolean" => "true or false".to_owned(),
        "array" => {
            let items = found("items").map(|items| facts(schema, &schema.expand(&[items], Alternatives::LeftOut)));
            match items {
                Some(items) if !items.is_empty() => format!("list (each: {})", uncapitalised(&items)),
                _ => "list".to_owned(),
            }
        }
        "object" => "object".to_owned(),
        other => other.to_owned(),
    }
}

fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// With a small first letter, unless it starts an abbreviation such as URL.
fn uncapitalised(text: &str) -> String {
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if !rest.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(rest).collect(),
        _ => text.to_owned(),
    }
}

/// The formats that a schema of settings has use for.
pub(crate) const FORMATS: [&str; 12] = [
    "ipv4",
    "ipv6",
    "hostname",
    "uri",
    "email",
    "date-time",
    "machine-name",
    "role-name",
    "relative-path",
    "owner",
    "mode",
    "glob",
];

/// What a `format` asks for, with its article, and how such a value is written.
pub(crate) fn format(name: &str) -> (&'static str, &'static str) {
    match name {
        "ipv4" => ("an IP address", "four numbers from 0 to 255, e.g. 203.0.113.10"),
        "ipv6" => ("an IPv6 address", "e.g. 2001:db8::10"),
        "hostname" | "idn-hostname" => ("a host name", "letters, digits, `-` and dots, e.g. reg.pryv.example"),
        "uri" | "iri" => ("a URL", "with its scheme, e.g. https://pryv.example"),
        "uri-reference" | "iri-reference" => ("a URL or a path", "e.g. https://pryv.example/ or /help"),
        "email" | "idn-email" => ("an email address", "e.g. help@pryv.example"),
        "date" => ("a date", "year, month, day, e.g. 2026-11-21"),
        "date-time" => ("a moment", "e.g. 2026-11-21T10:00:00Z"),
        "time" => ("a time of day", "e.g. 10:00:00Z"),
        "duration" => ("a duration", "e.g. PT15M"),
        "uuid" => ("a UUID", "e.g. 123e4567-e89b-12d3-a456-426614174000"),
        "regex" => ("a regular expression", "e.g. ^[a-z]+$"),
        "machine-name" => {
            ("a machine's name", "1 to 63 of a-z, 0-9 and `-`, starting with a letter or a digit, e.g. co1")
        }
        "role-name" => ("a role's name", "1 to 63 of a-z, 0-9 and `-`, starting with a letter or a digit, e.g. core"),
        "secret-name" => ("a secret's name", "1 to 63 of a-z, 0-9 and `_`, starting with a letter, e.g. admin_key"),
        "relative-path" => ("a path below the root", "no leading `/`, no `.` or `..`, e.g. core/conf/core.yml"),
        "owner" => ("an owner", "numeric user and group, e.g. 9999:9999"),
        "mode" => ("a mode", "four octal digits from 0000 to 0777, e.g. 0640"),
        "glob" => ("a file pattern", "e.g. **/*.key; `*` stays within a folder, `**` does not"),
        _ => ("well-formed", "see the format that the schema names"),
    }
}
