//! A schema as the comments of a file that a person edits.

use serde_json::Value;

use crate::describe;
use crate::schema::{Alternatives, Schema};

/// Where comments are wrapped, in characters from the start of the line.
const WIDTH: usize = 100;

/// Groups of settings deeper than this are shown closed: a schema may contain itself.
const DEEPEST: usize = 8;

/// What a schema says, for people.
#[derive(Clone, Copy)]
pub(crate) struct Manual<'m> {
    schema: &'m Schema,
}

impl<'m> Manual<'m> {
    pub(crate) fn of(schema: &'m Schema) -> Self {
        Self { schema }
    }

    /// The schemas of a setting; none for an entry that the schemas do not name.
    pub(crate) fn setting(self, around: &[&'m Value], name: &str) -> Vec<&'m Value> {
        let named = around.iter().filter_map(|schema| schema.get("properties")?.get(name));
        self.schema.expand(&named.collect::<Vec<_>>(), Alternatives::LeftOut)
    }

    /// What a setting is for, what it may be and what holds without it, as comment lines.
    pub(crate) fn documentation(self, name: &str, around: &[&'m Value], depth: usize) -> Vec<String> {
        if name.starts_with('$') {
            // `$schema` and its like are for editors.
            return Vec::new();
        }
        let schemas = self.setting(around, name);
        let with_alternatives = self.schema.expand(&schemas, Alternatives::Included);
        let mut lines: Vec<String> = Vec::new();
        let width = WIDTH.saturating_sub(2 * depth + "// ".len());
        lines.extend(describe::purpose(&with_alternatives).iter().flat_map(|text| wrapped(text, width)));
        let facts = describe::facts(self.schema, &schemas);
        let default = schemas.iter().find_map(|schema| schema.get("default"));
        let is_open = is_group(&schemas) && default.is_none();
        let fields = self.fields(&schemas, width);
        if !facts.is_empty() && !is_group(&schemas) && fields.is_empty() {
            let rest = match default {
                Some(default) if default.to_string().len() <= 2 * width => format!(" Default: {default}."),
                Some(_) => String::new(),
                None if schemas.iter().any(|schema| schema.get("const").is_some()) => String::new(),
                None if is_required(around, name) => " Required.".to_owned(),
                None => " Optional.".to_owned(),
            };
            lines.extend(wrapped(&format!("{facts}.{rest}"), width));
        } else if is_open && !is_required(around, name) && self.is_never_implied(&schemas) {
            lines.push("Optional as a whole.".to_owned());
        }
        lines.extend(fields);
        lines.into_iter().map(|line| format!("// {line}").trim_end().to_owned()).collect()
    }

    /// A setting that the example leaves out, documented and commented out.
    pub(crate) fn left_out(self, name: &str, around: &[&'m Value], depth: usize) -> Vec<String> {
        let mut lines = self.documentation(name, around, depth);
        lines.extend(self.value(name, around, None, depth).into_iter().map(|line| format!("// {line}")));
        lines
    }

    /// The lines of a setting with its default, or with an example of a value where it has none.
    fn value(self, name: &str, around: &[&'m Value], given: Option<&Value>, depth: usize) -> Vec<String> {
        let schemas = self.setting(around, name);
        let key = Value::String(name.to_owned());
        let own = schemas.iter().find_map(|schema| schema.get("default"));
        let default = given.or(own);
        if is_group(&schemas) && depth <= DEEPEST && default.is_none_or(Value::is_object) {
            let mut lines = vec![format!("{key}: {{")];
            for inner in names(&schemas) {
                let given = default.and_then(|default| default.get(inner));
                let documentation = self.documentation(inner, &schemas, depth + 1);
                lines.extend(documentation.into_iter().map(|line| format!("  {line}")));
                let value = self.value(inner, &schemas, given, depth + 1);
                // What has neither default nor need stays off when the group is switched on.
                let stays_off = !is_required(&schemas, inner) && !self.has_default(&schemas, inner, given);
                let mark = if stays_off { "// " } else { "" };
                lines.extend(value.into_iter().map(|line| format!("  {mark}{line}")));
            }
            lines.push("},".to_owned());
            return lines;
        }
        let text = match default {
            Some(default) => pretty(default),
            None => describe::example(&self.schema.expand(&schemas, Alternatives::Included)),
        };
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Some(first) = lines.first_mut() {
            *first = format!("{key}: {first}");
        }
        if let Some(last) = lines.last_mut() {
            last.push(',');
        }
        lines
    }

    fn has_default(self, around: &[&'m Value], name: &str, given: Option<&Value>) -> bool {
        let schemas = self.setting(around, name);
        given.is_some()
            || schemas.iter().any(|schema| schema.get("default").is_some())
            || (is_group(&schemas) && !self.is_never_implied(&schemas))
    }

    /// Whether a group has a setting that must be written, so that the group cannot come from defaults alone.
    fn is_never_implied(self, schemas: &[&'m Value]) -> bool {
        names(schemas).iter().any(|name| is_required(schemas, name) && !self.has_default(schemas, name, None))
    }

    /// The fields of each entry of a map, such as `machines`.
    fn fields(self, schemas: &[&'m Value], width: usize) -> Vec<String> {
        let entry: Vec<_> = schemas.iter().filter_map(|schema| schema.get("additionalProperties")).collect();
        let entry = self.schema.expand(&entry, Alternatives::LeftOut);
        let mut lines = Vec::new();
        for name in names(&entry) {
            let field = self.setting(&entry, name);
            let purpose = describe::purpose(&field).unwrap_or_default();
            let default = field.iter().find_map(|schema| schema.get("default"));
            let need = match default {
                Some(default) => format!(" Default: {default}."),
                None if is_required(&entry, name) => " Required.".to_owned(),
                None => String::new(),
            };
            let facts = describe::facts(self.schema, &field);
            let facts = if facts.is_empty() { facts } else { format!("{facts}.") };
            let text = format!("{name}: {purpose} {facts}{need}");
            let hanging =
                |(index, line): (usize, String)| if index == 0 { format!("  {line}") } else { format!("    {line}") };
            lines.extend(wrapped(&text, width.saturating_sub(4)).into_iter().enumerate().map(hanging));
        }
        if !lines.is_empty() {
            lines.insert(0, "Each entry has:".to_owned());
        }
        lines
    }
}

/// The settings that the schemas of an object name, in their order.
pub(crate) fn names<'m>(schemas: &[&'m Value]) -> Vec<&'m str> {
    let maps = schemas.iter().filter_map(|schema| schema.get("properties")?.as_object());
    let mut names = Vec::new();
    for name in maps.flat_map(|map| map.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name.as_str());
        }
    }
    names
}

/// Whether the value is an object of named settings.
pub(crate) fn is_group(schemas: &[&Value]) -> bool {
    schemas.iter().any(|schema| schema.get("type").is_some_and(|of| of == "object")) && !names(schemas).is_empty()
}

fn is_required(around: &[&Value], name: &str) -> bool {
    let mut required = around.iter().filter_map(|schema| schema.get("required")?.as_array()).flatten();
    required.any(|required| required == name)
}

/// JSON on one line while it is short, else indented.
fn pretty(value: &Value) -> String {
    let compact = value.to_string();
    if compact.len() <= WIDTH / 2 {
        return compact;
    }
    serde_json::to_string_pretty(value).unwrap_or(compact)
}

/// The text in lines of at most `width` characters, broken between words; its own line breaks stay.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}
