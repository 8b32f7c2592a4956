//! What is wrong with a text that is not even JSON, in words for somebody who writes it by hand.

use std::ops::Range;

use jsonc_parser::ParseStringErrorKind as InString;
use jsonc_parser::errors::{ParseError, ParseErrorKind as Kind};

use crate::pointer;
use crate::problem::{Problem, Related};

/// The parser's error with the text that matters underlined.
pub(crate) fn problem(file: &str, text: &str, error: &ParseError) -> Problem {
    let range = error.range();
    let start = range.start.min(text.len());
    let first_character = start + text[start..].chars().next().map_or(0, char::len_utf8);
    let token = start..range.end.clamp(start, text.len());
    let before = text[..start].trim_end();
    let (span, message, help) = match error.kind() {
        Kind::ExpectedStringObjectProperty => (
            token.clone(),
            format!("the key `{}` is not in quotes", &text[token.clone()]),
            format!("write \"{}\"", &text[token]),
        ),
        Kind::ExpectedComma
            if is_digit(text[..start].chars().next_back()) && is_digit(text[start..].chars().next()) =>
        {
            number_words(start - 1, "a number with leading zeros", text)
        }
        Kind::ExpectedComma => (
            start.saturating_sub(1)..start,
            "a comma is missing after this".to_owned(),
            "put a `,` between one entry and the next".to_owned(),
        ),
        Kind::SingleQuotedStringsNotAllowed => {
            (token, "single quotes do not make a text".to_owned(), "use double quotes: \"…\"".to_owned())
        }
        Kind::HexadecimalNumbersNotAllowed => number_words(start, "a hexadecimal number", text),
        Kind::UnaryPlusNumbersNotAllowed => number_words(start, "a number with a `+`", text),
        Kind::BareDecimalPointNumbersNotAllowed => number_words(start, "a number with a bare decimal point", text),
        Kind::NonFiniteNumbersNotAllowed => number_words(start, "no number", text),
        Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => (
            start..first_character,
            "a digit is missing here".to_owned(),
            "write a number such as -1.5 or 2e10".to_owned(),
        ),
        Kind::UnterminatedObject => {
            (start..first_character, "this `{` is never closed".to_owned(), "add the `}` that belongs to it".to_owned())
        }
        Kind::UnterminatedArray => {
            (start..first_character, "this `[` is never closed".to_owned(), "add the `]` that belongs to it".to_owned())
        }
        Kind::UnterminatedCommentBlock => (
            start..(start + 2).min(text.len()),
            "this comment is never closed".to_owned(),
            "add the `*/` that belongs to it".to_owned(),
        ),
        Kind::ExpectedColonAfterObjectKey => {
            (token, "a `:` is missing between key and value".to_owned(), "write \"key\": value".to_owned())
        }
        Kind::ExpectedObjectValue => {
            (token, "a value is missing after the `:`".to_owned(), "write \"key\": value".to_owned())
        }
        Kind::MultipleRootJsonValues => (
            start..end_of_line(text, start),
            "something follows the end of the file's object".to_owned(),
            "remove it, or move the last `}` behind it".to_owned(),
        ),
        Kind::NestingDepthExceeded => (
            start..first_character,
            "objects and lists are nested more than 512 deep".to_owned(),
            "flatten them".to_owned(),
        ),
        Kind::String(kind @ InString::UnterminatedStringLiteral) => in_string(start..end_of_line(text, start), kind),
        Kind::String(kind) => in_string(escape(text, start), kind),
        Kind::UnexpectedComma if before.ends_with(':') => {
            (token, "a value is missing before this comma".to_owned(), "write \"key\": value".to_owned())
        }
        Kind::UnexpectedComma | Kind::UnexpectedTokenInObject if text[token.clone()] == *"," => {
            (token, "nothing stands before this comma".to_owned(), "remove it, or write the value before it".to_owned())
        }
        Kind::UnexpectedWord => (
            token.clone(),
            format!("`{}` is no value", &text[token]),
            "text goes in double quotes; the bare words are true, false and null".to_owned(),
        ),
        Kind::UnexpectedCloseBrace
        | Kind::UnexpectedCloseBracket
        | Kind::UnexpectedColon
        | Kind::UnexpectedComma
        | Kind::UnexpectedToken
        | Kind::UnexpectedTokenInObject
        | Kind::CommentsNotAllowed
        | Kind::TrailingCommasNotAllowed => (
            start..token.end.max(first_character),
            format!("`{}` cannot stand here", &text[start..token.end.max(first_character)]),
            "the file is JSON with comments: objects of \"key\": value, lists, texts, numbers, true, false, null"
                .to_owned(),
        ),
    };
    Problem { span: Some(span), ..whole_file(file, message, help) }
}

/// A number in a spelling that JSON does not have, underlined as a whole.
fn number_words(start: usize, what: &str, text: &str) -> (Range<usize>, String, String) {
    let rest = &text[start..];
    let length = rest.find(|c: char| c.is_whitespace() || ",]}:\"".contains(c)).unwrap_or(rest.len());
    let span = start..start + length;
    let message = format!("`{}` is {what}", &text[span.clone()]);
    (span, message, "write a decimal number, e.g. 255 or 0.5".to_owned())
}

