//! What is true of a machine, to be compared with what should be and with what is claimed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use promises::Tree;
use scripted_engine::State;
use serde_json::Value;

use crate::follower::{DRAFT, Follower};

/// Files with their text, owner and mode, and folders.
type Files = BTreeMap<String, (Option<String>, String, u32)>;

/// Everything that has to be so in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Truth {
    files: Files,
    state: Vec<String>,
    containers: BTreeMap<String, Reader>,
    /// How often what was done to which container.
    done: BTreeMap<String, BTreeMap<String, usize>>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reader {
    state: State,
    has_read: BTreeMap<String, String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A revision by its name, and its files.
pub(crate) struct Revision {
    pub(crate) name: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Revision {
    pub(crate) fn new(name: &str, tree: &Tree) -> Self {
        Self { name: name.to_owned(), files: contents(tree) }
    }
}

/// Every file, without drafts and what is in them.
fn contents(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let files = tree.iter().filter(|(path, _)| !path.contains(DRAFT));
    files.filter_map(|(path, entry)| Some((path.clone(), entry.content.clone()?))).collect()
}

impl Truth {
    pub(crate) fn of(follower: &Follower) -> Result<Self> {
        let tree = follower.tree()?;
        let files = tree
            .into_iter()
            .map(|(path, entry)| (path, (entry.content.as_deref().map(text), entry.owner, entry.mode)))
            .collect();
        let containers = follower.engine.names().into_iter().map(|name| {
            let state = follower.engine.state(&name).unwrap_or(State::Created);
            let has_read = follower.has_read(&name).into_iter().map(|(path, bytes)| (path, text(&bytes))).collect();
            (name, Reader { state, has_read })
        });
        let mut done: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for (name, verb) in follower.engine.calls().iter().filter_map(|call| deed(call)) {
            *done.entry(name).or_default().entry(verb).or_default() += 1;
        }
        Ok(Self { files, state: follower.state()?, containers: containers.collect(), done })
    }

    /// Where this is not as it has to be; `spare` is how often more than needed something may be done.
    pub(crate) fn differs_from(&self, wanted: &Self, spare: usize) -> Vec<String> {
        let mut found = Vec::new();
        compare("file", &wanted.files, &self.files, &mut found);
        if self.state != wanted.state {
            found.push(format!("state folder: {:?} and not {:?}", self.state, wanted.state));
        }
        compare("container", &wanted.containers, &self.containers, &mut found);
        for (name, done) in &self.done {
            let Some(needed) = wanted.done.get(name) else {
                found.push(format!("`{name}` was touched: {done:?}"));
                continue;
            };
            for (verb, times) in done {
                let needed = needed.get(verb).copied().unwrap_or(0);
                if *times > needed + spare {
                    found.push(format!("`{name}`: {verb} {times} times and not {needed}"));
                }
            }
        }
        found
    }
}

/// Every container took what it reads after that was last written.
pub(crate) fn took_too_early(follower: &Follower) -> Result<Vec<String>> {
    let tree = follower.tree()?;
    let mut found = Vec::new();
    for name in follower.engine.names() {
        if follower.engine.state(&name) != Some(State::Running) {
            continue;
        }
        let Some(when) = follower.engine.when_read(&name) else { continue };
        for path in follower.has_read(&name).into_keys() {
            let written = std::fs::metadata(follower.root().join(&path)).and_then(|about| about.modified());
            if tree.contains_key(&path) && written.is_ok_and(|written| written > when) {
                found.push(format!("`{name}` took `{path}` before it was last written"));
            }
        }
    }
    Ok(found)
}

fn compare<T: std::fmt::Debug + PartialEq>(
    what: &str,
    wanted: &BTreeMap<String, T>,
    found: &BTreeMap<String, T>,
    into: &mut Vec<String>,
) {
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    for name in names {
        match (wanted.get(name), found.get(name)) {
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(wanted), found) => into.push(format!("{what} `{name}`: {found:?} and not {wanted:?}")),
            (None, _) => into.push(format!("{what} `{name}` is left over")),
        }
    }
}

/// What a call does to which container, if it makes it take a change, or ends or begins its life.
fn deed(call: &str) -> Option<(String, String)> {
    let words: Vec<&str> = call.split(' ').collect();
    match words.as_slice() {
        [verb @ ("restart" | "start" | "stop" | "remove" | "signal"), name, ..] => {
            Some(((*name).to_owned(), (*verb).to_owned()))
        }
        ["compose", "up", name] => Some(((*name).to_owned(), "make".to_owned())),
        ["exec", name, .., "reload"] => Some(((*name).to_owned(), "reload".to_owned())),
        _ => None,
    }
}

/// What `status` claims and is not so, where the machine is on its way to `end`. That a service is behind may be said for too
/// long, where it is said why.
pub(crate) fn lies(status: &Value, follower: &Follower, revisions: &[Revision], end: &str) -> Result<Vec<String>> {
    let files = contents(&follower.tree()?);
    let mut found = Vec::new();
    let revision = |name: &Value| revisions.iter().find(|revision| Some(revision.name.as_str()) == name.as_str());
    let unknown = |claim: &Value| !claim.is_null() && revision(claim).is_none();
    for claim in [&status["onDisk"], &status["running"]] {
        if unknown(claim) {
            found.push(format!("it names a revision {claim} that nobody made"));
        }
    }
    if let Some(claimed) = revision(&status["onDisk"])
        && claimed.files != files
    {
        found.push(format!("it says that {} is on disk", claimed.name));
    }
    let standing = status["standing"].as_array().cloned().unwrap_or_default();
    for service in &standing {
        let name = service["service"].as_str().unwrap_or_default();
        let Some(claimed) = revision(&service["running"]) else { continue };
        if claimed.name != end && !service["reason"].is_null() {
            continue;
        }
        let read = follower.has_read(name);
        let is_running = follower.engine.state(name) == Some(State::Running);
        if !is_running || read.iter().any(|(path, bytes)| claimed.files.get(path) != Some(bytes)) {
            found.push(format!("it says that `{name}` runs {}", claimed.name));
        }
    }
    let newest = revisions.last().filter(|newest| status["running"] == newest.name.as_str());
    if let Some(newest) = newest.filter(|_| revisions.len() > 1) {
        for name in follower.engine.names() {
            let state = follower.engine.state(&name);
            let has = |(path, bytes): (String, Vec<u8>)| newest.files.get(&path) == Some(&bytes);
            let runs = state == Some(State::Running) && follower.has_read(&name).into_iter().all(has);
            if newest.files != files || !(runs || state == Some(State::Exited(0))) {
                found.push(format!("it says that {} runs, and `{name}` does not", newest.name));
            }
        }
    }
    Ok(found)
}
