//! Problems for people and for programs.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::problem::{Problem, Sources};

/// The problems as text for a terminal, each with file, line, column and the text underlined; a blank line between two.
#[must_use]
pub fn render_text(problems: &[Problem], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    problems
        .iter()
        .map(|problem| format!("{}\n", renderer.render(&[group(problem, sources)])))
        .collect::<Vec<_>>()
        .join("\n")
}

fn group<'p>(problem: &'p Problem, sources: &'p Sources) -> Group<'p> {
    let title = if problem.subject.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.subject, problem.message)
    };
    let mut group = Group::with_title(Level::ERROR.primary_title(title).id(problem.code));
    // Places in the same file share one excerpt; the problem's own file comes first.
    let mut files = vec![problem.file.as_str()];
    for related in &problem.related {
        if !files.contains(&related.file.as_str()) {
            files.push(&related.file);
        }
    }
    for file in files {
        let own = problem.span.iter().filter(|_| file == problem.file);
        let own = own.map(|span| AnnotationKind::Primary.span(span.clone()));
        let others = problem.related.iter().filter(|related| related.file == file);
        let others = others.map(|it| AnnotationKind::Context.span(it.span.clone()).label(it.message.as_str()));
        let marks: Vec<_> = own.chain(others).collect();
        group = match sources.text(file) {
            Some(text) if !marks.is_empty() => group.element(Snippet::source(text).path(file).annotations(marks)),
            _ => group.element(Origin::path(file)),
        };
    }
    if problem.help.is_empty() { group } else { group.element(Level::HELP.message(problem.help.as_str())) }
}

/// The problems as a JSON array of objects with `code`, `file`, `line`, `column`, `endLine`, `endColumn`, `subject`,
/// `message`, `help` and `related`.
///
/// Lines and columns start at 1, columns count characters, the end is exclusive; they are null where a whole file is meant.
#[must_use]
pub fn to_json(problems: &[Problem], sources: &Sources) -> Value {
    problems.iter().map(|problem| one_to_json(problem, sources)).collect()
}

fn one_to_json(problem: &Problem, sources: &Sources) -> Value {
    let related = problem.related.iter().map(|related| {
        let mut place = place(&related.file, Some(&related.span), sources);
        place["message"] = json!(related.message);
        place
    });
    let mut object = place(&problem.file, problem.span.as_ref(), sources);
    object["code"] = json!(problem.code);
    object["subject"] = json!(problem.subject);
    object["message"] = json!(problem.message);
    object["help"] = json!(problem.help);
    object["related"] = related.collect();
    object
}

fn place(file: &str, span: Option<&Range<usize>>, sources: &Sources) -> Value {
    let ends = sources.text(file).zip(span).map(|(text, span)| (position(text, span.start), position(text, span.end)));
    json!({
        "file": file,
        "line": ends.map(|((line, _), _)| line),
        "column": ends.map(|((_, column), _)| column),
        "endLine": ends.map(|(_, (line, _))| line),
        "endColumn": ends.map(|(_, (_, column))| column),
    })
}

/// Line and column of a byte, both from 1; columns count characters.
#[must_use]
pub fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("a\né = 1", 5), (2, 3));
        assert_eq!(position("a\n", 2), (2, 1));
        assert_eq!(position("", 0), (1, 1));
    }
}
