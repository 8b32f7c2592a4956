//! An expression of a template in its parts. What it means is Tera's matter; here it only matters what it is made of.
//!
//! The grammar and its precedences are those of Tera 2 (<https://keats.github.io/tera/docs/>). A text that Tera accepts and
//! that is not understood here is no fault: where its lines come from is then told of the file as a whole.

use std::ops::Range;

/// One expression and where it stands in its template, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    pub(crate) span: Range<usize>,
    pub(crate) what: What,
}

type Boxed = Box<Expression>;

/// What an expression is made of.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Constant,
    /// Elements; `true` for one whose own elements are put in (`...x`).
    List(Vec<(bool, Expression)>),
    /// Entries; one without a key has its own entries put in.
    Map(Vec<(Option<String>, Expression)>),
    Name(String),
    Attribute(Boxed, String),
    Item(Boxed, Boxed),
    Slice(Boxed, Vec<Expression>),
    Filter {
        of: Boxed,
        name: String,
        arguments: Vec<(String, Expression)>,
    },
    Test {
        of: Boxed,
        name: String,
        arguments: Vec<(String, Expression)>,
    },
    Choice {
        yes: Boxed,
        condition: Boxed,
        no: Boxed,
    },
    Each {
        element: Boxed,
        key: Option<String>,
        value: String,
        of: Boxed,
        condition: Option<Boxed>,
    },
    Call {
        name: String,
        arguments: Vec<(String, Expression)>,
    },
    Not(Boxed),
    And(Boxed, Boxed),
    Or(Boxed, Boxed),
    /// Any other operation: its result is made of all operands.
    Operation(Vec<Expression>),
}

impl Expression {
    /// Every expression in it, itself included.
    pub(crate) fn visit<'e>(&'e self, each: &mut dyn FnMut(&'e Self)) {
        each(self);
        let parts: Vec<&Self> = match &self.what {
            What::Constant | What::Name(_) => Vec::new(),
            What::List(elements) => elements.iter().map(|(_, one)| one).collect(),
            What::Map(entries) => entries.iter().map(|(_, one)| one).collect(),
            What::Attribute(of, _) | What::Not(of) => vec![of],
            What::Item(one, other) | What::And(one, other) | What::Or(one, other) => vec![one, other],
            What::Slice(of, bounds) => std::iter::once(&**of).chain(bounds).collect(),
            What::Filter { of, arguments, .. } | What::Test { of, arguments, .. } => {
                std::iter::once(&**of).chain(arguments.iter().map(|(_, one)| one)).collect()
            }
            What::Choice { yes, condition, no } => vec![condition, yes, no],
            What::Each { element, of, condition, .. } => {
                [&**element, &**of].into_iter().chain(condition.as_deref()).collect()
            }
            What::Call { arguments, .. } => arguments.iter().map(|(_, one)| one).collect(),
            What::Operation(operands) => operands.iter().collect(),
        };
        for part in parts {
            part.visit(each);
        }
    }
}

/// A text that is not understood here.
#[derive(Debug)]
pub(crate) struct NotUnderstood;

type Parsed<T> = Result<T, NotUnderstood>;

