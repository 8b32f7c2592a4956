//! `why`: where a line of a machine's file comes from, step by step, down to what somebody wrote or what was made.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use pconf_daemon::Chain;
use pconf_names::MachineName;
use pconf_platform::dotted;
use pconf_render::{Dependencies, FileOrigin, Kind, Lines, Piece, Place, Provenance, Step};
use serde_json::{Value, json};

use super::origins::Origins;
use crate::folder::Folder;
use crate::history::{APPLIED, LastChange, Since, last_change};
use crate::terminal::{Failure, Said};

/// So many reasons that lead no further are shown to people; programs get all of them.
const MOST_REASONS: usize = 8;

pub(crate) fn run(folder: &Folder, machine: &MachineName, place: &str) -> Result<Said, Failure> {
    let origins = Origins::read(folder)?;
    let provenance = origins.provenance();
    let Some(rendered) = origins.rendered.get(machine) else {
        return Err(anyhow!("no machine is called `{machine}`: `config-leader machine list` shows them").into());
    };
    let files = provenance.files(machine, &origins.inputs.secrets, rendered);
    let (file, line) = find(&files, place)?;
    let text = rendered.files.iter().find(|known| known.path == file.path);
    let count = text.map_or(0, |file| String::from_utf8_lossy(&file.bytes).lines().count());
    if let Some(line) = line.filter(|line| *line == 0 || *line > count) {
        return Err(anyhow!("`{}` on {machine} has {count} lines and no line {line}", file.path).into());
    }
    let teller = Teller { folder, origins: &origins, provenance: &provenance, machine, since: RefCell::default() };
    Ok(teller.file(file, line))
}

/// The file, and the line behind its colon; the name of a file may hold a colon, too.
fn find<'f>(files: &'f [FileOrigin], place: &str) -> anyhow::Result<(&'f FileOrigin, Option<usize>)> {
    let of = |path: &str| files.iter().find(|file| file.path.as_str() == path);
    if let Some(file) = of(place) {
        return Ok((file, None));
    }
    if let Some((path, line)) = place.rsplit_once(':')
        && let (Some(file), Ok(line)) = (of(path), line.parse())
    {
        return Ok((file, Some(line)));
    }
    let asked = place.rsplit_once(':').map_or(place, |(path, _)| path);
    let name = asked.rsplit('/').next().unwrap_or_default();
    let alike: Vec<String> = files
        .iter()
        .filter(|file| file.path.file_name() == name || file.path.as_str().ends_with(asked))
        .map(|file| format!("`{}`", file.path))
        .collect();
    let help = if alike.is_empty() { "`config-leader render` writes them all".to_owned() } else { alike.join(", ") };
    Err(anyhow!("the machine has no file `{asked}`: {help}"))
}

/// Tells of one machine.
struct Teller<'o> {
    folder: &'o Folder,
    origins: &'o Origins,
    provenance: &'o Provenance<'o>,
    machine: &'o MachineName,
    /// What the history said of a pointer.
    since: RefCell<BTreeMap<String, Said>>,
}

/// Who asks for a value: derived values are made of the machines as they are written.
#[derive(Debug, Clone, Copy)]
enum Asker {
    Role,
    Derived,
}

