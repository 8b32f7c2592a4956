//! Which value follows which: what a reference in it, or in its default, leads to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::file::PlatformFile;
use crate::fill;
use crate::pointer;
use crate::references;
use crate::schema::Schema;

/// For each value that follows others, by JSON pointer, the pointers of those; `resolved` is the document with every
/// reference resolved.
pub(crate) fn follows(file: &PlatformFile, schema: &Schema, resolved: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut document = file.json.value.clone();
    fill::fill(schema, &mut document, &mut |_, default| default);
    let mut found = BTreeMap::new();
    for root in references::ROOTS {
        if let Some(value) = document.get(root) {
            look(&format!("/{root}"), value, resolved, &mut found);
        }
    }
    // A reference to an object may have brought one that lacks what its new place has defaults for.
    let mut value = references::resolve(&document, &file.json).value;
    fill::fill(schema, &mut value, &mut |at, default| {
        look(at, &default, resolved, &mut found);
        references::resolve_default(at, &default, &document, &file.json).value
    });
    found
}

fn look(at: &str, written: &Value, resolved: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
    match written {
        Value::Object(map) => {
            for (key, value) in map {
                look(&pointer::child(at, key), value, resolved, found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                look(&pointer::child(at, &index.to_string()), value, resolved, found);
            }
        }
        Value::String(text) => {
            for name in references::names(text) {
                let named = name.split('.').fold(String::new(), |around, segment| pointer::child(&around, segment));
                follow(at, &named, resolved, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The value follows another one, and each part of it the same part of that.
fn follow(at: &str, named: &str, resolved: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
    found.entry(at.to_owned()).or_default().insert(named.to_owned());
    let below: Vec<String> = match resolved.pointer(named) {
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        Some(Value::Array(list)) => (0..list.len()).map(|index| index.to_string()).collect(),
        _ => Vec::new(),
    };
    for key in below {
        follow(&pointer::child(at, &key), &pointer::child(named, &key), resolved, found);
    }
}