#[derive(Debug, Clone, PartialEq)]
enum Token<'t> {
    Word(&'t str),
    Number,
    Text(String),
    Sign(&'static str),
}

/// The longest first, so that `**` is not taken for `*`.
const SIGNS: [&str; 31] = [
    "...", "?.", "?[", "==", "!=", "<=", ">=", "//", "**", "</", "(", ")", "[", "]", "{", "}", ".", ",", ":", "|", "~",
    "=", "+", "-", "*", "/", "%", "<", ">", "@", "?",
];

/// Reads the tokens of one tag, from left to right.
pub(crate) struct Cursor<'t> {
    tokens: Vec<(Token<'t>, Range<usize>)>,
    next: usize,
    end: usize,
}

impl<'t> Cursor<'t> {
    /// The tokens of `source[range]`.
    pub(crate) fn new(source: &'t str, range: Range<usize>) -> Parsed<Self> {
        let mut tokens = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let rest = &source[at..range.end];
            let Some(first) = rest.chars().next() else { break };
            let (token, length) = if first.is_whitespace() {
                at += first.len_utf8();
                continue;
            } else if first.is_ascii_digit() {
                let is_part = |(index, c): (usize, char)| {
                    // `1..2` is no number; `1.5` is.
                    c.is_ascii_digit()
                        || (c == '.' && rest[index + 1..].starts_with(|next: char| next.is_ascii_digit()))
                };
                let length = rest.char_indices().find(|found| !is_part(*found)).map_or(rest.len(), |(index, _)| index);
                (Token::Number, length)
            } else if first.is_alphanumeric() || first == '_' {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            } else if matches!(first, '"' | '\'' | '`') {
                let (text, length) = quoted(rest, first).ok_or(NotUnderstood)?;
                (Token::Text(text), length)
            } else {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign)).ok_or(NotUnderstood)?;
                (Token::Sign(sign), sign.len())
            };
            tokens.push((token, at..at + length));
            at += length;
        }
        Ok(Self { tokens, next: 0, end: range.start })
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.next == self.tokens.len()
    }

    fn peek(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn take(&mut self) -> Parsed<Token<'t>> {
        let (token, span) = self.tokens.get(self.next).cloned().ok_or(NotUnderstood)?;
        self.next += 1;
        self.end = span.end;
        Ok(token)
    }

    fn start(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(_, span)| span.start)
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if *found == word)
    }

    /// Takes the sign if it comes next.
    pub(crate) fn takes_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            let _ = self.take();
        }
        found
    }

    pub(crate) fn takes_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            let _ = self.take();
        }
        found
    }

    pub(crate) fn sign(&mut self, sign: &str) -> Parsed<()> {
        if self.takes_sign(sign) { Ok(()) } else { Err(NotUnderstood) }
    }

    pub(crate) fn the_word(&mut self, word: &str) -> Parsed<()> {
        if self.takes_word(word) { Ok(()) } else { Err(NotUnderstood) }
    }

    pub(crate) fn word(&mut self) -> Parsed<String> {
        match self.take()? {
            Token::Word(word) => Ok(word.to_owned()),
            _ => Err(NotUnderstood),
        }
    }

    pub(crate) fn text(&mut self) -> Parsed<String> {
        match self.take()? {
            Token::Text(text) => Ok(text),
            _ => Err(NotUnderstood),
        }
    }

    /// One whole expression.
    pub(crate) fn expression(&mut self) -> Parsed<Expression> {
        self.bound(0)
    }

    fn made(&self, start: usize, what: What) -> Expression {
        Expression { span: start..self.end, what }
    }

    /// As far as operators bind more tightly than `least`.
    fn bound(&mut self, least: u8) -> Parsed<Expression> {
        let start = self.start();
        let mut left = self.operand()?;
        loop {
            if self.is_sign("[") || self.is_sign("?[") {
                left = self.subscript(start, left)?;
                continue;
            }
            let Some((binds, right_binds)) = self.binding() else { break };
            if binds < least {
                break;
            }
            left = self.operation(start, left, right_binds)?;
        }
        Ok(left)
    }

    /// How tightly the operator that comes next binds what is before and behind it.
    fn binding(&self) -> Option<(u8, u8)> {
        match self.peek()? {
            Token::Word("if") => Some((0, 0)),
            Token::Word("or") => Some((1, 2)),
            Token::Word("and") => Some((3, 4)),
            Token::Word("in" | "is" | "not") => Some((5, 6)),
            Token::Sign("==" | "!=" | "<" | "<=" | ">" | ">=") => Some((7, 8)),
            Token::Sign("+" | "-") => Some((11, 12)),
            Token::Sign("*" | "/" | "//" | "%" | "~") => Some((13, 14)),
            Token::Sign("**") => Some((16, 15)),
            Token::Sign("|") => Some((17, 18)),
            _ => None,
        }
    }

    fn operation(&mut self, start: usize, left: Expression, right_binds: u8) -> Parsed<Expression> {
        let left = Box::new(left);
        let what = match self.take()? {
            Token::Word("if") => {
                let condition = Box::new(self.bound(0)?);
                self.the_word("else")?;
                What::Choice { yes: left, condition, no: Box::new(self.bound(0)?) }
            }
            Token::Word("is") => {
                let is_negated = self.takes_word("not");
                let (name, arguments) = (self.word()?, self.optional_arguments()?);
                let test = What::Test { of: left, name, arguments };
                if is_negated { What::Not(Box::new(self.made(start, test))) } else { test }
            }
            Token::Word("not") => {
                self.the_word("in")?;
                What::Operation(vec![*left, self.bound(right_binds)?])
            }
            Token::Sign("|") => {
                let (name, arguments) = (self.word()?, self.optional_arguments()?);
                What::Filter { of: left, name, arguments }
            }
            Token::Word("and") => What::And(left, Box::new(self.bound(right_binds)?)),
            Token::Word("or") => What::Or(left, Box::new(self.bound(right_binds)?)),
            _ => What::Operation(vec![*left, self.bound(right_binds)?]),
        };
        Ok(self.made(start, what))
    }

    fn operand(&mut self) -> Parsed<Expression> {
        let start = self.start();
        let what = match self.take()? {
            Token::Number
            | Token::Text(_)
            | Token::Word("true" | "True" | "false" | "False" | "none" | "None" | "null") => What::Constant,
            Token::Word("not") => What::Not(Box::new(self.bound(5)?)),
            Token::Word(name) => return self.name(start, name),
            Token::Sign("-") => What::Operation(vec![self.bound(20)?]),
            Token::Sign("(") => {
                let inner = self.bound(0)?;
                self.sign(")")?;
                inner.what
            }
            Token::Sign("[") => self.list()?,
            Token::Sign("{") => self.map()?,
            Token::Sign(_) => return Err(NotUnderstood),
        };
        Ok(self.made(start, what))
    }

    /// A name and the way down from it, or a call.
    fn name(&mut self, start: usize, name: &str) -> Parsed<Expression> {
        // The engine's own: all that there is, under one name.
        if name.starts_with("__tera") {
            return Err(NotUnderstood);
        }
        if self.is_sign("(") {
            let arguments = self.optional_arguments()?;
            return Ok(self.made(start, What::Call { name: name.to_owned(), arguments }));
        }
        let mut found = self.made(start, What::Name(name.to_owned()));
        loop {
            if self.takes_sign(".") || self.takes_sign("?.") {
                let key = self.word()?;
                found = self.made(start, What::Attribute(Box::new(found), key));
            } else if self.is_sign("[") || self.is_sign("?[") {
                found = self.subscript(start, found)?;
            } else {
                return Ok(found);
            }
        }
    }

    fn subscript(&mut self, start: usize, of: Expression) -> Parsed<Expression> {
        self.take()?;
        let mut parts = Vec::new();
        let mut is_slice = false;
        while !self.takes_sign("]") {
            if self.takes_sign(":") {
                is_slice = true;
            } else {
                parts.push(self.bound(0)?);
            }
        }
        let what = match (is_slice, parts.len()) {
            (true, _) => What::Slice(Box::new(of), parts),
            (false, 1) => What::Item(Box::new(of), Box::new(parts.remove(0))),
            (false, _) => return Err(NotUnderstood),
        };
        Ok(self.made(start, what))
    }

    fn list(&mut self) -> Parsed<What> {
        let mut elements = Vec::new();
        while !self.takes_sign("]") {
            let is_spread = self.takes_sign("...");
            let one = self.bound(0)?;
            if elements.is_empty() && !is_spread && self.is_word("for") {
                return self.each(one);
            }
            elements.push((is_spread, one));
            if !self.is_sign("]") {
                self.sign(",")?;
            }
        }
        Ok(What::List(elements))
    }

    /// The rest of `[x for x in list if condition]`.
    fn each(&mut self, element: Expression) -> Parsed<What> {
        let (key, value, of) = self.loop_head(1)?;
        let condition = if self.takes_word("if") { Some(Box::new(self.bound(1)?)) } else { None };
        self.sign("]")?;
        Ok(What::Each { element: Box::new(element), key, value, of: Box::new(of), condition })
    }

    /// `for value in list`, or `for key, value in object`.
    pub(crate) fn loop_head(&mut self, least: u8) -> Parsed<(Option<String>, String, Expression)> {
        self.the_word("for")?;
        let first = self.word()?;
        let second = if self.takes_sign(",") { Some(self.word()?) } else { None };
        self.the_word("in")?;
        let of = self.bound(least)?;
        Ok(match second {
            Some(second) => (Some(first), second, of),
            None => (None, first, of),
        })
    }

    fn map(&mut self) -> Parsed<What> {
        let mut entries = Vec::new();
        while !self.takes_sign("}") {
            if self.takes_sign("...") {
                entries.push((None, self.bound(0)?));
            } else {
                let key = self.text()?;
                self.sign(":")?;
                entries.push((Some(key), self.bound(0)?));
            }
            if !self.is_sign("}") {
                self.sign(",")?;
            }
        }
        Ok(What::Map(entries))
    }

    fn optional_arguments(&mut self) -> Parsed<Vec<(String, Expression)>> {
        let mut arguments = Vec::new();
        if self.takes_sign("(") {
            while !self.takes_sign(")") {
                let name = self.word()?;
                self.sign("=")?;
                arguments.push((name, self.bound(0)?));
                if !self.is_sign(")") {
                    self.sign(",")?;
                }
            }
        }
        Ok(arguments)
    }
}

