//! Values out of a SOPS file, which the operator's own `sops` opens: this program knows none of its keys.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use pconf_platform::SecretId;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::secrets::Hidden;

/// The values of the file: an object of texts by what they are called.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<(SecretId, Hidden)>> {
    // Whose key, and where it is, is in the operator's environment.
    let output = Command::new("sops").args(["--decrypt", "--output-type", "json"]).arg(file).output();
    let output = output.context("cannot run `sops`: install it (https://getsops.io) and have it in PATH")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`sops` cannot open `{}`: {}", file.display(), told.trim());
    values(&Zeroizing::new(output.stdout)).with_context(|| format!("`{}` cannot be imported", file.display()))
}

fn values(json: &[u8]) -> anyhow::Result<Vec<(SecretId, Hidden)>> {
    // The parser's own words may quote what it reads.
    let map: Option<Map<String, Value>> = serde_json::from_slice(json).ok();
    let mut values = Vec::new();
    for (name, value) in map.context("it is no object of NAME: value")? {
        let id: SecretId = name.parse()?;
        let Value::String(text) = value else { anyhow::bail!("the value of `{id}` is no text") };
        values.push((id, Hidden::new(text)));
    }
    ensure!(!values.is_empty(), "it holds no value");
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_texts_is_what_is_imported() {
        let read = |json: &str| {
            values(json.as_bytes())
                .map(|values| {
                    values.into_iter().map(|(id, value)| format!("{id}={}", value.as_str())).collect::<Vec<_>>()
                })
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            read(r#"{"token": "hunter2", "sign@co1": "x"}"#),
            Ok(vec!["token=hunter2".to_owned(), "sign@co1=x".to_owned()])
        );
        assert_eq!(read(r#"{"token": 5}"#), Err("the value of `token` is no text".to_owned()));
        assert_eq!(read(r#"["hunter2"]"#), Err("it is no object of NAME: value".to_owned()));
        assert_eq!(read("{}"), Err("it holds no value".to_owned()));
        assert!(read(r#"{"To-Ken": "hunter2"}"#).is_err_and(|error| !error.contains("hunter2")));
    }
}
