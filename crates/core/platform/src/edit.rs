//! Edits of `platform.json` by a tool: comments, order and formatting stay.

use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use pconf_names::{MachineName, RoleName};
use serde_json::{Map, Value};

use crate::json_text::{DIALECT, JsonText};
use crate::pointer;
use crate::suggest;

/// The edit cannot be made; the text is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no `machines` object to edit: the file does not parse or is no platform.
    #[error("the file has no `machines` object: run `config-leader check` and repair it first")]
    NoMachines,
    /// A machine of that name is there already.
    #[error("machine `{0}` is already declared: choose another name, or remove it first")]
    AlreadyThere(MachineName),
    /// No machine has that name.
    #[error("no machine is called `{name}`{}", did_you_mean(.closest.as_deref()))]
    Unknown {
        /// The name that was asked for.
        name: MachineName,
        /// The declared name that is most like it.
        closest: Option<String>,
    },
}

fn did_you_mean(closest: Option<&str>) -> String {
    closest.map(|closest| format!(": did you mean `{closest}`?")).unwrap_or_default()
}

/// The text with a machine more, after the last one. `fields` follow `role` and `url`.
///
/// It is written on one line where the last machine is, else one field per line.
pub fn add_machine(
    text: &str,
    name: &MachineName,
    role: &RoleName,
    url: Option<&str>,
    fields: &Map<String, Value>,
) -> Result<String, EditError> {
    let (root, machines) = open(text)?;
    if find(&machines, name).is_some() {
        return Err(EditError::AlreadyThere(name.clone()));
    }
    let mut entry = Map::new();
    entry.insert("role".to_owned(), Value::String(role.to_string()));
    entry.extend(url.map(|url| ("url".to_owned(), Value::String(url.to_owned()))));
    entry.extend(fields.clone());
    let on_one_line = machines.properties().last().is_some_and(|last| !last.to_string().contains('\n'));
    let written = Value::Object(entry);
    machines.append(name.as_str(), input(&written));
    let edited = root.to_string();
    if !on_one_line {
        return Ok(edited);
    }
    let place = JsonText::parse("", &edited).ok();
    let place = place.as_ref().and_then(|json| json.place(&pointer::child("/machines", name.as_str())));
    Ok(match place {
        Some(place) => {
            let (before, after) = (&edited[..place.value.start], &edited[place.value.end..]);
            format!("{before}{}{after}", one_line(&written))
        }
        None => edited,
    })
}

/// The text without a machine.
pub fn remove_machine(text: &str, name: &MachineName) -> Result<String, EditError> {
    let (root, machines) = open(text)?;
    let Some(machine) = find(&machines, name) else {
        let names: Vec<_> = machines.properties().iter().filter_map(CstObjectProp::decoded_name).collect();
        let closest = suggest::closest(name.as_str(), names.iter().map(String::as_str)).map(str::to_owned);
        return Err(EditError::Unknown { name: name.clone(), closest });
    };
    machine.remove();
    Ok(root.to_string())
}

fn open(text: &str) -> Result<(CstRootNode, CstObject), EditError> {
    // A file with two keys of one name has to be repaired by a person first.
    JsonText::parse("", text).map_err(|_| EditError::NoMachines)?;
    let root = CstRootNode::parse(text, &DIALECT).map_err(|_| EditError::NoMachines)?;
    let machines = root.object_value().and_then(|platform| platform.object_value("machines"));
    machines.map(|machines| (root, machines)).ok_or(EditError::NoMachines)
}

fn find(machines: &CstObject, name: &MachineName) -> Option<CstObjectProp> {
    machines.properties().into_iter().find(|machine| machine.decoded_name().as_deref() == Some(name.as_str()))
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(truth) => CstInputValue::Bool(*truth),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(list) => CstInputValue::Array(list.iter().map(input).collect()),
        Value::Object(map) => {
            CstInputValue::Object(map.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}

/// Compact JSON with the spaces that people put: `{ "role": "core", "tags": ["a", "b"] }`.
fn one_line(value: &Value) -> String {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let entry =
                |(key, value): (&String, &Value)| format!("{}: {}", Value::String(key.clone()), one_line(value));
            format!("{{ {} }}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    const ONE_LINE: &str = r#"// our platform
{
  "kind": "pryv", // the set
  "machines": {
    // the registry
    "reg":  { "role": "reg-master" },
    "co1":  { "role": "core" } // Paris
  },
}
"#;

    fn added(text: &str, name: &str) -> Result<String, EditError> {
        let role = "core".parse().unwrap();
        add_machine(text, &name.parse().unwrap(), &role, Some("https://co2.example"), &Map::new())
    }

    #[test]
    fn a_machine_is_added_the_way_the_last_one_is_written() {
        let expected = ONE_LINE.replace(
            "\"core\" } // Paris\n",
            "\"core\" }, // Paris\n    \"co2\": { \"role\": \"core\", \"url\": \"https://co2.example\" }\n",
        );
        assert_eq!(added(ONE_LINE, "co2"), Ok(expected));

        let spread = "{\r\n\t\"machines\": {\r\n\t\t\"co1\": {\r\n\t\t\t\"role\": \"core\",\r\n\t\t},\r\n\t},\r\n}\r\n";
        let expected = "{\r\n\t\"machines\": {\r\n\t\t\"co1\": {\r\n\t\t\t\"role\": \"core\",\r\n\t\t},\r\n\t\t\"co2\": {\r\n\t\t\t\"role\": \"core\",\r\n\t\t\t\"url\": \"https://co2.example\",\r\n\t\t},\r\n\t},\r\n}\r\n";
        assert_eq!(added(spread, "co2").as_deref(), Ok(expected));

        let none = "{ \"machines\": {} }";
        let expected = "{ \"machines\": {\n    \"co2\": {\n      \"role\": \"core\",\n      \"url\": \"https://co2.example\"\n    }\n  } }";
        assert_eq!(added(none, "co2").as_deref(), Ok(expected));
    }

    #[test]
    fn what_was_added_can_be_removed_without_a_trace() {
        let more = added(ONE_LINE, "co2").unwrap();
        let less = remove_machine(&more, &"co2".parse().unwrap()).unwrap();
        assert_eq!(less, ONE_LINE);
    }

    #[test]
    fn the_other_machines_and_their_comments_stay() {
        let expected = ONE_LINE.replace("    \"reg\":  { \"role\": \"reg-master\" },\n", "");
        assert_eq!(remove_machine(ONE_LINE, &"reg".parse().unwrap()), Ok(expected));
    }

    #[test]
    fn an_edit_that_cannot_be_meant_is_refused() {
        let taken = added(ONE_LINE, "co1").unwrap_err();
        assert_eq!(taken.to_string(), "machine `co1` is already declared: choose another name, or remove it first");
        let unknown = remove_machine(ONE_LINE, &"co11".parse().unwrap()).unwrap_err();
        assert_eq!(unknown.to_string(), "no machine is called `co11`: did you mean `co1`?");
        for broken in ["", "{", "[]", "{ \"machines\": 1 }", "{ \"machines\": {}, \"machines\": {} }"] {
            assert_eq!(added(broken, "co2"), Err(EditError::NoMachines), "{broken}");
        }
    }
}