/// The text between quotes with its escapes resolved, and its length with the quotes.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((index, c)) = characters.next() {
        match c {
            c if c == quote => return Some((text, index + c.len_utf8())),
            '\\' => match characters.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each expression in it, as the text that it stands for.
    fn parts(text: &str) -> Option<Vec<&str>> {
        let mut cursor = Cursor::new(text, 0..text.len()).ok()?;
        let expression = cursor.expression().ok()?;
        let mut found = Vec::new();
        expression.visit(&mut |one| found.push(&text[one.span.clone()]));
        cursor.is_at_end().then_some(found)
    }

    #[test]
    fn an_expression_falls_into_the_parts_that_tera_sees() {
        for (text, expected) in [
            ("a.b | json", vec!["a.b | json", "a.b", "a"]),
            ("a ~ b == c and d", vec!["a ~ b == c and d", "a ~ b == c", "a ~ b", "a", "b", "c", "d"]),
            ("not a is defined", vec!["not a is defined", "a is defined", "a"]),
            ("(a ~ 'x') | join(sep=b)", vec!["(a ~ 'x') | join(sep=b)", "(a ~ 'x')", "a", "'x'", "b"]),
            ("x if c else y", vec!["x if c else y", "c", "x", "y"]),
            ("[m.a for m in all if m.b]", vec!["[m.a for m in all if m.b]", "m.a", "m", "all", "m.b", "m"]),
            ("a[1:][b]", vec!["a[1:][b]", "a[1:]", "a", "1", "b"]),
            ("{'k': a, ...b}", vec!["{'k': a, ...b}", "a", "b"]),
            ("f(end=a) not in b", vec!["f(end=a) not in b", "f(end=a)", "a", "b"]),
        ] {
            assert_eq!(parts(text), Some(expected), "{text}");
        }
        for strange in ["a |", "<x />", "a..b", "'open", "§"] {
            assert_eq!(parts(strange), None, "{strange}");
        }
    }
}
