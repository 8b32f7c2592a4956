//! A template set in memory: `templates/<kind>/`, read and judged once.

use std::collections::BTreeMap;
use std::sync::Arc;

use pconf_names::RoleName;
use pconf_platform::{Platform, PlatformFile, Problem, RoleManifest, Schema, SecretsManifest, Sources};
use tera::Tera;

use crate::bounds::Bounds;
use crate::load;
use crate::syntax::Reading;

/// A template set whose every template compiles and encodes what it prints.
pub struct TemplateSet {
    /// Where the set is, as problems show it, e.g. `templates/pryv`.
    pub(crate) shown: String,
    pub(crate) schema: Schema,
    pub(crate) secrets: SecretsManifest,
    pub(crate) roles: BTreeMap<RoleName, Role>,
    pub(crate) manifests: BTreeMap<RoleName, RoleManifest>,
    pub(crate) tera: Tera,
    pub(crate) bounds: Bounds,
    /// What each template holds, by its name: its path in the set.
    pub(crate) readings: BTreeMap<String, Reading>,
    pub(crate) sources: Sources,
    /// The examples for `init`, by the name between `platform.` and `.example.json`; the default one has none.
    pub(crate) examples: BTreeMap<Option<String>, String>,
    pub(crate) has_derived: bool,
}

/// The files of one role, by where they land.
pub(crate) struct Role {
    /// `(path on the machine as the set has it, `.tera` dropped; where its bytes come from)`, sorted by path.
    pub(crate) files: Vec<(String, Source)>,
}

/// Where the bytes of a file come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// Rendered from the template of this name.
    Template(String),
    /// Taken as they are.
    Verbatim(Arc<[u8]>),
}

impl TemplateSet {
    /// Reads a set from its files, by path below `templates/<kind>`; `shown` is how problems call that folder.
    ///
    /// Reports every problem of every file at once.
    pub fn load(shown: &str, files: BTreeMap<String, Vec<u8>>) -> Result<Self, Vec<Problem>> {
        load::load(shown, files)
    }

    /// The platform that `file` describes under this set's schema and roles.
    pub fn check(&self, file: &PlatformFile) -> Result<Platform, Vec<Problem>> {
        Platform::check(file, &self.schema, &self.manifests)
    }

    /// What must be secret, how it is made and who reads it.
    #[must_use]
    pub fn secrets(&self) -> &SecretsManifest {
        &self.secrets
    }

    /// The roles of the set.
    #[must_use]
    pub fn roles(&self) -> &BTreeMap<RoleName, RoleManifest> {
        &self.manifests
    }

    /// The schema of the set's `platform.json`.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The text of an example and how problems call it; `None` for the default one.
    #[must_use]
    pub fn example(&self, name: Option<&str>) -> Option<(String, &str)> {
        let text = self.examples.get(&name.map(str::to_owned))?;
        let file = name.map_or("platform.example.json".to_owned(), |name| format!("platform.{name}.example.json"));
        Some((format!("{}/{file}", self.shown), text))
    }

    /// The names of the examples besides the default one.
    pub fn example_names(&self) -> impl Iterator<Item = &str> {
        self.examples.keys().flatten().map(String::as_str)
    }

    /// The texts that problems with this set point into.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }
}
