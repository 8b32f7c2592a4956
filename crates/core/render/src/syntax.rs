//! A light reading of template text: where its tags are, which of them print a value without an encoder, and which
//! names a condition asks for. Tera takes a name that does not exist for false in a condition; here it is an error.

use std::ops::Range;

use crate::encode::ENCODERS;

/// The names that exist in every role template.
pub(crate) const ROOTS: [&str; 6] = ["settings", "machines", "machine", "derived", "secrets", "accepted"];

/// A name that a condition asks for, e.g. `settings.dns.mx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The name's segments from the root down; at least two.
    pub(crate) path: Vec<String>,
    /// Where it stands, in bytes.
    pub(crate) span: Range<usize>,
}

/// What the reading of one template found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Each `{{ … }}`, in bytes of the text between the braces.
    pub(crate) outputs: Vec<Range<usize>>,
    /// Those of `outputs` that do not end in an encoder.
    pub(crate) unencoded: Vec<Range<usize>>,
    /// Names in conditions.
    pub(crate) asked: Vec<Asked>,
    /// Names to which the template itself gives a meaning.
    pub(crate) bound: Vec<String>,
}

/// Reads one template. Text that is no valid template gives whatever could be read: Tera reports what is wrong with it.
pub(crate) fn read(source: &str) -> Reading {
    let mut reading = Reading::default();
    let mut position = 0;
    while let Some(tag) = next_tag(source, position) {
        position = tag.end;
        let inner = &source[tag.inner.clone()];
        match tag.kind {
            TagKind::Comment => {}
            TagKind::Output => {
                if !ends_in_encoder(inner) {
                    reading.unencoded.push(tag.inner.clone());
                }
                reading.outputs.push(tag.inner);
            }
            TagKind::Statement => match statement_keyword(inner) {
                "raw" => position = end_of_raw(source, position),
                "if" | "elif" => reading.asked.extend(asked_in(inner, tag.inner.start)),
                "for" | "set" | "set_global" => reading.bound.extend(bound_names(inner)),
                _ => {}
            },
        }
    }
    let Reading { asked, bound, .. } = &mut reading;
    asked.retain(|asked| !bound.contains(&asked.path[0]));
    reading
}

/// The setting, derived value or secret that an expression starts from, e.g. `settings.mail.sender` of
/// `settings.mail.sender.name | json`, with its place in the expression; `None` where it starts from something else.
pub(crate) fn leading_path(expression: &str) -> Option<(Vec<String>, Range<usize>)> {
    words(expression).next().filter(|(path, _)| ROOTS.contains(&path[0].as_str()))
}

/// The names of the context that a tag asks for.
pub(crate) fn roots_in(tag: &str) -> Vec<&'static str> {
    let found: Vec<Vec<String>> = words(tag).map(|(path, _)| path).collect();
    ROOTS.into_iter().filter(|root| found.iter().any(|path| path[0] == *root)).collect()
}

/// What a tag is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagKind {
    Comment,
    Output,
    Statement,
}

/// One tag, in bytes of the text.
pub(crate) struct Tag {
    pub(crate) kind: TagKind,
    pub(crate) start: usize,
    /// What is between its signs.
    pub(crate) inner: Range<usize>,
    pub(crate) end: usize,
    /// Whether it takes the white space before it away.
    pub(crate) trims_before: bool,
    /// Whether it takes the white space behind it away.
    pub(crate) trims_after: bool,
}

/// The first tag from a place on.
pub(crate) fn next_tag(source: &str, from: usize) -> Option<Tag> {
    // Each byte is looked at once, whatever kinds of tags there are: a template of a megabyte takes no minutes.
    let opens = |at: &usize| matches!(source.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#'));
    let start = source[from..].match_indices('{').map(|(at, _)| from + at).find(opens)?;
    let (kind, close) = match source.as_bytes()[start + 1] {
        b'{' => (TagKind::Output, "}}"),
        b'%' => (TagKind::Statement, "%}"),
        _ => (TagKind::Comment, "#}"),
    };
    let body = start + 2;
    let length = match kind {
        TagKind::Comment => source[body..].find(close),
        TagKind::Output | TagKind::Statement => find_outside_quotes(&source[body..], close),
    };
    let end = length.map_or(source.len(), |length| body + length);
    // `{{-` and `-}}` trim white space; the dash is no part of the expression.
    let trims_before = source[body..end].starts_with('-');
    let from = body + usize::from(trims_before);
    let trims_after = source[from..end].ends_with('-');
    let inner = from..end - usize::from(trims_after);
    Some(Tag { kind, start, inner, end: (end + close.len()).min(source.len()), trims_before, trims_after })
}

fn find_outside_quotes(text: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if text[index..].starts_with(close) => return Some(index),
            _ => {}
        }
    }
    None
}

