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
    let (span, message, help) = match error.kind() {
        Kind::ExpectedStringObjectProperty => (
            token.clone(),
            format!("the key `{}` is not in quotes", &text[token.clone()]),
            format!("write \"{}\"", &text[token]),
        ),
        Kind::ExpectedComma => (
            start.saturating_sub(1)..start,
            "a comma is missing after this".to_owned(),
            "put a `,` between one entry and the next".to_owned(),
        ),
        Kind::SingleQuotedStringsNotAllowed => {
            (token, "single quotes do not make a text".to_owned(), "use double quotes: \"…\"".to_owned())
        }
        Kind::HexadecimalNumbersNotAllowed => number_words(token, "a hexadecimal number", text),
        Kind::UnaryPlusNumbersNotAllowed => number_words(token, "a number with a `+`", text),
        Kind::BareDecimalPointNumbersNotAllowed => number_words(token, "a number with a bare decimal point", text),
        Kind::NonFiniteNumbersNotAllowed => number_words(token, "no number", text),
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
        Kind::String(kind) => in_string(start..end_of_line(text, start), kind),
        Kind::UnexpectedComma => {
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

fn number_words(span: Range<usize>, what: &str, text: &str) -> (Range<usize>, String, String) {
    let message = format!("`{}` is {what}", &text[span.clone()]);
    (span, message, "write a decimal number, e.g. 255 or 0.5".to_owned())
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
