//! `impact`: what one setting reaches, from what was recorded while the files were rendered.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::{MachineName, RelativePath};
use pconf_platform::dotted;
use pconf_render::{Kind, Lines, Reach, RenderedMachine};
use serde_json::{Map, Value, json};

use super::origins::{Origins, Readers};
use crate::folder::Folder;
use crate::terminal::{Failure, Said, table};

/// One file that the setting reaches.
struct Reached {
    path: RelativePath,
    /// Where its name, or that it is there, depends on it.
    name: Option<Kind>,
    /// Lines that are made of it.
    made: BTreeSet<usize>,
    /// Lines that are there, or are as they are, because of it.
    because: BTreeSet<usize>,
    /// Its lines are not known one by one.
    somewhere: bool,
    services: Vec<String>,
}

pub(crate) fn run(folder: &Folder, setting: &str) -> Result<Said, Failure> {
    let origins = Origins::read(folder)?;
    let provenance = origins.provenance();
    let pointer = origins.find(&provenance, setting)?;
    let mut reach = provenance.reach(&pointer);
    let mut machines: BTreeMap<&MachineName, Vec<Reached>> = BTreeMap::new();
    for (name, machine) in &origins.rendered {
        let files = reached(&mut reach, &provenance.files(name, &origins.inputs.secrets, machine), machine);
        if !files.is_empty() {
            machines.insert(name, files);
        }
    }
    let said = origins.about(&provenance, &pointer, None);
    Ok(Said {
        text: text(&said.text, &machines, origins.rendered.len()),
        json: to_json(&pointer, &said.json, &machines),
    })
}

fn reached(reach: &mut Reach, files: &[pconf_render::FileOrigin], machine: &RenderedMachine) -> Vec<Reached> {
    let readers = Readers::of(machine);
    let mut all = Vec::new();
    for file in files {
        let (mut made, mut because, mut somewhere) = (BTreeSet::new(), BTreeSet::new(), false);
        match &file.lines {
            Lines::Verbatim => {}
            Lines::Unknown(dependencies) => somewhere = reach.of(dependencies).is_some(),
            Lines::Known(pieces) => {
                for piece in pieces {
                    match reach.of(&piece.dependencies) {
                        Some(Kind::Value) => made.extend(piece.first..=piece.last),
                        Some(Kind::Condition) => because.extend(piece.first..=piece.last),
                        None => {}
                    }
                }
                because.retain(|line| !made.contains(line));
            }
        }
        let name = reach.of(&file.name);
        if name.is_some() || somewhere || !made.is_empty() || !because.is_empty() {
            let services = readers.of_file(&file.path);
            all.push(Reached { path: file.path.clone(), name, made, because, somewhere, services });
        }
    }
    all
}

fn text(about: &str, machines: &BTreeMap<&MachineName, Vec<Reached>>, count: usize) -> String {
    let files: Vec<(&&MachineName, &Reached)> =
        machines.iter().flat_map(|(name, files)| files.iter().map(move |file| (name, file))).collect();
    if files.is_empty() {
        return format!("{about}\n\nreaches no file of this platform\n");
    }
    let lines: usize = files.iter().map(|(_, file)| file.made.len() + file.because.len()).sum();
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut text = format!(
        "{about}\n\nreaches {} of {} on {} of {}\n\n",
        many(lines, "line"),
        many(files.len(), "file"),
        machines.len(),
        many(count, "machine")
    );
    let mut rows = vec![["MACHINE", "FILE", "MADE OF IT", "DEPENDS ON IT", "READ BY"].map(str::to_owned)];
    for (name, file) in files {
        let because = match file.name {
            Some(Kind::Value) => "its name".to_owned(),
            Some(Kind::Condition) => "that it is there".to_owned(),
            None if file.somewhere => "somewhere".to_owned(),
            None => shown(&file.because),
        };
        let services = if file.services.is_empty() { "-".to_owned() } else { file.services.join(", ") };
        rows.push([name.to_string(), file.path.to_string(), shown(&file.made), because, services]);
    }
    text += &table(&rows);
    text
}

/// Numbers of lines as people write them: `3-5, 9`.
fn shown(lines: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    let range =
        |(first, last): (usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let shown: Vec<String> = ranges.into_iter().map(range).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

fn to_json(pointer: &str, about: &Value, machines: &BTreeMap<&MachineName, Vec<Reached>>) -> Value {
    let file = |file: &Reached| {
        let name = file.name.map(|kind| if kind == Kind::Value { "value" } else { "condition" });
        json!({
            "path": file.path,
            "name": name,
            "lines": file.made,
            "conditions": file.because,
            "somewhere": file.somewhere,
            "services": file.services,
        })
    };
    let machines: Map<String, Value> =
        machines.iter().map(|(name, files)| (name.to_string(), files.iter().map(file).collect())).collect();
    json!({ "ok": true, "setting": dotted(pointer), "about": about, "machines": machines })
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn lines_beside_each_other_are_one_range() {
        assert_eq!(shown(&[1, 2, 3, 7, 9, 10].into()), "1-3, 7, 9-10");
        assert_eq!(shown(&[].into()), "-");
    }
}
