//! What went wrong in a template, told in words of the set: file, place, way out.

use std::ops::Range;

use pconf_platform::{Platform, Problem, Related, Sources};
use tera::ErrorKind;

use crate::encode::ENCODERS;
use crate::syntax;

/// A problem with a whole file.
pub(crate) fn whole_file(file: String, code: &'static str, message: String, help: String) -> Problem {
    Problem { code, file, span: None, subject: String::new(), message, help, related: Vec::new() }
}

/// An expression that prints a value as it is.
pub(crate) fn unencoded(file: String, span: Range<usize>, source: &str) -> Problem {
    let expression = source[span.clone()].trim();
    Problem {
        code: "no-encoder",
        file,
        subject: String::new(),
        message: format!("`{expression}` is printed without an encoder"),
        help: format!(
            "end it with the encoder of the file's format: {}",
            ENCODERS.map(|e| format!("`| {e}`")).join(", ")
        ),
        span: Some(span),
        related: Vec::new(),
    }
}

/// Tera's error, and the name of the template that it lies in.
pub(crate) fn of_template(error: &tera::Error, shown: &str, sources: &Sources) -> (Problem, Option<String>) {
    if let Some(found) = unknown_at_load(error, shown, sources) {
        return found;
    }
    let (code, template, span, message) = match error.kind() {
        ErrorKind::SyntaxError(report) => {
            ("template-syntax", Some(report.filename()), Some(report.span().range.clone()), report.message().to_owned())
        }
        ErrorKind::RenderingError(report) => {
            ("template-value", Some(report.filename()), Some(report.span().range.clone()), report.message().to_owned())
        }
        ErrorKind::CircularInclude { tpl, include_chain } => {
            ("include-cycle", Some(tpl.as_str()), None, format!("includes itself: {}", include_chain.join(" → ")))
        }
        ErrorKind::MissingParent { current, parent } => (
            "missing-template",
            Some(current.as_str()),
            None,
            format!("extends `{parent}`, which the set does not have"),
        ),
        other => ("template", None, None, other.to_string()),
    };
    let template = template.map(str::to_owned);
    let file = template.as_ref().map_or_else(|| shown.to_owned(), |name| format!("{shown}/{name}"));
    let problem = Problem { span, ..whole_file(file, code, message, help(code).to_owned()) };
    (problem, template)
}

/// A filter, function, test or include that does not exist is told by Tera as a finished text:
///
/// ```text
/// error: Unknown filter `x`
///  --> web/a.tera:1:22
/// ```
fn unknown_at_load(error: &tera::Error, shown: &str, sources: &Sources) -> Option<(Problem, Option<String>)> {
    let ErrorKind::Msg(text) = error.kind() else { return None };
    let mut lines = text.lines();
    let message = lines.next()?.strip_prefix("error: ")?;
    let mut place = lines.next()?.trim_start().strip_prefix("--> ")?.rsplitn(3, ':');
    let (column, line, template) = (place.next()?, place.next()?, place.next()?);
    let (column, line) = (column.parse::<usize>().ok()?.checked_sub(1)?, line.parse::<usize>().ok()?.checked_sub(1)?);
    let file = format!("{shown}/{template}");
    let source = sources.text(&file)?;
    let after = |from: usize, characters: usize| {
        source[from..].char_indices().nth(characters).map_or(source.len(), |(index, _)| from + index)
    };
    let start = after(source.split_inclusive('\n').take(line).map(str::len).sum(), column);
    // The underline of the text is as long as what it means.
    let end = after(start, lines.last().map_or(1, |underline| underline.matches('^').count()));
    let help = help("template-syntax").to_owned();
    let problem = Problem { span: Some(start..end), ..whole_file(file, "template-unknown", message.to_owned(), help) };
    Some((problem, Some(template.to_owned())))
}

fn help(code: &str) -> &'static str {
    match code {
        "template-syntax" => "see the template language's manual: https://keats.github.io/tera/docs/",
        "template-value" => "a template sees `settings`, `machines`, `machine`, `derived`, `secrets` and `accepted`",
        _ => "",
    }
}

/// Where a value cannot be written into its format, the setting is what the admin can change: the problem moves there,
/// and the template becomes the related place.
pub(crate) fn blame_setting(problem: Problem, sources: &Sources, platform: &Platform) -> Problem {
    if !problem.message.contains(" cannot be written as ") {
        return problem;
    }
    let Some((span, text)) = problem.span.clone().zip(sources.text(&problem.file)) else { return problem };
    let reading = syntax::read(text);
    let Some(output) = reading.outputs.iter().find(|output| output.contains(&span.start)) else { return problem };
    let Some((path, _)) = syntax::leading_path(&text[output.clone()]) else { return problem };
    let pointer = match path[0].as_str() {
        "settings" | "machines" => format!("/{}", path.join("/")),
        _ => return Problem { subject: path.join("."), ..problem },
    };
    let help = "change the value, or the encoder in the template".to_owned();
    let mut blamed = platform.problem_at(&pointer, "not-encodable", problem.message, help);
    blamed.related.push(Related { file: problem.file, span: output.clone(), message: "it is written here".to_owned() });
    blamed
}
