//! What is told of where lines come from is true: every setting of every template set is changed, exactly the lines that were
//! named change, and every condition on it is seen to take another way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pconf_names::MachineName;
use pconf_platform::{PlatformFile, SecretKind};
use pconf_publish::{evaluate, wanted_secrets};
use pconf_render::{
    FileOrigin, Kind, Lines, Piece, Provenance, RenderedMachine, Scene, SecretValue, SecretValues, TemplateSet,
};
use serde_json::{Map, Value, json};

/// So many values of one setting are tried before a line that did not change counts as named wrongly.
const MOST_TRIES: usize = 16;

/// The sets of the repository.
fn sets() -> Result<Vec<(String, TemplateSet, Value)>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../templates"));
    let mut sets = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = path.file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
        let mut files = BTreeMap::new();
        read(&path, "", &mut files)?;
        let schema = serde_json::from_slice(files.get("platform.schema.json").context("a schema")?)?;
        let set =
            TemplateSet::load(&format!("templates/{kind}"), files).map_err(|found| anyhow::anyhow!("{found:?}"))?;
        sets.push((kind, set, schema));
    }
    Ok(sets)
}

fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().and_then(|name| name.to_str()).context("a name")?);
        if path.is_dir() {
            read(&path, &format!("{name}/"), files)?;
        } else {
            files.insert(name, fs::read(&path)?);
        }
    }
    Ok(())
}

type Rendered = BTreeMap<MachineName, RenderedMachine>;

/// A platform as it would be rendered, if it is valid.
fn rendered(
    set: &TemplateSet,
    document: &Value,
    secrets: Option<&SecretValues>,
) -> Option<(Scene, SecretValues, Rendered)> {
    let file = PlatformFile::parse("platform.json", &document.to_string()).ok()?;
    let scene = set.check(&file).and_then(|platform| set.derive(platform)).ok()?;
    let secrets = match secrets {
        Some(secrets) => secrets.clone(),
        None => secrets_of(set, &scene)?,
    };
    let machines = evaluate(set, &scene, &secrets).ok()?;
    Some((scene, secrets, machines))
}

fn secrets_of(set: &TemplateSet, scene: &Scene) -> Option<SecretValues> {
    let mut values = SecretValues::default();
    for wanted in wanted_secrets(set, scene).ok()? {
        let pem = |what: &str| format!("-----BEGIN {what}-----\nAAAA\nBBBB\n-----END {what}-----\n");
        let value = match wanted.kind {
            SecretKind::Certificate { .. } => {
                SecretValue::Certificate { certificate: pem("CERTIFICATE"), key: pem("KEY") }
            }
            _ => SecretValue::Text(format!("hush-{}", wanted.id)),
        };
        values.insert(wanted.id, value.into());
    }
    Some(values)
}

/// Each setting: its pointer and its schema. What a value has and what it could have.
fn settings<'s>(at: &str, schema: &'s Value, value: Option<&Value>, found: &mut Vec<(String, &'s Value)>) {
    let below = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    let own = schema["properties"].as_object();
    let is_group = own.is_some() && schema["type"] == "object";
    if !is_group {
        found.push((at.to_owned(), schema));
    }
    for (key, schema) in own.into_iter().flatten() {
        if is_group || value.is_some_and(Value::is_object) {
            settings(&below(key), schema, value.and_then(|value| value.get(key)), found);
        }
    }
    let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
    if let (Some(rest), Some(Value::Object(map))) = (rest, value) {
        for (key, value) in map.iter().filter(|(key, _)| own.is_none_or(|own| !own.contains_key(*key))) {
            settings(&below(key), rest, Some(value), found);
        }
    }
    if let (Some(items), Some(Value::Array(list))) = (schema.get("items"), value) {
        for (index, value) in list.iter().enumerate() {
            settings(&below(&index.to_string()), items, Some(value), found);
        }
    }
}

