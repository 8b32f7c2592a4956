//! The platform as usable.

use std::collections::BTreeMap;
use std::ops::Range;

use pconf_names::{MachineName, RoleName};
use serde_json::{Map, Value};

use crate::file::PlatformFile;
use crate::problem::Problem;
use crate::role::RoleManifest;
use crate::schema::Schema;

/// A platform whose every value may be used: references resolved, defaults filled in, schema satisfied, roles known.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Which template set it is of.
    pub kind: String,
    /// The settings, an object.
    pub settings: Value,
    /// The machines by name; at least one.
    pub machines: BTreeMap<MachineName, Machine>,
    file: PlatformFile,
}

/// One machine of a platform.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name, the key in `machines`.
    pub name: MachineName,
    /// What it is for; a role of the set.
    pub role: RoleName,
    /// All its fields, `name` and `role` included.
    pub fields: Map<String, Value>,
}

impl Platform {
    /// Makes a platform of its file, or says everything that is wrong with it, in the order of the text.
    pub fn check(
        file: &PlatformFile,
        schema: &Schema,
        roles: &BTreeMap<RoleName, RoleManifest>,
    ) -> Result<Self, Vec<Problem>> {
        let _ = (file, schema, roles);
        todo!()
    }

    /// Where the value at a JSON pointer (e.g. `/settings/domain`) stands in the file; `None` for a default.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> Option<Range<usize>> {
        self.file.place_of(pointer)
    }

    /// A problem with the value at a JSON pointer, or with the closest value around it that is written.
    #[must_use]
    pub fn problem_at(&self, pointer: &str, code: &'static str, message: String, help: String) -> Problem {
        self.file.problem_at(pointer, code, message, help)
    }
}
