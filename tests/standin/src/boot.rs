//! Reads the configuration once, and refuses a bad one the way a real service does: by not starting.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A file that holds it keeps the service from starting, whatever the file's format.
const POISON: &str = "standin:crash";
/// A file that holds it lets the service start, unhealthy.
const AILMENT: &str = "standin:unhealthy";

/// The configuration that a service runs with until it is started again.
pub(crate) struct Booted {
    /// Content by absolute path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Nanoseconds since the Unix epoch.
    pub(crate) started: u128,
    /// Whether no file asks for the contrary.
    pub(crate) healthy: bool,
}

impl Booted {
    /// Reads every file below `places`; a place that does not exist holds nothing.
    pub(crate) fn from_files(places: &[String], started: u128) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for place in places {
            read_below(Path::new(place), &mut files)?;
        }
        for (path, content) in &files {
            refuse_if_bad(path, content)?;
        }
        let healthy = !files.values().any(|content| holds(content, AILMENT));
        Ok(Self { files, started, healthy })
    }
}

fn read_below(place: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let problem = |error| format!("cannot read `{}`: {error}", place.display());
    if place.is_dir() {
        for entry in fs::read_dir(place).map_err(problem)? {
            read_below(&entry.map_err(problem)?.path(), files)?;
        }
    } else if place.is_file() {
        files.insert(place.display().to_string(), fs::read(place).map_err(problem)?);
    }
    Ok(())
}

fn refuse_if_bad(path: &str, content: &[u8]) -> Result<(), String> {
    if holds(content, POISON) {
        return Err(format!("`{path}` asks for a crash"));
    }
    let is_json = Path::new(path).extension().is_some_and(|extension| extension == "json");
    if is_json && let Err(problem) = serde_json::from_slice::<serde_json::Value>(content) {
        return Err(format!("`{path}` is not JSON: {problem}"));
    }
    Ok(())
}

fn holds(content: &[u8], word: &str) -> bool {
    content.windows(word.len()).any(|window| window == word.as_bytes())
}