/// Values that a setting could have instead, likely or not; `None` is to leave it out.
fn candidates(schema: &Value, now: Option<&Value>) -> Vec<Option<Value>> {
    let mut all: Vec<Option<Value>> = Vec::new();
    // Without it first: that takes the other branch of many a condition.
    all.extend([None, Some(json!(null)), Some(json!([])), Some(json!({}))]);
    let mut add = |value: Value| all.push(Some(value));
    schema["enum"].as_array().into_iter().flatten().for_each(|value| add(value.clone()));
    match now {
        Some(Value::Bool(now)) => add(json!(!now)),
        Some(Value::Number(now)) => {
            let now = now.as_i64().unwrap_or_default();
            for value in [now + 1, now - 1, now * 2 + 7] {
                add(json!(value));
            }
        }
        Some(Value::String(now)) => {
            // Another letter at each place, so that a value that is taken apart changes in each of its parts.
            for (index, c) in now.char_indices() {
                let other = match c {
                    'a'..='y' | 'A'..='Y' | '0'..='8' => char::from(c as u8 + 1),
                    'z' | 'Z' | '9' => char::from(c as u8 - 1),
                    _ => continue,
                };
                add(json!(format!("{}{other}{}", &now[..index], &now[index + c.len_utf8()..])));
            }
            for value in [format!("{now}x"), format!("x{now}"), format!("{now}/x/y")] {
                add(json!(value));
            }
        }
        Some(Value::Array(now)) => {
            for index in 0..now.len() {
                let mut fewer = now.clone();
                fewer.remove(index);
                add(json!(fewer));
                for other in candidates(&schema["items"], now.get(index)).into_iter().flatten() {
                    let mut changed = now.clone();
                    changed[index] = other;
                    add(json!(changed));
                }
            }
            for more in candidates(&schema["items"], None).into_iter().flatten() {
                add(json!(now.iter().cloned().chain([more]).collect::<Vec<_>>()));
            }
        }
        Some(Value::Object(now)) => {
            for key in now.keys() {
                let mut fewer = now.clone();
                fewer.remove(key);
                add(json!(fewer));
            }
            for more in candidates(&schema["additionalProperties"], None).into_iter().flatten() {
                let mut changed = now.clone();
                changed.insert("xx".to_owned(), more);
                add(json!(changed));
            }
        }
        Some(Value::Null) | None => {}
    }
    schema["examples"].as_array().into_iter().flatten().for_each(|value| add(value.clone()));
    add(some(schema));
    for text in [
        "203.0.113.99",
        "x",
        "/x",
        "https://x.example",
        "x.example",
        "x@https://x.example",
        "mailto:x@y.example",
        "x.example/",
    ] {
        add(json!(text));
    }
    [json!(7), json!(true)].into_iter().for_each(&mut add);
    let mut seen = BTreeSet::new();
    all.retain(|value| value.as_ref() != now && seen.insert(value.as_ref().map(Value::to_string)));
    all
}

/// What the other settings of its group are: some conditions compare them.
fn beside<'d>(document: &'d Value, pointer: &str) -> impl Iterator<Item = Option<Value>> + use<'d> {
    let own = document.pointer(pointer);
    let group = pointer.rsplit_once('/').and_then(|(group, _)| document.pointer(group)?.as_object());
    let others = group.into_iter().flat_map(serde_json::Map::values);
    others.filter(move |other| other.is_string() && Some(*other) != own).map(|other| Some(other.clone()))
}

/// A small value of a schema.
fn some(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0).or_else(|| schema["examples"].get(0)) {
        return first.clone();
    }
    let of =
        |one: &str| schema["type"] == one || schema["type"].as_array().is_some_and(|all| all.contains(&json!(one)));
    if of("object") {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let fields: Map<String, Value> =
            required.map(|key| (key.to_owned(), some(&schema["properties"][key]))).collect();
        json!(fields)
    } else if of("array") {
        json!([some(&schema["items"])])
    } else if of("integer") {
        schema["minimum"].as_i64().map_or(json!(3), |least| json!(least + 1))
    } else if of("boolean") {
        json!(true)
    } else if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("http")) {
        json!("https://x.example")
    } else if schema["pattern"] == "^/" {
        json!("/x")
    } else {
        json!("xxxxxx")
    }
}

