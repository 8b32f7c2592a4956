//! One encoder per destination format. What a format cannot carry is refused, never mangled.

mod compose;
mod json;
mod nginx;
mod redis;
mod url;

use tera::value::ValueKind;
use tera::{Kwargs, State, Tera, TeraResult, Value};

/// The filters that may end an expression, as a template author writes them.
pub(crate) const ENCODERS: [&str; 7] = ["json", "yaml", "nginx", "redis", "compose", "url", "verbatim"];

/// What an encoder says of a value that does not exist.
pub(crate) const UNDEFINED: &str = "does not exist";

type Encoder = fn(&Value) -> TeraResult<String>;

/// How each of them encodes, in the same order.
const FUNCTIONS: [Encoder; ENCODERS.len()] =
    [json::json, json::yaml, nginx::nginx, redis::redis, compose::compose, url::url, verbatim];

/// A text in every form that an encoder gives it, the quotes around it left out.
pub(crate) fn forms(text: &str) -> Vec<String> {
    let value = Value::from(text);
    let bare = |form: String| match form.strip_prefix('"').and_then(|form| form.strip_suffix('"')) {
        Some(bare) => bare.to_owned(),
        None => form,
    };
    let mut forms: Vec<String> = FUNCTIONS.iter().filter_map(|encode| encode(&value).ok()).map(bare).collect();
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Makes the encoders known to `tera`; to be called before the first template is added.
pub(crate) fn register(tera: &mut Tera) {
    for (name, encode) in ENCODERS.into_iter().zip(FUNCTIONS) {
        tera.register_filter(name, move |value: &Value, _: Kwargs, _: &State| {
            // The engine hands a name that does not exist to a filter as if it were a value.
            if value.is_undefined() { Err(tera::Error::message(UNDEFINED)) } else { encode(value) }
        });
    }
    tera.register_filter("group_by", |_: &Value, _: Kwargs, _: &State| {
        // The engine's own hashes the groups: the same input would give other bytes.
        Err::<String, _>(tera::Error::message("`group_by` has no order that stays: loop and compare instead"))
    });
}

/// A setting that is itself the text of a file.
fn verbatim(value: &Value) -> TeraResult<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| refuse("verbatim", value, "only text can be the text of a file"))
}

/// The text of a scalar, or a refusal: lists, objects and `null` have no form in line-oriented formats.
fn scalar(encoder: &str, value: &Value) -> TeraResult<String> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None if value.is_number() || value.is_bool() => Ok(value.to_string()),
        None => Err(refuse(encoder, value, "only text, a number, true or false has a form there")),
    }
}

/// Text in double quotes with `"`, `\\` and the usual white space escaped, as nginx and redis both read it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An error that names the kind of value and the format, and quotes nothing: the value may be a secret.
fn refuse(encoder: &str, value: &Value, why: &str) -> tera::Error {
    let kind = match value.kind() {
        ValueKind::None => "null",
        ValueKind::String => "text",
        ValueKind::Array => "a list",
        ValueKind::Map => "an object",
        _ => "a number or boolean",
    };
    tera::Error::message(format!("{kind} cannot be written as {encoder}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `value` through `encoder`, as a template would write it.
    fn encoded(encoder: &str, value: &serde_json::Value) -> Result<String, String> {
        let mut tera = Tera::default();
        register(&mut tera);
        let template = format!("{{{{ v | {encoder} }}}}");
        tera.add_raw_template("t", &template).map_err(|e| e.to_string())?;
        let mut context = tera::Context::new();
        context.insert("v", value);
        tera.render("t", &context).map_err(|e| match e.kind() {
            tera::ErrorKind::RenderingError(report) => report.message().to_owned(),
            other => other.to_string(),
        })
    }

    #[test]
    fn every_encoder_carries_hostile_text_or_refuses_it() {
        let hostile = [
            json!("{{ phone_number }}"),
            json!("{username} #{RESET_URL}"),
            json!("$host"),
            json!("say \"hi\" it's\n#1 caf\u{e9} \\ `x`"),
            json!("no"),
            json!("\u{85}\u{2028}\u{7f}"),
            json!(""),
            json!(null),
            json!([]),
            json!({"a": [1, 2.5, true, null, "$x"]}),
            json!(42),
            json!(1.0),
        ];
        let mut table = String::new();
        for encoder in ENCODERS {
            for value in &hostile {
                let outcome = encoded(encoder, value).unwrap_or_else(|refusal| format!("REFUSED {refusal}"));
                table += &format!("{encoder:9} {:46} -> {}\n", value.to_string(), outcome.escape_debug());
            }
        }
        insta::assert_snapshot!(table);
    }
}
