//! What differs between two revisions, as it may be shown.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::Bundle;
use pconf_names::{MachineName, RelativePath};
use serde::Serialize;
use similar::TextDiff;

use crate::error::HistoryError;
use crate::read::{File, Machine, Revision};
use crate::record::{Key, changed};
use crate::store::History;

/// Lines that are shown around a change.
const CONTEXT: usize = 2;

/// What differs between two revisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// How the text of `platform.json` changed; empty where it did not.
    pub platform: String,
    /// The files of the template set that changed.
    pub templates: Vec<String>,
    /// The secrets whose values changed.
    pub secrets: Vec<String>,
    /// The machines that get something else.
    pub machines: BTreeMap<MachineName, MachineChange>,
}

/// What differs for one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineChange {
    /// Whether the machine is there.
    pub change: Change,
    /// Its files that differ; none of a machine that came or went.
    pub files: BTreeMap<RelativePath, FileChange>,
    /// How its directories, or what is said about its services, changed; empty where they did not.
    pub rules: String,
}

/// What differs in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// In which way.
    pub change: Change,
    /// A unified diff of what may be shown.
    pub diff: String,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
    /// A secret in it is another, and nothing else.
    Secret,
    /// Its owner, mode or class is another, and nothing else.
    Attributes,
}

impl Change {
    /// One character, as lists of changes show it.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
            Self::Secret => '*',
            Self::Attributes => '%',
        }
    }
}

impl Comparison {
    /// How many files of how many machines differ.
    #[must_use]
    pub fn files(&self) -> usize {
        self.machines.values().map(|machine| machine.files.len()).sum()
    }
}

impl History {
    /// What differs between two revisions, for one machine or for all of them.
    pub fn compare(
        &self,
        from: &Revision,
        to: &Revision,
        only: Option<&MachineName>,
    ) -> Result<Comparison, HistoryError> {
        let (before, after) = (self.machines(from)?, self.machines(to)?);
        let names: BTreeSet<&MachineName> = before.keys().chain(after.keys()).collect();
        let mut machines = BTreeMap::new();
        for name in names.into_iter().filter(|name| only.is_none_or(|only| only == *name)) {
            let change = match (before.get(name), after.get(name)) {
                (Some(before), Some(after)) if before == after => continue,
                (Some(before), Some(after)) => self.machine_change(&self.machine(*before)?, &self.machine(*after)?)?,
                (None, _) => MachineChange::whole(Change::Added),
                (_, None) => MachineChange::whole(Change::Removed),
            };
            if !change.is_nothing() {
                machines.insert(name.clone(), change);
            }
        }
        let platform = text_diff(&self.platform(from)?, &self.platform(to)?);
        let templates = changed(&self.templates(from)?, &self.templates(to)?);
        let secrets = changed(&self.secrets(from)?, &self.secrets(to)?);
        Ok(Comparison { platform, templates, secrets, machines })
    }

    /// The files that machines would get now and that are not as they were in `revision`; machines without any are left out.
    pub fn unlike<'a>(
        &self,
        revision: &Revision,
        machines: impl IntoIterator<Item = (&'a MachineName, &'a Bundle)>,
        key: &Key,
    ) -> Result<BTreeMap<MachineName, BTreeSet<RelativePath>>, HistoryError> {
        let mut trees = self.machines(revision)?;
        let mut unlike = BTreeMap::new();
        for (name, bundle) in machines {
            let mut before = match trees.remove(name) {
                Some(tree) => self.machine(tree)?.files,
                None => BTreeMap::new(),
            };
            let mut paths = BTreeSet::new();
            for file in &bundle.files {
                let is_same = before.remove(&file.path).is_some_and(|before| {
                    before.mark == key.of_file(file.content.as_bytes())
                        && (before.owner, before.mode, before.class) == (file.owner, file.mode, file.class)
                        && before.on_change == file.on_change
                });
                if !is_same {
                    paths.insert(file.path.clone());
                }
            }
            paths.extend(before.into_keys());
            if !paths.is_empty() {
                unlike.insert(name.clone(), paths);
            }
        }
        for (name, tree) in trees {
            unlike.insert(name, self.machine(tree)?.files.into_keys().collect());
        }
        Ok(unlike)
    }

    fn machine_change(&self, before: &Machine, after: &Machine) -> Result<MachineChange, HistoryError> {
        let mut files = BTreeMap::new();
        for path in before.files.keys().chain(after.files.keys()).collect::<BTreeSet<_>>() {
            if let Some(change) = self.file_change(before.files.get(path), after.files.get(path))? {
                files.insert(path.clone(), change);
            }
        }
        let rules = if before.rules == after.rules {
            String::new()
        } else {
            text_diff(&self.text(before.rules)?, &self.text(after.rules)?)
        };
        Ok(MachineChange { change: Change::Changed, files, rules })
    }

    fn file_change(&self, before: Option<&File>, after: Option<&File>) -> Result<Option<FileChange>, HistoryError> {
        let text = |file: Option<&File>| match file {
            Some(file) if file.is_text => self.text(file.text),
            _ => Ok(String::new()),
        };
        let is_text = |file: Option<&File>| file.is_none_or(|file| file.is_text);
        let change =
            match (before, after) {
                (None, Some(_)) => Change::Added,
                (Some(_), None) => Change::Removed,
                (Some(before), Some(after)) if before.mark != after.mark => {
                    if before.text == after.text && before.is_text { Change::Secret } else { Change::Changed }
                }
                (Some(before), Some(after)) if attributes(before) != attributes(after) => Change::Attributes,
                (None, None) | (Some(_), Some(_)) => return Ok(None),
            };
        let diff = match change {
            Change::Secret => "(a secret changed)\n".to_owned(),
            Change::Attributes => {
                let line = |sign: char, file: Option<&File>| {
                    file.map(|file| format!("{sign}{}\n", attributes(file))).unwrap_or_default()
                };
                line('-', before) + &line('+', after)
            }
            Change::Added | Change::Removed | Change::Changed if is_text(before) && is_text(after) => {
                text_diff(&text(before)?, &text(after)?)
            }
            Change::Added | Change::Removed | Change::Changed => "(no text)\n".to_owned(),
        };
        Ok(Some(FileChange { change, diff }))
    }
}

impl MachineChange {
    fn whole(change: Change) -> Self {
        Self { change, files: BTreeMap::new(), rules: String::new() }
    }

    /// The same files under other masks are no change.
    fn is_nothing(&self) -> bool {
        self.change == Change::Changed && self.files.is_empty() && self.rules.is_empty()
    }
}

fn attributes(file: &File) -> String {
    let on_change = file.on_change.as_ref().and_then(|rule| serde_json::to_string(rule).ok());
    let on_change = on_change.map(|rule| format!(" {rule}")).unwrap_or_default();
    format!("{:?} {} {}{on_change}", file.class, file.owner, file.mode).to_lowercase()
}

/// A unified diff of two texts; empty where they are the same.
#[must_use]
pub fn text_diff(before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let shown = diff.unified_diff().context_radius(CONTEXT).to_string();
    let lines = shown.lines().filter(|line| !line.starts_with('\\'));
    lines.fold(String::new(), |text, line| text + line + "\n")
}