/// The document with another value at a pointer. A list or an open object that is not written out yet is, as it is now.
fn with(document: &Value, now: &Provenance, schema: &Value, pointer: &str, value: Option<Value>) -> Option<Value> {
    let mut changed = document.clone();
    let mut place = &mut changed;
    let mut schema = schema;
    let mut here = String::new();
    let segments: Vec<String> = pointer.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
    let (last, around) = segments.split_last()?;
    for segment in around {
        here = format!("{here}/{}", segment.replace('~', "~0").replace('/', "~1"));
        let open = schema.get("additionalProperties").filter(|schema| schema.is_object());
        schema = schema["properties"].get(segment).or(open).unwrap_or(&schema["items"]);
        let is_group = schema["properties"].is_object() && schema["type"] == "object";
        let missing = if is_group { json!({}) } else { now.value(&here).cloned().unwrap_or_else(|| json!({})) };
        place = match place {
            Value::Object(map) => map.entry(segment.clone()).or_insert(missing),
            Value::Array(elements) => elements.get_mut(segment.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    match (place, value) {
        (Value::Object(map), Some(value)) => drop(map.insert(last.clone(), value)),
        (Value::Object(map), None) => drop(map.remove(last)?),
        (Value::Array(elements), Some(value)) => *elements.get_mut(last.parse::<usize>().ok()?)? = value,
        (Value::Array(elements), None) => {
            let index = last.parse::<usize>().ok().filter(|index| *index < elements.len())?;
            elements.remove(index);
        }
        _ => return None,
    }
    Some(changed)
}

/// How the lines of one text became those of another.
#[derive(Debug, Default)]
struct Difference {
    /// Lines of the one that are not in the other, counted from 1.
    gone: BTreeSet<usize>,
    /// Behind which lines of the one there are new ones and nothing is gone.
    inserted: BTreeSet<usize>,
}

fn difference(before: &str, after: &str) -> Difference {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[start..a.len() - end], &b[start..b.len() - end]);
    // The longest common part, from behind.
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let mut difference = Difference::default();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let (mut gone, mut new) = (Vec::new(), false);
        while i < a.len() || j < b.len() {
            if i < a.len() && j < b.len() && a[i] == b[j] {
                break;
            }
            if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
                gone.push(start + i + 1);
                i += 1;
            } else {
                new = true;
                j += 1;
            }
        }
        if gone.is_empty() && new {
            difference.inserted.insert(start + i);
        }
        difference.gone.extend(gone);
        while i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        }
    }
    difference
}

/// What is named for one setting: by machine and file, whether the name of the file depends on it, and its lines.
type Named = BTreeMap<(MachineName, String), (Option<Kind>, BTreeMap<usize, Kind>)>;

fn named(provenance: &Provenance, files: &Origins, asked: &str) -> Named {
    let mut reach = provenance.reach(asked);
    let mut named = Named::new();
    for (machine, file) in files.iter().flat_map(|(machine, files)| files.iter().map(move |file| (machine, file))) {
        let mut lines: BTreeMap<usize, Kind> = BTreeMap::new();
        if let Lines::Known(pieces) = &file.lines {
            for piece in pieces {
                if let Some(kind) = reach.of(&piece.dependencies) {
                    for line in piece.first..=piece.last {
                        lines.entry(line).and_modify(|known| *known = (*known).max(kind)).or_insert(kind);
                    }
                }
            }
        }
        named.insert((machine.clone(), file.path.to_string()), (reach.of(&file.name), lines));
    }
    named
}

type Origins = BTreeMap<MachineName, Vec<FileOrigin>>;

fn origins(provenance: &Provenance, secrets: &SecretValues, rendered: &Rendered) -> Origins {
    rendered.iter().map(|(name, machine)| (name.clone(), provenance.files(name, secrets, machine))).collect()
}

/// A file of a machine, a place of a template and, of an expression, the line that it is on.
type Occurrence = (MachineName, String, String, String);

fn pieces<'f>(files: &'f Origins, rendered: &Rendered) -> Vec<(Occurrence, &'f Piece)> {
    let mut all = Vec::new();
    for (machine, file) in files.iter().flat_map(|(machine, files)| files.iter().map(move |file| (machine, file))) {
        let Lines::Known(pieces) = &file.lines else { continue };
        let found = rendered.get(machine).and_then(|it| it.files.iter().find(|known| known.path == file.path));
        let text = found.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for piece in pieces {
            let place = format!("{}:{}:{}", piece.place.file, piece.place.line, piece.place.column);
            let line = piece.expression.as_ref().and_then(|_| lines.get(piece.first - 1)).copied().unwrap_or_default();
            all.push(((machine.clone(), file.path.to_string(), place, line.to_owned()), piece));
        }
    }
    all
}

/// How often everything is in the files: on its line, and on whatever line.
type Occurrences = [BTreeMap<Occurrence, usize>; 2];

