//! Where every line of every file comes from: which expression of which template printed it, what that is made of, and why
//! it is there at all.
//!
//! It is recorded while the templates are rendered once more, slowly, and only when somebody asks; the ordinary rendering
//! knows nothing of it (adr/030). A file whose second rendering is not the first one byte for byte, or whose template uses
//! what is not followed here, is told of as a whole.

mod document;
mod evaluate;
mod expression;
mod file;
mod places;
mod reach;
mod trace;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use pconf_names::MachineName;
use serde_json::{Map, Value, json};

use crate::render::RenderedMachine;
use crate::scene::{DERIVED, Scene};
use crate::secrets::{SecretValue, SecretValues};
use crate::set::TemplateSet;
pub use file::{FileOrigin, Lines, Piece, Place};
use places::Origin;
pub use reach::{Reach, Step};
pub use trace::{Dependencies, Kind};
use trace::{Inner, Trace, child};
use walk::{Lost, Page, Templates};

/// What depends on what in one platform.
pub struct Provenance<'s> {
    set: &'s TemplateSet,
    scene: &'s Scene,
    templates: Templates,
    /// Settings, machines with all their fields, and derived values.
    values: Value,
    /// What each derived value is made of, by its pointer.
    origins: BTreeMap<Arc<str>, Origin>,
    /// Which settings follow which.
    follows: BTreeMap<String, BTreeSet<String>>,
    /// What role templates see, but for secrets and the machine itself.
    names: BTreeMap<String, Rc<Trace>>,
}

impl TemplateSet {
    /// Finds out what depends on what in a scene of this set.
    #[must_use]
    pub fn provenance<'s>(&'s self, scene: &'s Scene) -> Provenance<'s> {
        let templates = Templates::new(self);
        let platform = &scene.platform;
        let written = platform.value();
        let settings = Trace::of_root("/settings", &platform.settings);
        let as_written = Trace::of_root("/machines", &written["machines"]);
        let derived = serde_json::to_value(&scene.derived).unwrap_or_default();
        let machines: Map<String, Value> =
            scene.machines().iter().map(|(name, machine)| (name.to_string(), machine.fields.clone().into())).collect();
        let machines = Value::Object(machines);

        let mut origins = BTreeMap::new();
        if self.has_derived {
            let names = [("settings", &settings), ("machines", &as_written)];
            let names = names.map(|(name, trace)| (name.to_owned(), Rc::clone(trace))).into();
            let mut context = tera::Context::new();
            context.insert_value("settings", scene.settings.clone());
            context.insert("machines", &written["machines"]);
            let text = self.bounds.render(&self.tera, DERIVED, &context).map_err(Lost::from);
            if let Ok(page) = text.and_then(|text| same(templates.walk(DERIVED, context, names)?, &text)) {
                origins = places::origins(&page, "/derived");
            } else {
                // Everything that there is may be in any of it.
                let mut all = Dependencies::default();
                all.join(settings.flat(), Kind::Condition);
                all.join(as_written.flat(), Kind::Condition);
                origins.insert(Arc::from("/derived"), Origin { dependencies: all, printed_by: None });
            }
        }
        let names = [
            ("settings".to_owned(), settings),
            ("machines".to_owned(), Trace::of_root("/machines", &machines)),
            ("derived".to_owned(), Trace::of_root("/derived", &derived)),
        ];
        Provenance {
            set: self,
            scene,
            templates,
            values: json!({ "settings": platform.settings, "machines": machines, "derived": derived }),
            origins,
            follows: platform.follows(&self.schema),
            names: names.into(),
        }
    }
}

impl Provenance<'_> {
    /// Where the files of one machine come from, in the order of `rendered`, which is what the set makes of the scene.
    #[must_use]
    pub fn files(&self, name: &MachineName, secrets: &SecretValues, rendered: &RenderedMachine) -> Vec<FileOrigin> {
        let (Some(machine), Some(role)) = (self.scene.machines().get(name), self.set.roles.get(&rendered.role)) else {
            return Vec::new();
        };
        let context = self.set.context(self.scene, name, machine, secrets);
        let mut names = self.names.clone();
        if let Some(machines) = names.get("machines") {
            names.insert("machine".to_owned(), machines.below(name.as_str()));
        }
        let (mut used, mut accepted) = (BTreeMap::new(), BTreeMap::new());
        for (id, secret) in self.set.readable_secrets(name, machine, secrets) {
            let pointer = child("/secrets", id);
            let halves: &[&str] = match &secret.used {
                SecretValue::Text(_) | SecretValue::Public(_) => &[],
                SecretValue::Pair { .. } => &["public", "private"],
                SecretValue::Certificate { .. } => &["certificate", "key"],
            };
            let inner = if halves.is_empty() {
                Inner::Plain
            } else {
                let half =
                    |half: &&str| ((*half).to_owned(), Trace::at(&child(&pointer, half), Inner::Plain, Kind::Value));
                Inner::Map(halves.iter().map(half).collect())
            };
            used.insert(id.to_owned(), Trace::at(&pointer, inner, Kind::Value));
            accepted.insert(id.to_owned(), Trace::plain(Dependencies::on(pointer, Kind::Value)));
        }
        names.insert("secrets".to_owned(), Trace::at("/secrets", Inner::Map(used), Kind::Value));
        names.insert("accepted".to_owned(), Trace::at("/secrets", Inner::Map(accepted), Kind::Value));

        let mut files = BTreeMap::new();
        for (target, source) in &role.files {
            let walk = |template: &str| self.templates.walk(template, context.clone(), names.clone());
            if let Some(origin) = file::origin(self.set, name, rendered, (target, source), &names, &walk) {
                files.insert(origin.path.clone(), origin);
            }
        }
        files.into_values().collect()
    }

    /// Settings, machines with all their fields, and derived values, as one object.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.values
    }

    /// The value at a pointer below `/settings`, `/machines` or `/derived`.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Option<&Value> {
        self.values.pointer(pointer)
    }
}

/// The page, if it is what the ordinary rendering came to.
fn same(page: Page, text: &str) -> Result<Page, Lost> {
    if page.text == text { Ok(page) } else { Err(Lost) }
}