fn is_digit(character: Option<char>) -> bool {
    character.is_some_and(|character| character.is_ascii_digit())
}

/// The text that stands on its line without an end: a line break cannot be in a text, so the quote was forgotten. Found
/// before parsing, because a parser that reads on to the next quote complains about the wrong line.
///
/// RFC 8259 section 7: control characters in a text must be escaped.
pub(crate) fn control_character(file: &str, text: &str) -> Option<Problem> {
    let mut rest = text.char_indices().peekable();
    while let Some((start, character)) = rest.next() {
        match (character, rest.peek()) {
            ('/', Some((_, '/'))) => while rest.next_if(|(_, c)| *c != '\n').is_some() {},
            ('/', Some((_, '*'))) => {
                rest.next();
                let length = text[start + 2..].find("*/").map_or(text.len(), |length| start + 2 + length);
                while rest.next_if(|(at, _)| *at < length + 2).is_some() {}
            }
            ('"', _) => {
                while let Some((at, character)) = rest.next() {
                    match character {
                        '"' => break,
                        '\\' => {
                            rest.next_if(|(_, c)| !c.is_control());
                        }
                        '\n' | '\r' => return Some(in_text(file, start..at, &InString::UnterminatedStringLiteral)),
                        control if u32::from(control) < 0x20 => {
                            let message =
                                format!("a control character stands in this text (U+{:04X})", u32::from(control));
                            let help = format!("write it as \\u{:04x}; a tab is \\t", u32::from(control));
                            return Some(Problem { span: Some(at..at + 1), ..whole_file(file, message, help) });
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    None
}

fn in_text(file: &str, span: Range<usize>, kind: &InString) -> Problem {
    let (span, message, help) = in_string(span, kind);
    Problem { span: Some(span), ..whole_file(file, message, help) }
}

/// What an escape that is none covers: the backslash and what belongs to it.
fn escape(text: &str, start: usize) -> Range<usize> {
    let rest = &text[start..];
    let most = if rest.starts_with("\\u") { 6 } else { 2 };
    let length =
        rest.chars().enumerate().take_while(|(at, c)| *at == 0 || (*at < most && *c != '"' && !c.is_control()));
    start..start + length.map(|(_, c)| c.len_utf8()).sum::<usize>()
}

fn in_string(span: Range<usize>, kind: &InString) -> (Range<usize>, String, String) {
    let (message, help) = match kind {
        InString::UnterminatedStringLiteral => {
            ("this text is never closed", "add the `\"` that belongs to it; a line break in a text is written \\n")
        }
        InString::ExpectedFourHexDigits | InString::InvalidUnicodeEscapeSequence(_) => {
            ("this is no character", "write \\u and four hexadecimal digits, e.g. \\u00e9; beyond U+FFFF, two of them")
        }
        InString::InvalidEscapeInSingleQuoteString
        | InString::InvalidEscapeInDoubleQuoteString
        | InString::ExpectedTwoHexDigits
        | InString::InvalidEscape => {
            ("a `\\` means nothing before this character", "write \\\\ for a backslash; \\n, \\t, \\\" are others")
        }
    };
    (span, message.to_owned(), help.to_owned())
}

fn end_of_line(text: &str, start: usize) -> usize {
    let line = text[start..].lines().next().unwrap_or_default().trim_end();
    start + line.len()
}

/// A file that starts with a byte order mark looks right in an editor and is no JSON.
pub(crate) fn byte_order_mark(file: &str, text: &str) -> Option<Problem> {
    text.starts_with('\u{feff}').then(|| {
        whole_file(file, "the file starts with a byte order mark".to_owned(), "save it as UTF-8 without BOM".to_owned())
    })
}

/// A file without a value.
pub(crate) fn nothing(file: &str) -> Problem {
    whole_file(file, "the file is empty".to_owned(), "write an object: { … }".to_owned())
}

/// A number that no program could hold.
pub(crate) fn number(file: &str, span: Range<usize>, at: &str, literal: &str) -> Problem {
    Problem {
        span: Some(span),
        subject: pointer::dotted(at),
        ..whole_file(
            file,
            format!("`{literal}` is not a number"),
            "write a decimal number without leading zeros, at most about 1.7e308".to_owned(),
        )
    }
}

/// The same key twice in one object: one of the two would be lost in silence.
pub(crate) fn duplicate_key(file: &str, span: Range<usize>, first: Range<usize>, at: &str) -> Problem {
    let name = pointer::split_last(at).map(|(_, name)| name).unwrap_or_default();
    Problem {
        code: "duplicate-key",
        span: Some(span),
        subject: pointer::dotted(at),
        related: vec![Related { file: file.to_owned(), span: first, message: "first written here".to_owned() }],
        ..whole_file(file, format!("the key `{name}` is written twice"), "remove one of the two".to_owned())
    }
}

fn whole_file(file: &str, message: String, help: String) -> Problem {
    Problem {
        code: "syntax",
        file: file.to_owned(),
        span: None,
        subject: String::new(),
        message,
        help,
        related: Vec::new(),
    }
}
