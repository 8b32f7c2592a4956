//! The way from what somebody typed to a value of the platform: `settings.mail.host`, or a suggestion.

use serde_json::Value;

use crate::pointer;
use crate::schema::{Alternatives, Schema, below};
use crate::suggest;

/// There is no such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{what}` does not exist: {help}")]
pub struct Unknown {
    /// As far as it is not known, dotted, e.g. `settings.mial`.
    pub what: String,
    /// The way out.
    pub help: String,
}

impl Schema {
    /// The JSON pointer of a dotted name (`settings.mail.host`), or of a pointer, below `document`: of a value that is there,
    /// or of a property that could be.
    pub fn find(&self, document: &Value, name: &str) -> Result<String, Unknown> {
        let segments: Vec<String> = if name.starts_with('/') {
            pointer::segments(name).collect()
        } else {
            name.split('.').map(str::to_owned).collect()
        };
        let (mut here, mut value) = (String::new(), Some(document));
        let mut schemas = self.root();
        for segment in segments {
            let own = schemas.iter().filter_map(|schema| schema.get("properties")?.as_object());
            let all = own.chain(value.and_then(Value::as_object));
            let mut known: Vec<String> = all.flat_map(|map| map.keys().cloned()).collect();
            let next = match value {
                Some(Value::Array(list)) => segment.parse::<usize>().ok().and_then(|index| list.get(index)),
                value => value.and_then(|value| value.get(&segment)),
            };
            let around = pointer::dotted(&here);
            here = pointer::child(&here, &segment);
            if next.is_none() && !known.contains(&segment) {
                known.sort_unstable();
                known.dedup();
                let known: Vec<&str> =
                    known.iter().map(String::as_str).filter(|known| !known.starts_with('$')).collect();
                let help = suggest::help(&segment, &known, &format!("`{around}` has nothing below it"));
                return Err(Unknown { what: pointer::dotted(&here), help });
            }
            let found: Vec<&Value> = schemas.iter().filter_map(|schema| below(schema, &segment)).collect();
            schemas = self.expand(&found, Alternatives::LeftOut);
            value = next;
        }
        Ok(here)
    }
}

/// A JSON pointer as people write it: `/machines/co1/ip` is `machines.co1.ip`.
#[must_use]
pub fn dotted(pointer: &str) -> String {
    pointer::dotted(pointer)
}