impl Teller<'_> {
    fn file(&self, file: &FileOrigin, line: Option<usize>) -> Said {
        let at = line.map_or(file.path.to_string(), |line| format!("{}:{line}", file.path));
        let mut text = format!("{} {at}\n", self.machine);
        let mut told = Vec::new();
        match &file.lines {
            Lines::Verbatim => text += "  stands in the template set as it lands: no setting reaches it\n",
            Lines::Unknown(dependencies) => {
                text += "  is known as a whole only; it may depend on:\n";
                told.push(json!({ "from": self.all(dependencies, &mut text) }));
            }
            Lines::Known(pieces) => {
                if let Some(line) = line {
                    told.extend(speaking(pieces, line).into_iter().map(|piece| self.piece(piece, &mut text)));
                    if told.is_empty() {
                        text += "  an empty line of the template\n";
                    }
                } else {
                    let mut all = Dependencies::default();
                    for piece in pieces {
                        all.extend(&piece.dependencies);
                    }
                    told.push(json!({ "from": self.all(&all, &mut text) }));
                }
            }
        }
        let name = if file.name.iter().any(|(_, kind)| kind == Kind::Value) {
            text += "  its name\n";
            self.all(&file.name, &mut text)
        } else {
            Vec::new()
        };
        let json = json!({
            "ok": true, "machine": self.machine, "path": file.path, "line": line, "pieces": told, "name": name,
        });
        Said { text, json }
    }

    fn all(&self, dependencies: &Dependencies, text: &mut String) -> Vec<Value> {
        let steps = dependencies.iter().map(|(to, kind)| Step { to: to.to_string(), kind }).collect();
        self.steps(steps, Asker::Role, 2, text, &mut BTreeSet::new())
    }

    fn piece(&self, piece: &Piece, text: &mut String) -> Value {
        let what = piece.expression.as_deref().unwrap_or("text of the template");
        *text += &format!("  {}  {}\n", shown(&piece.place), one_line(what));
        let from = self.all(&piece.dependencies, text);
        json!({ "place": place(&piece.place), "expression": piece.expression, "from": from })
    }

    /// What something is made of, and why it is there after that. Reasons that lead no further share a line.
    fn steps(
        &self,
        mut steps: Vec<Step>,
        asker: Asker,
        depth: usize,
        text: &mut String,
        seen: &mut BTreeSet<String>,
    ) -> Vec<Value> {
        steps.sort_by_key(|step| std::cmp::Reverse(step.kind));
        let mut told = Vec::new();
        let mut reasons = Vec::new();
        for step in steps {
            let is_last = self.next(&step.to, asker).is_empty() && self.provenance.printed_by(&step.to).is_none();
            if step.kind == Kind::Condition && is_last {
                reasons.push(dotted(&step.to));
                told.push(self.thing(&step.to, step.kind, asker, depth, &mut String::new(), seen));
            } else {
                told.push(self.thing(&step.to, step.kind, asker, depth, text, seen));
            }
        }
        if !reasons.is_empty() {
            let more = match reasons.len().saturating_sub(MOST_REASONS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            reasons.truncate(MOST_REASONS);
            *text += &format!("{}because of {}{more}\n", "  ".repeat(depth), reasons.join(", "));
        }
        told
    }

    /// Who wrote a value, in which revision.
    fn since(&self, pointer: &str) -> Said {
        if let Some(Said { text, json }) = self.since.borrow().get(pointer) {
            return Said { text: text.clone(), json: json.clone() };
        }
        let (text, json) = match last_change(self.folder, &self.origins.inputs.looked.text, pointer) {
            Ok(Some(Since::Revision(change))) => {
                let LastChange { revision, at, actor, reason } = &change;
                let reason = if reason == APPLIED { String::new() } else { format!(": {reason}") };
                (format!("  since {revision}, {at}, {actor}{reason}"), json!(change))
            }
            Ok(Some(Since::Unpublished)) => ("  not published yet".to_owned(), json!("unpublished")),
            Ok(None) => (String::new(), Value::Null),
            // The rest of the answer is as good without it.
            Err(error) => (format!("  (its history: {})", Chain(error.as_ref())), Value::Null),
        };
        self.since.borrow_mut().insert(pointer.to_owned(), Said { text: text.clone(), json: json.clone() });
        Said { text, json }
    }

    fn next(&self, pointer: &str, asker: Asker) -> Vec<Step> {
        match asker {
            Asker::Role => self.provenance.steps(pointer),
            Asker::Derived => self.provenance.steps_in_derived(pointer),
        }
    }

    fn thing(
        &self,
        pointer: &str,
        kind: Kind,
        asker: Asker,
        depth: usize,
        text: &mut String,
        seen: &mut BTreeSet<String>,
    ) -> Value {
        let about = self.origins.about(self.provenance, pointer, Some(self.machine));
        let printed = self.provenance.printed_by(pointer);
        let indent = "  ".repeat(depth);
        let because = if kind == Kind::Condition { "because of " } else { "" };
        let since = about.json["written"].is_object().then(|| self.since(pointer));
        *text += &format!("{indent}{because}{}", about.text);
        if let Some(since) = &since {
            *text += &since.text;
        }
        if let Some((at, expression)) = &printed {
            *text += &format!("  {}", shown(at));
            if let Some(expression) = expression {
                *text += &format!("  {}", one_line(expression));
            }
        }
        let steps = self.next(pointer, asker);
        let is_new = seen.insert(pointer.to_owned());
        *text += if is_new || steps.is_empty() { "\n" } else { "  (see above)\n" };
        let asker = if pointer.starts_with("/derived") { Asker::Derived } else { asker };
        let from = if is_new { self.steps(steps, asker, depth + 1, text, seen) } else { Vec::new() };
        let mut tree = about.json;
        tree["kind"] = json!(if kind == Kind::Value { "value" } else { "condition" });
        tree["place"] = printed.as_ref().map_or(Value::Null, |(at, _)| place(at));
        tree["expression"] = json!(printed.and_then(|(_, expression)| expression));
        tree["since"] = since.map_or(Value::Null, |since| since.json);
        tree["from"] = json!(from);
        tree
    }
}

/// The pieces of a line that have something to say: not text around an expression that is there for the same reasons; text
/// that depends on nothing only where there is nothing else.
fn speaking(pieces: &[Piece], line: usize) -> Vec<&Piece> {
    let on_line: Vec<&Piece> = pieces.iter().filter(|piece| (piece.first..=piece.last).contains(&line)).collect();
    let expressions: Vec<&Piece> = on_line.iter().copied().filter(|piece| piece.expression.is_some()).collect();
    let is_told = |text: &Piece| expressions.iter().any(|one| one.dependencies.covers(&text.dependencies));
    let speaks = |piece: &&Piece| piece.expression.is_some() || (!piece.dependencies.is_empty() && !is_told(piece));
    let speaking: Vec<&Piece> = on_line.iter().copied().filter(speaks).collect();
    if speaking.is_empty() { on_line.into_iter().take(1).collect() } else { speaking }
}

fn shown(place: &Place) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}

fn place(place: &Place) -> Value {
    json!({ "file": place.file, "line": place.line, "column": place.column })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
