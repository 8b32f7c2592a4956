//! JSON with comments and trailing commas, and the place of every value.
//!
//! Nothing laxer is taken: what a person meant by a missing comma is a guess, and a guess is served to a whole platform.

use std::collections::BTreeMap;
use std::ops::Range;

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Value};

use crate::pointer;
use crate::problem::{Problem, Related};
use crate::syntax;

/// What is allowed beyond RFC 8259: comments and trailing commas.
pub(crate) const DIALECT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// A parsed text: its value, and where each part of it stands.
#[derive(Debug, Clone)]
pub(crate) struct JsonText {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) value: Value,
    places: BTreeMap<String, Place>,
}

/// Where a value stands, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) value: Range<usize>,
    /// The key in front of it, quotes included; `None` in a list and at the root.
    pub(crate) key: Option<Range<usize>>,
    is_container: bool,
}

impl JsonText {
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader { file, places: BTreeMap::new(), problems: Vec::new() };
        let early = syntax::byte_order_mark(file, text).or_else(|| syntax::control_character(file, text));
        if let Some(problem) = early {
            return Err(vec![problem]);
        }
        let parsed = parse_to_ast(text, &CollectOptions::default(), &DIALECT)
            .map_err(|error| vec![syntax::problem(file, text, &error)])?;
        let Some(root) = parsed.value else {
            return Err(vec![syntax::nothing(file)]);
        };
        let value = reader.read(&root, String::new(), None);
        if reader.problems.is_empty() {
            Ok(Self { file: file.to_owned(), text: text.to_owned(), value, places: reader.places })
        } else {
            Err(reader.problems)
        }
    }

    pub(crate) fn place(&self, pointer: &str) -> Option<&Place> {
        self.places.get(pointer)
    }

    /// Whether the value at a pointer is not written but was put into a written object or list: a default.
    pub(crate) fn is_default(&self, mut pointer: &str) -> bool {
        if self.places.contains_key(pointer) {
            return false;
        }
        while let Some((around, _)) = pointer.rsplit_once('/') {
            if let Some(place) = self.places.get(around) {
                return place.is_container;
            }
            pointer = around;
        }
        false
    }

    /// What to underline to mean the value: the value itself, or, of something that spans lines, its key or bracket.
    ///
    /// For a value that is not written (a default, something missing) it is the closest one around it.
    pub(crate) fn span_of(&self, mut pointer: &str) -> Option<Range<usize>> {
        loop {
            if let Some(place) = self.places.get(pointer) {
                return Some(place.mark());
            }
            pointer = pointer.rsplit_once('/')?.0;
        }
    }

    /// The key of a value, or what [`Self::span_of`] says where there is none.
    pub(crate) fn key_span_of(&self, pointer: &str) -> Option<Range<usize>> {
        self.places.get(pointer).and_then(|place| place.key.clone()).or_else(|| self.span_of(pointer))
    }

    /// A problem with the value at a pointer.
    pub(crate) fn problem(
        &self,
        pointer: &str,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        Problem {
            code,
            file: self.file.clone(),
            span: self.span_of(pointer),
            subject: pointer::dotted(pointer),
            message: message.into(),
            help: help.into(),
            related: Vec::new(),
        }
    }

    /// A problem with the key of the value at a pointer.
    pub(crate) fn key_problem(
        &self,
        pointer: &str,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        Problem { span: self.key_span_of(pointer), ..self.problem(pointer, code, message, help) }
    }

    /// Another place of a problem, if it is written.
    pub(crate) fn related(&self, pointer: &str, message: impl Into<String>) -> Option<Related> {
        let span = self.span_of(pointer)?;
        Some(Related { file: self.file.clone(), span, message: message.into() })
    }
}

impl Place {
    fn mark(&self) -> Range<usize> {
        match &self.key {
            Some(key) if self.is_container => key.clone(),
            None if self.is_container => self.value.start..self.value.start + 1,
            _ => self.value.clone(),
        }
    }
}

struct Reader<'t> {
    file: &'t str,
    places: BTreeMap<String, Place>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn read(&mut self, node: &ast::Value<'_>, pointer: String, key: Option<Range<usize>>) -> Value {
        let range = node.range();
        let is_container = matches!(node, ast::Value::Object(_) | ast::Value::Array(_));
        let value = match node {
            ast::Value::Object(object) => self.read_object(object, &pointer),
            ast::Value::Array(array) => {
                let element = |(index, node)| self.read(node, pointer::child(&pointer, &format!("{index}")), None);
                Value::Array(array.elements.iter().enumerate().map(element).collect())
            }
            ast::Value::StringLit(literal) => Value::String(literal.value.clone().into_owned()),
            ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::NumberLit(literal) => serde_json::from_str(literal.value).unwrap_or_else(|_| {
                self.problems.push(syntax::number(self.file, range.start..range.end, &pointer, literal.value));
                Value::Null
            }),
        };
        self.places.insert(pointer, Place { value: range.start..range.end, key, is_container });
        value
    }

    fn read_object(&mut self, object: &ast::Object<'_>, pointer: &str) -> Value {
        let mut map = Map::new();
        let mut keys: BTreeMap<String, Range<usize>> = BTreeMap::new();
        for property in &object.properties {
            let range = match &property.name {
                ObjectPropName::String(literal) => literal.range,
                ObjectPropName::Word(literal) => literal.range,
            };
            let name = property.name.as_str().to_owned();
            let span = range.start..range.end;
            let here = pointer::child(pointer, &name);
            if let Some(first) = keys.get(&name) {
                self.problems.push(syntax::duplicate_key(self.file, span, first.clone(), &here));
                continue;
            }
            keys.insert(name.clone(), span.clone());
            let value = self.read(&property.value, here, Some(span));
            map.insert(name, value);
        }
        Value::Object(map)
    }
}