/// Where the text behind `{% raw %}` and its `{% endraw %}` ends.
pub(crate) fn end_of_raw(source: &str, from: usize) -> usize {
    let mut position = from;
    while let Some(found) = source[position..].find("{%") {
        position += found + 2;
        if source[position..].trim_start_matches('-').trim_start().starts_with("endraw") {
            return source[position..].find("%}").map_or(source.len(), |end| position + end + 2);
        }
    }
    source.len()
}

fn statement_keyword(inner: &str) -> &str {
    inner.split_whitespace().next().unwrap_or_default()
}

/// Whether the last filter of the expression is an encoder, or `indent` right behind one.
fn ends_in_encoder(expression: &str) -> bool {
    let mut filters = filter_names(expression).into_iter().rev();
    match filters.next() {
        Some("indent") => filters.next().is_some_and(|name| ENCODERS.contains(&name)),
        Some(name) => ENCODERS.contains(&name),
        None => false,
    }
}

/// The names of the filters at the end of an expression, outside of parentheses and quotes.
fn filter_names(expression: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut depth, mut quote) = (0_u32, None);
    for (index, c) in expression.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, '|') if depth == 0 => {
                let name = expression[index + 1..].trim_start();
                names.push(&name[..name.find(|c: char| !is_word(c)).unwrap_or(name.len())]);
            }
            _ => {}
        }
    }
    names
}

/// The names that a condition asks for, but for those whose absence it handles itself (`is defined`, `| default`).
fn asked_in(inner: &str, offset: usize) -> Vec<Asked> {
    words(inner)
        .filter(|(path, _)| path.len() > 1 && ROOTS.contains(&path[0].as_str()))
        .filter(|(_, span)| {
            let rest = inner[span.end..].trim_start();
            let rest_of_test = rest.strip_prefix("is").map(str::trim_start).unwrap_or_default();
            let test = rest_of_test.strip_prefix("not").map_or(rest_of_test, str::trim_start);
            let filter = rest.strip_prefix('|').map(str::trim_start).unwrap_or_default();
            !(test.starts_with("defined") || test.starts_with("undefined") || filter.starts_with("default"))
        })
        .map(|(path, span)| Asked { path, span: offset + span.start..offset + span.end })
        .collect()
}

/// What `for` and `set` bind: such a name is no longer the one of the context.
fn bound_names(inner: &str) -> impl Iterator<Item = String> {
    let bound = inner.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()).skip(1);
    bound.take_while(|word| *word != "in" && !word.starts_with('=')).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The dotted names of an expression, outside of quotes, with their places.
fn words(expression: &str) -> impl Iterator<Item = (Vec<String>, Range<usize>)> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut start = None;
    for (index, c) in expression.char_indices().chain([(expression.len(), ' ')]) {
        let in_name = quote.is_none() && (is_word(c) || (c == '.' && start.is_some()));
        match (start, in_name) {
            (None, true) => start = Some(index),
            (Some(from), false) => {
                let name = expression[from..index].trim_end_matches('.');
                found.push((name.split('.').map(str::to_owned).collect(), from..from + name.len()));
                start = None;
            }
            _ => {}
        }
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            _ => {}
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(source: &'a str, spans: &[Range<usize>]) -> Vec<&'a str> {
        spans.iter().map(|span| source[span.clone()].trim()).collect()
    }

    #[test]
    fn a_value_without_an_encoder_is_found() {
        let source = concat!(
            "{{ settings.a | json }} {{- settings.b | upper | yaml -}} {{ x | json | indent(by=4) }}\n",
            "{{ settings.c }} {{ settings.d | upper }} {{ '}} | json' }} {{ f(a | json) }} {{ x | indent }}\n",
            "{# {{ settings.e }} #}{% raw %}{{ settings.f }}{% endraw %}{{ settings.g }}",
        );
        let reading = read(source);
        assert_eq!(
            texts(source, &reading.unencoded),
            ["settings.c", "settings.d | upper", "'}} | json'", "f(a | json)", "x | indent", "settings.g"]
        );
    }

    #[test]
    fn names_in_conditions_are_found_but_for_those_that_ask_whether_they_exist() {
        let source = concat!(
            "{% if settings.a.b and not derived.c == 'settings.no' %}{% elif machine.d | length > 0 %}{% endif %}",
            "{% if settings.e is defined or settings.f is not defined or settings.g | default(value=1) %}{% endif %}",
            "{% for machine in derived.list %}{% if machine.d %}{% endif %}{% endfor %}",
        );
        let asked: Vec<String> = read(source).asked.iter().map(|asked| asked.path.join(".")).collect();
        assert_eq!(asked, ["settings.a.b", "derived.c"]);
    }

    #[test]
    fn text_that_is_no_template_does_no_harm() {
        for source in ["{{", "{%", "{#", "{{ \"", "{% raw %}", "{{ é", "}}", "{", "{{ é | }}", "{%-%}", "{{-}}"] {
            read(source);
        }
    }
}
