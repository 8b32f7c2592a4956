//! One template rendered a second time, slowly, with a note of where each piece of text comes from.
//!
//! Tera itself says what every expression is worth and every choice comes to; what is done here is to go along with it.
//! So there is nothing in the text that would have to be taken out again, and nothing in a value that could be mistaken for
//! it. That the result is the same byte for byte is not believed but compared, by whoever asks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use tera::{Context, Kwargs, State, Tera, Value};

use super::document::{self, Node};
use super::expression::{Expression, NotUnderstood, What};
use super::trace::{Dependencies, Kind, Trace};
use crate::bounds::Bounds;
use crate::set::TemplateSet;

/// A file that takes more steps than this is told of as a whole.
const MOST_STEPS: usize = 200_000;

/// Where the lines of a text come from could not be found out.
#[derive(Debug)]
pub(crate) struct Lost;

impl From<NotUnderstood> for Lost {
    fn from(_: NotUnderstood) -> Self {
        Self
    }
}

impl From<tera::Error> for Lost {
    fn from(_: tera::Error) -> Self {
        Self
    }
}

/// The templates of a set, ready to be gone along with.
pub(crate) struct Templates {
    texts: BTreeMap<String, String>,
    nodes: BTreeMap<String, Vec<Node>>,
    /// The set's templates, and beside them each expression, which leaves its value in `kept`.
    tera: Tera,
    bounds: Bounds,
    kept: Arc<Mutex<Option<Value>>>,
}

/// The name of the expression's own template.
fn name_of(expression: &str) -> String {
    // No file of a set is called so: `{` is no part of the name of an expression's template elsewhere.
    format!("{{{{ {expression} }}}}")
}

impl Templates {
    pub(crate) fn new(set: &TemplateSet) -> Self {
        let prefix = format!("{}/", set.shown);
        let text = |name: &String| Some((name.clone(), set.sources.text(&format!("{prefix}{name}"))?.to_owned()));
        let mut texts: BTreeMap<String, String> = set.readings.keys().filter_map(text).collect();
        // A name of a file is a template, too.
        let targets = set.roles.values().flat_map(|role| &role.files).map(|(target, _)| target);
        texts.extend(targets.filter(|target| target.contains("{{")).map(|target| (target.clone(), target.clone())));

        let nodes = texts.iter().filter_map(|(name, text)| Some((name.clone(), document::read(text).ok()?)));
        let nodes: BTreeMap<String, Vec<Node>> = nodes.collect();
        let mut expressions: BTreeMap<String, String> = BTreeMap::new();
        for (name, nodes) in &nodes {
            let Some(text) = texts.get(name) else { continue };
            document::visit(nodes, &mut |one| {
                let text = &text[one.span.clone()];
                expressions.entry(name_of(text)).or_insert_with(|| format!("{{{{ ({text}) | kept }}}}"));
            });
        }
        let kept: Arc<Mutex<Option<Value>>> = Arc::default();
        let mut tera = set.tera.clone();
        let keeper = Arc::clone(&kept);
        tera.register_filter("kept", move |value: &Value, _: Kwargs, _: &State| {
            *keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.clone());
            ""
        });
        if tera.add_raw_templates(&expressions).is_err() {
            // One that is none by itself is missed where it is needed, and no other.
            for (name, text) in &expressions {
                let _ = tera.add_raw_template(name, text);
            }
        }
        Self { texts, nodes, tera, bounds: set.bounds.clone(), kept }
    }

    /// The text of a template.
    pub(crate) fn text(&self, template: &str) -> Option<&str> {
        self.texts.get(template).map(String::as_str)
    }

    /// Renders a template in a context whose names have these origins.
    pub(crate) fn walk(
        &self,
        template: &str,
        context: Context,
        names: BTreeMap<String, Rc<Trace>>,
    ) -> Result<Page, Lost> {
        let mut walk = Walk {
            templates: self,
            context,
            names,
            scopes: vec![Scope::of_template()],
            conditions: Rc::default(),
            template: Rc::from(""),
            source: "",
            page: Page::default(),
            steps: 0,
        };
        walk.template(template)?;
        Ok(walk.page)
    }
}

/// What was printed, and by what.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) text: String,
    /// In the order of the text, without gaps. A piece of no length tells why nothing is printed there.
    pub(crate) pieces: Vec<Printed>,
}

/// One piece of a page.
#[derive(Debug)]
pub(crate) struct Printed {
    /// In bytes of the page.
    pub(crate) range: Range<usize>,
    pub(crate) template: Rc<str>,
    /// What printed it, in bytes of the template.
    pub(crate) span: Range<usize>,
    /// What the value is made of; `None` for text of the template.
    pub(crate) trace: Option<Rc<Trace>>,
    /// Why it is printed.
    pub(crate) conditions: Rc<Dependencies>,
}

