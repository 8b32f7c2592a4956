//! What the admin left out and the schema knows.

use serde_json::{Map, Value};

use crate::pointer;
use crate::schema::{Alternatives, Schema, below};

/// Adds every property that is absent and has a default. An absent object without a default of its own appears when the
/// defaults of its properties make it whole; one that would still miss a required property stays absent.
///
/// `prepare` gets each default with its pointer before it is put in. Defaults inside `anyOf`, `oneOf` and `if` are not
/// looked at: which branch holds is not known yet.
pub(crate) fn fill(schema: &Schema, value: &mut Value, prepare: &mut dyn FnMut(&str, Value) -> Value) {
    fill_from(schema, &schema.root(), "", value, prepare);
}

fn fill_from<'s>(
    schema: &'s Schema,
    schemas: &[&'s Value],
    at: &str,
    value: &mut Value,
    prepare: &mut dyn FnMut(&str, Value) -> Value,
) {
    match value {
        Value::Object(map) => {
            for (name, _) in properties(schemas) {
                if !map.contains_key(name)
                    && let Some(default) = default_of(schema, &children(schema, schemas, name), &mut Vec::new())
                {
                    map.insert(name.to_owned(), prepare(&pointer::child(at, name), default));
                }
            }
            for (name, value) in map.iter_mut() {
                fill_from(schema, &children(schema, schemas, name), &pointer::child(at, name), value, prepare);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter_mut().enumerate() {
                let index = index.to_string();
                fill_from(schema, &children(schema, schemas, &index), &pointer::child(at, &index), value, prepare);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The value of an absent property; `around` are the schemas whose value is being made, so that a tree-shaped schema ends.
fn default_of<'s>(schema: &'s Schema, schemas: &[&'s Value], around: &mut Vec<&'s Value>) -> Option<Value> {
    if let Some(default) = schemas.iter().find_map(|schema| schema.get("default")) {
        return Some(default.clone());
    }
    let is_object = schemas.iter().any(|schema| schema.get("type").is_some_and(|of| of == "object"));
    if !is_object || schemas.iter().any(|schema| around.iter().any(|known| std::ptr::eq(*known, *schema))) {
        return None;
    }
    let depth = around.len();
    around.extend_from_slice(schemas);
    let mut map = Map::new();
    for (name, _) in properties(schemas) {
        if let Some(default) = default_of(schema, &children(schema, schemas, name), around) {
            map.insert(name.to_owned(), default);
        }
    }
    around.truncate(depth);
    let required = schemas.iter().filter_map(|schema| schema.get("required")?.as_array()).flatten();
    let whole = required.filter_map(Value::as_str).all(|name| map.contains_key(name));
    (whole && !map.is_empty()).then_some(Value::Object(map))
}

fn properties<'s>(schemas: &[&'s Value]) -> impl Iterator<Item = (&'s str, &'s Value)> {
    let maps: Vec<_> = schemas.iter().filter_map(|schema| schema.get("properties")?.as_object()).collect();
    maps.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
}

fn children<'s>(schema: &'s Schema, schemas: &[&'s Value], name: &str) -> Vec<&'s Value> {
    let below: Vec<_> = schemas.iter().filter_map(|schema| below(schema, name)).collect();
    schema.expand(&below, Alternatives::LeftOut)
}
