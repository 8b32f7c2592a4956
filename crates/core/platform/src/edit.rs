//! Edits of `platform.json` by a tool: comments, order and formatting stay.

use pconf_names::{MachineName, RoleName};
use serde_json::{Map, Value};

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
    #[error("no machine is called `{name}`{}", .closest.as_ref().map(|closest| format!(": did you mean `{closest}`?")).unwrap_or_default())]
    Unknown {
        /// The name that was asked for.
        name: MachineName,
        /// The declared name that is most like it.
        closest: Option<String>,
    },
}

/// The text with a machine more, after the last one. `fields` follow `role` and `url`.
pub fn add_machine(
    text: &str,
    name: &MachineName,
    role: &RoleName,
    url: Option<&str>,
    fields: &Map<String, Value>,
) -> Result<String, EditError> {
    let _ = (text, name, role, url, fields);
    todo!()
}

/// The text without a machine.
pub fn remove_machine(text: &str, name: &MachineName) -> Result<String, EditError> {
    let _ = (text, name);
    todo!()
}