fn occurrences(files: &Origins, rendered: &Rendered) -> Occurrences {
    let mut counts = Occurrences::default();
    for ((machine, path, place, line), _) in pieces(files, rendered) {
        *counts[1].entry((machine.clone(), path.clone(), place.clone(), String::new())).or_default() += 1;
        *counts[0].entry((machine, path, place, line)).or_default() += 1;
    }
    counts
}

/// Whether something is there as often as before, on whatever line.
fn is_as_often(what: &Occurrence, now: &Occurrences, before: &Occurrences) -> bool {
    let (machine, path, place, _) = what.clone();
    let anywhere = (machine, path, place, String::new());
    now[0].get(what) == before[0].get(what) && now[1].get(&anywhere) == before[1].get(&anywhere)
}

/// What is there, or is as it is, because a setting is as it is.
fn conditions(provenance: &Provenance, files: &Origins, rendered: &Rendered, asked: &str) -> BTreeSet<Occurrence> {
    let mut reach = provenance.reach(asked);
    let mut is_condition = |piece: &Piece| reach.of(&piece.dependencies) == Some(Kind::Condition);
    pieces(files, rendered).into_iter().filter(|(_, piece)| is_condition(piece)).map(|(what, _)| what).collect()
}

/// What a line comes down to, step by step, as `why` tells it.
#[derive(Default)]
struct Whys(BTreeMap<(String, bool), BTreeSet<String>>);

impl Whys {
    fn of(&mut self, provenance: &Provenance, lines: &Lines, line: usize) -> BTreeSet<String> {
        let Lines::Known(pieces) = lines else { return BTreeSet::new() };
        let on_line = pieces.iter().filter(|piece| (piece.first..=piece.last).contains(&line));
        let pointers = on_line.flat_map(|piece| piece.dependencies.iter());
        pointers.flat_map(|(pointer, _)| self.along(provenance, pointer, false)).collect()
    }

    fn along(&mut self, provenance: &Provenance, pointer: &str, in_derived: bool) -> BTreeSet<String> {
        let key = (pointer.to_owned(), in_derived);
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        self.0.insert(key.clone(), BTreeSet::new());
        let steps = if in_derived { provenance.steps_in_derived(pointer) } else { provenance.steps(pointer) };
        let in_derived = in_derived || pointer.starts_with("/derived");
        let mut found: BTreeSet<String> =
            steps.iter().flat_map(|step| self.along(provenance, &step.to, in_derived)).collect();
        found.insert(pointer.to_owned());
        self.0.insert(key, found.clone());
        found
    }
}

