//! The self-documented `platform.json` that `init` writes.
//!
//! The file is its own manual, the way `redis.conf` is: whoever opens it sees every setting there is, what it is for, what
//! it may be and what holds when it is left alone, without a second window.

use std::collections::BTreeMap;
use std::ops::Range;

use jsonc_parser::ast::{self, ObjectProp, ObjectPropName};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, parse_to_ast};
use serde_json::Value;

use crate::file::PlatformFile;
use crate::json_text::DIALECT;
use crate::manual::{self, Manual};
use crate::problem::Problem;
use crate::schema::Schema;
use crate::syntax;

/// The example of a set with every setting's description, type and default as a comment, and every setting that the
/// example leaves out as a comment with its default.
///
/// It means the same as the example and keeps its order and comments. Every entry ends with a comma, so that any line may
/// be switched on or off alone.
pub fn document(schema: &Schema, file_name: &str, example: &str) -> Result<String, Vec<Problem>> {
    PlatformFile::parse(file_name, example)?;
    let collect = CollectOptions { comments: CommentCollectionStrategy::Separate, tokens: false };
    let parsed =
        parse_to_ast(example, &collect, &DIALECT).map_err(|error| vec![syntax::problem(file_name, example, &error)])?;
    let Some(ast::Value::Object(root)) = &parsed.value else {
        return Err(vec![syntax::nothing(file_name)]);
    };
    // The parser files each comment under the token before it and under the one after it.
    let comments = parsed.comments.iter().flat_map(|all| all.values()).flat_map(|some| some.iter());
    let comments = comments.map(|comment| (comment.range().start, comment.range().end)).collect();

    let writer = Writer { manual: Manual::of(schema), text: example, comments };
    let body = writer.object(root, &schema.root(), 0).join("\n");
    let (before, after) = (&example[..root.range.start], example[root.range.end..].trim());
    let after = if after.is_empty() { String::new() } else { format!("{after}\n") };
    Ok(format!("{before}{body}\n{after}"))
}

struct Writer<'w> {
    manual: Manual<'w>,
    text: &'w str,
    /// Where the example has comments: start and end of each.
    comments: BTreeMap<usize, usize>,
}

/// An entry of an object, in the order of writing.
enum Entry<'e> {
    Set(&'e ObjectProp<'e>),
    LeftOut(&'e str),
}

impl<'w> Writer<'w> {
    /// An object from `{` to `}`, its lines indented relative to it; `depth` is how many objects are around it.
    fn object(&self, object: &ast::Object<'_>, schemas: &[&'w Value], depth: usize) -> Vec<String> {
        let mut blocks: Vec<Vec<String>> = Vec::new();
        let mut previous_end = None;
        for entry in entries(object, schemas) {
            let block = match entry {
                Entry::LeftOut(name) => self.manual.left_out(name, schemas, depth + 1),
                Entry::Set(property) => {
                    let gap = previous_end.unwrap_or(object.range.start + 1)..property.range.start;
                    let (beside, own) = self.comments_in(gap, previous_end.is_some());
                    append_to_last_entry(&mut blocks, &beside);
                    previous_end = Some(property.range.end);
                    let mut block = own;
                    block.extend(self.set(property, schemas, depth + 1));
                    block
                }
            };
            blocks.push(block);
        }
        let (beside, own) =
            self.comments_in(previous_end.unwrap_or(object.range.start + 1)..object.range.end, previous_end.is_some());
        append_to_last_entry(&mut blocks, &beside);
        if !own.is_empty() {
            blocks.push(own);
        }
        braced(&blocks)
    }

    /// A setting of the example with its documentation.
    fn set(&self, property: &ObjectProp<'_>, around: &[&'w Value], depth: usize) -> Vec<String> {
        let name = property.name.as_str();
        let schemas = self.manual.setting(around, name);
        let key_end = match &property.name {
            ObjectPropName::String(literal) => literal.range.end,
            ObjectPropName::Word(literal) => literal.range.end,
        };
        let (_, mut lines) = self.comments_in(key_end..property.value.start(), false);
        lines.extend(self.manual.documentation(name, around, depth));
        let value = match &property.value {
            ast::Value::Object(object) if manual::is_group(&schemas) => self.object(object, &schemas, depth),
            value => self.verbatim(property.range.start, value.range().start..value.range().end),
        };
        let key = Value::String(name.to_owned());
        let (first, rest) = value.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        lines.push(format!("{key}: {first}"));
        lines.extend(rest.iter().cloned());
        if let Some(last) = lines.last_mut() {
            last.push(',');
        }
        lines
    }

    /// The text of a value, indented relative to the line that its key starts on.
    fn verbatim(&self, key: usize, value: Range<usize>) -> Vec<String> {
        let line = self.text[..key].rfind('\n').map_or(0, |newline| newline + 1);
        let indent: String = self.text[line..key].chars().take_while(|c| c.is_whitespace()).collect();
        let lines = self.text[value].lines();
        lines.map(|line| line.strip_prefix(indent.as_str()).unwrap_or(line.trim_start()).to_owned()).collect()
    }

    /// The comments in a gap: those on the line where it starts, if something is before it there, and the others.
    fn comments_in(&self, gap: Range<usize>, follows_a_value: bool) -> (Vec<String>, Vec<String>) {
        let start = gap.start;
        let all = self.comments.range(gap).map(|(from, to)| (*from, self.text[*from..*to].trim_end().to_owned()));
        let (beside, own): (Vec<_>, Vec<_>) =
            all.partition(|(from, _)| follows_a_value && !self.text[start..*from].contains('\n'));
        let text = |comments: Vec<(usize, String)>| comments.into_iter().map(|(_, text)| text).collect();
        (text(beside), text(own))
    }
}

/// What is set in its order; what is left out, after the setting that precedes it in the schema.
fn entries<'e>(object: &'e ast::Object<'e>, schemas: &[&'e Value]) -> Vec<Entry<'e>> {
    let mut entries: Vec<(&str, Entry<'e>)> =
        object.properties.iter().map(|property| (property.name.as_str(), Entry::Set(property))).collect();
    let mut after = 0;
    for name in manual::names(schemas) {
        match entries.iter().position(|(known, _)| *known == name) {
            Some(index) => after = index + 1,
            // `$schema` and its like are not settings.
            None if name.starts_with('$') => {}
            None => {
                entries.insert(after, (name, Entry::LeftOut(name)));
                after += 1;
            }
        }
    }
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// A comment beside a value stays beside it; settings that are left out may have come between.
fn append_to_last_entry(blocks: &mut [Vec<String>], comments: &[String]) {
    let last = blocks.iter_mut().rev().filter_map(|block| block.last_mut()).find(|line| !line.starts_with("//"));
    if let Some(last) = last {
        for comment in comments {
            last.push(' ');
            last.push_str(comment);
        }
    }
}

/// Blocks of lines between braces; documented ones stand apart.
fn braced(blocks: &[Vec<String>]) -> Vec<String> {
    if blocks.is_empty() {
        return vec!["{}".to_owned()];
    }
    let mut lines = vec!["{".to_owned()];
    let mut previous_stands_apart = false;
    for (index, block) in blocks.iter().enumerate() {
        let stands_apart = block.len() > 1;
        if index > 0 && (stands_apart || previous_stands_apart) {
            lines.push(String::new());
        }
        let indented = |line: &String| if line.is_empty() { String::new() } else { format!("  {line}") };
        lines.extend(block.iter().map(indented));
        previous_stands_apart = stands_apart;
    }
    lines.push("}".to_owned());
    lines
}