impl Printed {
    /// All that it depends on.
    pub(crate) fn dependencies(&self) -> Dependencies {
        let mut all = (*self.conditions).clone();
        if let Some(trace) = &self.trace {
            all.join(trace.flat(), Kind::Value);
        }
        all
    }
}

/// A value with its origin.
type Bound = (Option<Value>, Option<Rc<Trace>>);

/// The names that a template or one round of a loop has given values to, and what they meant before.
struct Scope {
    is_of_template: bool,
    before: Vec<(String, Bound)>,
}

impl Scope {
    fn of_template() -> Self {
        Self { is_of_template: true, before: Vec::new() }
    }
}

pub(super) struct Walk<'t> {
    pub(super) templates: &'t Templates,
    pub(super) context: Context,
    pub(super) names: BTreeMap<String, Rc<Trace>>,
    scopes: Vec<Scope>,
    /// Why that is printed which is being printed.
    conditions: Rc<Dependencies>,
    template: Rc<str>,
    source: &'t str,
    page: Page,
    steps: usize,
}

impl<'t> Walk<'t> {
    fn template(&mut self, name: &str) -> Result<(), Lost> {
        let (nodes, text) = (self.templates.nodes.get(name).ok_or(Lost)?, self.templates.text(name).ok_or(Lost)?);
        let around = (std::mem::replace(&mut self.template, Rc::from(name)), std::mem::replace(&mut self.source, text));
        self.walk(nodes)?;
        (self.template, self.source) = around;
        Ok(())
    }

    fn walk(&mut self, nodes: &'t [Node]) -> Result<(), Lost> {
        for node in nodes {
            self.step()?;
            match node {
                Node::Text(span) => self.print(&self.source[span.clone()], span.clone(), None),
                Node::Output(expression) => {
                    let value = self.value(expression)?;
                    let trace = self.trace(expression)?;
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    self.print(&text, expression.span.clone(), Some(trace));
                }
                Node::If { branches, otherwise } => self.choose(branches, otherwise)?,
                Node::For { key, value, of, body, otherwise } => {
                    self.repeat((key.as_deref(), value), of, body, otherwise)?;
                }
                Node::Set { name, value: expression, is_global } => {
                    let value = self.value(expression)?;
                    let trace = self.trace(expression)?.because(&self.conditions);
                    self.assign(name, (Some(value), Some(trace)), *is_global);
                }
                Node::Block { name, body, is_global } => {
                    let around = std::mem::take(&mut self.page);
                    self.walk(body)?;
                    let page = std::mem::replace(&mut self.page, around);
                    let mut all = (*self.conditions).clone();
                    page.pieces.iter().for_each(|piece| all.join(&piece.dependencies(), Kind::Value));
                    self.assign(name, (Some(Value::from(page.text)), Some(Trace::plain(all))), *is_global);
                }
                Node::Include(name) => {
                    self.scopes.push(Scope::of_template());
                    self.template(name)?;
                    self.leave();
                }
            }
        }
        Ok(())
    }

    pub(super) fn step(&mut self) -> Result<(), Lost> {
        self.steps += 1;
        if self.steps > MOST_STEPS { Err(Lost) } else { Ok(()) }
    }

    fn print(&mut self, text: &str, span: Range<usize>, trace: Option<Rc<Trace>>) {
        let start = self.page.text.len();
        self.page.text.push_str(text);
        let (template, conditions) = (Rc::clone(&self.template), Rc::clone(&self.conditions));
        self.page.pieces.push(Printed { range: start..self.page.text.len(), template, span, trace, conditions });
    }

    /// Does `work` under one more condition. Where that prints nothing, a piece of no length says why.
    fn under(
        &mut self,
        why: &Dependencies,
        asked: Range<usize>,
        work: impl FnOnce(&mut Self) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        let mut conditions = (*self.conditions).clone();
        conditions.join(why, Kind::Condition);
        let around = std::mem::replace(&mut self.conditions, Rc::new(conditions));
        let before = self.page.text.len();
        work(self)?;
        if self.page.text.len() == before {
            self.print("", asked, None);
        }
        self.conditions = around;
        Ok(())
    }

