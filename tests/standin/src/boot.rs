//! Reads the configuration once, and refuses a bad one the way a real service does: by not starting.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A file that holds it keeps the service from starting, whatever the file's format.
const POISON: &str = "standin:crash";
/// A file that holds it lets the service start, unhealthy.
const AILMENT: &str = "standin:unhealthy";
/// A file that holds it lets the service start and say nothing when it is asked for its health.
const SILENCE: &str = "standin:silent";

/// The configuration that a service runs with until it reads it again.
pub(crate) struct Booted {
    /// Content by absolute path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// What the files make of it.
    pub(crate) health: Health,
}

/// How a service answers when it is asked for its health.
#[derive(Clone, Copy)]
pub(crate) enum Health {
    /// With 200.
    Well,
    /// With 503.
    Ill,
    /// Not at all.
    Silent,
}

impl Booted {
    /// Reads every file below `places`; a place that does not exist holds nothing.
    pub(crate) fn from_files(places: &[String]) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for place in places {
            read_below(Path::new(place), &mut files)?;
        }
        for (path, content) in &files {
            refuse_if_bad(path, content)?;
        }
        let says = |word| files.values().any(|content| holds(content, word));
        let health = match (says(SILENCE), says(AILMENT)) {
            (true, _) => Health::Silent,
            (false, true) => Health::Ill,
            (false, false) => Health::Well,
        };
        Ok(Self { files, health })
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
        // Real ones quote what they do not like, and a secret may stand beside it.
        return Err(format!("`{path}` asks for a crash: {}", String::from_utf8_lossy(content).trim()));
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
