//! What the templates of one platform see, but for secrets: settings, machines and what is derived from them.

use std::collections::BTreeMap;

use pconf_names::{MachineName, RoleName};
use pconf_platform::{Platform, Problem};
use serde_json::{Map, Value};

use crate::bounds;
use crate::fault;
use crate::set::TemplateSet;

pub(crate) const DERIVED: &str = "derived.json.tera";

/// A platform with its derived values, ready to be rendered for any of its machines.
pub struct Scene {
    pub(crate) platform: Platform,
    pub(crate) settings: tera::Value,
    pub(crate) machines_value: tera::Value,
    pub(crate) derived: tera::Value,
    machines: BTreeMap<MachineName, SceneMachine>,
}

/// One machine with its derived fields filled in.
pub struct SceneMachine {
    /// What it is for.
    pub role: RoleName,
    /// All its fields.
    pub fields: Map<String, Value>,
    pub(crate) value: tera::Value,
}

impl SceneMachine {
    /// A field that is text, e.g. `url`.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }
}

impl Scene {
    /// The platform as checked.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The machines by name, derived fields included.
    #[must_use]
    pub fn machines(&self) -> &BTreeMap<MachineName, SceneMachine> {
        &self.machines
    }
}

impl TemplateSet {
    /// Computes what can be computed: `derived.json.tera` over settings and machines.
    pub fn derive(&self, platform: Platform) -> Result<Scene, Vec<Problem>> {
        let settings = tera::Value::from_serializable(&platform.settings);
        let as_written: BTreeMap<_, _> = platform.machines.iter().map(|(name, m)| (name.as_str(), &m.fields)).collect();
        let mut derived = Map::new();
        if self.has_derived {
            let mut context = tera::Context::new();
            context.insert_value("settings", settings.clone());
            context.insert_value("machines", tera::Value::from_serializable(&as_written));
            derived = self.render_derived(&context).map_err(|problem| vec![problem])?;
        }
        let mut derived_fields = match derived.remove("machines") {
            Some(Value::Object(machines)) => machines,
            _ => Map::new(),
        };
        let machines: BTreeMap<_, _> = platform
            .machines
            .iter()
            .map(|(name, machine)| {
                let mut fields = machine.fields.clone();
                if let Some(Value::Object(more)) = derived_fields.remove(name.as_str()) {
                    // What the admin wrote wins over what could be computed.
                    more.into_iter().for_each(|(key, value)| {
                        fields.entry(key).or_insert(value);
                    });
                }
                let value = tera::Value::from_serializable(&fields);
                (name.clone(), SceneMachine { role: machine.role.clone(), fields, value })
            })
            .collect();
        let by_name: BTreeMap<_, _> = machines.iter().map(|(name, machine)| (name.as_str(), &machine.fields)).collect();
        let machines_value = tera::Value::from_serializable(&by_name);
        Ok(Scene { platform, settings, machines_value, derived: tera::Value::from_serializable(&derived), machines })
    }

    /// A short text with settings and machines filled in, e.g. `*.{{ settings.domain }}`, a name of a certificate.
    pub fn fill(&self, scene: &Scene, text: &str) -> Result<String, Problem> {
        let mut context = tera::Context::new();
        context.insert_value("settings", scene.settings.clone());
        context.insert_value("machines", scene.machines_value.clone());
        self.tera.render_str(text, &context, false).map_err(|error| {
            let (problem, _) = fault::of_template(&error, &self.shown, &self.sources);
            let file = format!("{}/secrets.json", self.shown);
            fault::whole_file(file, "unfillable", format!("`{text}`: {}", problem.message), problem.help)
        })
    }

    fn render_derived(&self, context: &tera::Context) -> Result<Map<String, Value>, Problem> {
        let fault = |message: String| {
            let help = "it has to render one JSON object".to_owned();
            fault::whole_file(format!("{}/{DERIVED}", self.shown), "derived-malformed", message, help)
        };
        let text = self.bounds.render(&self.tera, DERIVED, context).map_err(|error| {
            if bounds::is_too_large(&error) {
                return fault(format!("prints more than {} MiB", bounds::LARGEST_FILE >> 20));
            }
            fault::of_template(&error, &self.shown, &self.sources).0
        })?;
        if let Some(message) = crate::wellformed::fault(DERIVED.trim_end_matches(".tera"), text.as_bytes()) {
            return Err(fault(message));
        }
        match serde_json::from_str(&text) {
            Ok(Value::Object(map)) => Ok(map),
            _ => Err(fault("is no JSON object".to_owned())),
        }
    }
}