    fn choose(&mut self, branches: &'t [(Expression, Vec<Node>)], otherwise: &'t [Node]) -> Result<(), Lost> {
        let mut why = Dependencies::default();
        let mut taken = otherwise;
        for (condition, body) in branches {
            why.join(&self.truth(condition)?, Kind::Condition);
            if self.value(condition)?.is_truthy() {
                taken = body;
                break;
            }
        }
        let asked = branches.first().map_or(0..0, |(condition, _)| condition.span.clone());
        self.under(&why, asked, |walk| walk.walk(taken))?;
        let mut names = Vec::new();
        for (_, body) in branches {
            document::assigned(body, &mut names);
        }
        document::assigned(otherwise, &mut names);
        self.may_differ(&names, &why);
        Ok(())
    }

    fn repeat(
        &mut self,
        (key, value): (Option<&'t str>, &'t str),
        of: &'t Expression,
        body: &'t [Node],
        otherwise: &'t [Node],
    ) -> Result<(), Lost> {
        let rounds = self.rounds(of)?;
        let why = self.trace(of)?.shallow();
        let count = rounds.len();
        self.under(&why, of.span.clone(), |walk| {
            if rounds.is_empty() {
                return walk.walk(otherwise);
            }
            for (index, round) in rounds.into_iter().enumerate() {
                walk.step()?;
                walk.scopes.push(Scope { is_of_template: false, before: Vec::new() });
                if let Some(key) = key {
                    walk.bind(key, (round.key, Some(Trace::plain(why.clone()))));
                }
                walk.bind(value, (Some(round.value), Some(round.trace)));
                walk.bind("loop", (Some(about_round(index, count)), Some(Trace::plain(why.clone()))));
                walk.walk(body)?;
                walk.leave();
            }
            Ok(())
        })?;
        let mut names = Vec::new();
        document::assigned(body, &mut names);
        self.may_differ(&names, &why);
        Ok(())
    }

    /// What these names are worth is so because of a choice, even where the choice left them alone.
    fn may_differ(&mut self, names: &[&str], why: &Dependencies) {
        for name in names {
            let trace = self.names.get(*name).map_or_else(|| Trace::plain(Dependencies::default()), Rc::clone);
            self.names.insert((*name).to_owned(), trace.because(why));
        }
    }

    /// Gives a name a value, in the innermost template or round, or in the template whatever the round.
    fn assign(&mut self, name: &str, bound: Bound, is_global: bool) {
        if !is_global {
            return self.bind(name, bound);
        }
        for scope in self.scopes.iter_mut().rev() {
            if scope.is_of_template {
                break;
            }
            if let Some((_, before)) = scope.before.iter_mut().find(|(known, _)| known == name) {
                // The round has a meaning of its own for the name; this one holds when it is over.
                *before = bound;
                return;
            }
        }
        let scope = self.scopes.iter().rposition(|scope| scope.is_of_template).unwrap_or_default();
        self.bind_in(scope, name, bound);
    }

    pub(super) fn bind(&mut self, name: &str, bound: Bound) {
        self.bind_in(self.scopes.len() - 1, name, bound);
    }

    fn bind_in(&mut self, scope: usize, name: &str, (value, trace): Bound) {
        let before = (self.context.remove(name), self.names.remove(name));
        if let Some(scope) = self.scopes.get_mut(scope)
            && !scope.before.iter().any(|(known, _)| known == name)
        {
            scope.before.push((name.to_owned(), before));
        }
        self.set(name, (value, trace));
    }

    fn set(&mut self, name: &str, (value, trace): Bound) {
        match value {
            Some(value) => self.context.insert_value(name.to_owned(), value),
            None => drop(self.context.remove(name)),
        }
        match trace {
            Some(trace) => drop(self.names.insert(name.to_owned(), trace)),
            None => drop(self.names.remove(name)),
        }
    }

    pub(super) fn enter(&mut self) {
        self.scopes.push(Scope { is_of_template: false, before: Vec::new() });
    }

    /// Ends the innermost template or round: its names mean again what they meant before.
    pub(super) fn leave(&mut self) {
        for (name, before) in self.scopes.pop().map(|scope| scope.before).unwrap_or_default() {
            self.set(&name, before);
        }
    }

    /// What an expression is worth, here and now, as Tera says.
    pub(super) fn value(&mut self, expression: &Expression) -> Result<Value, Lost> {
        self.step()?;
        if let What::Name(name) = &expression.what {
            return Ok(self.context.get(name).cloned().unwrap_or_else(Value::undefined));
        }
        let template = name_of(&self.source[expression.span.clone()]);
        let Templates { tera, bounds, kept, .. } = self.templates;
        bounds.render(tera, &template, &self.context)?;
        kept.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Lost)
    }
}

/// What a loop calls `loop`.
fn about_round(index: usize, count: usize) -> Value {
    Value::from_serializable(&serde_json::json!({
        "index": index + 1,
        "index0": index,
        "first": index == 0,
        "last": index + 1 == count,
        "length": count,
    }))
}