/// Changes every setting of one platform; returns what is not as it was told, and the settings and conditions without another
/// value.
fn sweep(set: &TemplateSet, schema: &Value, document: &Value) -> Result<(Vec<String>, Vec<String>)> {
    let (scene, secrets, before) = rendered(set, document, None).context("the example is not valid")?;
    let provenance = set.provenance(&scene);
    let files = origins(&provenance, &secrets, &before);
    let occurring = occurrences(&files, &before);
    for file in files.values().flatten() {
        ensure!(!matches!(file.lines, Lines::Unknown(_)), "`{}` is known as a whole only", file.path);
    }
    let mut all = Vec::new();
    for root in ["settings", "machines"] {
        settings(&format!("/{root}"), &schema["properties"][root], provenance.value(&format!("/{root}")), &mut all);
    }
    let (mut wrong, mut untried, mut whys) = (Vec::new(), Vec::new(), Whys::default());
    for (pointer, own) in all {
        let named = named(&provenance, &files, &pointer);
        let mut waiting: BTreeSet<(&MachineName, &str, usize)> = BTreeSet::new();
        for ((machine, path), (name, lines)) in &named {
            let lines = lines.iter().filter(|(_, kind)| **kind == Kind::Value && name.is_none());
            waiting.extend(lines.map(|(line, _)| (machine, path.as_str(), *line)));
        }
        // As it is used; but of machines as they are written, for what was filled in must not be written.
        let now = document.pointer(&pointer).filter(|now| now.is_object()).or_else(|| provenance.value(&pointer));
        // What a map decides its entries decide, which come by themselves.
        let is_map = now.is_some_and(Value::is_object);
        let mut unturned = if is_map { BTreeSet::new() } else { conditions(&provenance, &files, &before, &pointer) };
        let mut tries = 0;
        for candidate in beside(document, &pointer).chain(candidates(own, now)) {
            if tries > 0 && ((waiting.is_empty() && unturned.is_empty()) || tries == MOST_TRIES) {
                break;
            }
            let Some(changed) = with(document, &provenance, schema, &pointer, candidate) else { continue };
            let Some((scene, _, after)) = rendered(set, &changed, Some(&secrets)) else { continue };
            tries += 1;
            if !unturned.is_empty() {
                let now = occurrences(&origins(&set.provenance(&scene), &secrets, &after), &after);
                unturned.retain(|what| is_as_often(what, &now, &occurring));
            }
            for ((machine, path), (name, lines)) in &named {
                let text = |rendered: &Rendered| {
                    let file = rendered.get(machine)?.files.iter().find(|file| file.path.as_str() == path)?;
                    Some(String::from_utf8_lossy(&file.bytes).into_owned())
                };
                let (Some(one), other) = (text(&before), text(&after)) else { continue };
                let Some(other) = other else {
                    if name.is_none() {
                        wrong.push(format!("{pointer}: {machine} {path} is gone and was not named"));
                    }
                    continue;
                };
                let difference = difference(&one, &other);
                let Some(file) = files[machine].iter().find(|file| file.path.as_str() == path) else { continue };
                for line in &difference.gone {
                    waiting.remove(&(machine, path.as_str(), *line));
                    if name.is_some() {
                        continue;
                    }
                    if !lines.contains_key(line) {
                        wrong.push(format!("{pointer}: {machine} {path}:{line} changed and was not named"));
                    }
                    let within = |one: &str, other: &str| {
                        one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    };
                    let why = whys.of(&provenance, &file.lines, *line);
                    if !why.iter().any(|found| within(found, &pointer) || within(&pointer, found)) {
                        wrong.push(format!("{pointer}: {machine} {path}:{line} changed and does not know why"));
                    }
                }
                for line in &difference.inserted {
                    if name.is_none() && !lines.contains_key(line) && !lines.contains_key(&(line + 1)) {
                        wrong.push(format!("{pointer}: {machine} {path}:{line} is followed by more and was not named"));
                    }
                }
            }
        }
        if tries == 0 {
            untried.push(pointer);
        } else {
            let never =
                |(machine, path, line)| format!("{pointer}: {machine} {path}:{line} was named and never changed");
            wrong.extend(waiting.into_iter().map(never));
            let stays = |(machine, path, place, _)| format!("{pointer}: {machine} {path}: {place}");
            untried.extend(unturned.into_iter().map(stays));
        }
    }
    wrong.dedup();
    Ok((wrong, untried))
}

/// Settings that have no other valid value, or none that could be made up; and conditions on one that hold whatever it is.
const UNTRIED: [(&str, Option<&str>, &[&str]); 2] = [
    (
        "pryv",
        None,
        &[
            "/machines/co1/role",
            "/machines/co2/role",
            "/machines/reg-master/role",
            "/machines/reg-slave/role",
            "/machines/static/role",
        ],
    ),
    (
        "pryv",
        Some("singlenode"),
        &[
            "/settings/domain: single nginx/conf/site-443.conf: \
             templates/pryv/_shared/partials/nginx/server-register.conf.tera:4:66",
            "/machines",
            "/machines/single/role",
        ],
    ),
];

#[test]
fn exactly_the_lines_that_are_named_change_when_a_setting_does() -> Result<()> {
    let (mut wrong, mut untried) = (Vec::new(), Vec::new());
    for (kind, set, schema) in &sets()? {
        let names: Vec<Option<&str>> = std::iter::once(None).chain(set.example_names().map(Some)).collect();
        let one = |name: Option<&str>| {
            let (_, text) = set.example(name).context("an example")?;
            sweep(set, schema, &serde_json::from_str(text)?)
        };
        let swept: Result<Vec<_>> = std::thread::scope(|threads| {
            let running: Vec<_> = names.iter().map(|name| threads.spawn(|| one(*name))).collect();
            running.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("it panics"))?).collect()
        });
        for (name, (more_wrong, without)) in names.iter().zip(swept?) {
            wrong.extend(more_wrong.into_iter().map(|one| format!("{kind} {name:?} {one}")));
            untried.push((kind.clone(), name.map(str::to_owned), without));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let expected = UNTRIED.map(|(kind, name, all)| {
        (kind.to_owned(), name.map(str::to_owned), all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
    });
    assert_eq!(untried, expected);
    Ok(())
}
