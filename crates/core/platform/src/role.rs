//! `role.json`: what a role's files are made of and who owns them.

use pconf_names::{Class, Mode, Owner, RelativePath};

use crate::problem::Problem;

/// What `role.json` says.
#[derive(Debug, Clone)]
pub struct RoleManifest {
    /// What the role is for, for people.
    pub description: String,
    /// Which roles can stand together: all roles of a platform are of one topology.
    pub topology: String,
    /// How many machines of a platform may have the role.
    pub machines: Count,
    /// Folders of the set whose files the role has too, in order; the role's own folder comes after them.
    pub trees: Vec<RelativePath>,
    /// Directories of data and logs that have to exist on the machine, sorted by path.
    pub directories: Vec<ManagedDirectory>,
}

/// How many machines may have a role in a topology that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// At least so many.
    pub min: usize,
    /// At most so many; `None` for any number.
    pub max: Option<usize>,
}

/// A directory that is made on the machine; what is in it is never touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedDirectory {
    /// Where, below the machine's root.
    pub path: RelativePath,
    /// Its owner.
    pub owner: Owner,
    /// Its mode.
    pub mode: Mode,
}

/// How a file lands on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// How it is treated.
    pub class: Class,
    /// Numeric owner.
    pub owner: Owner,
    /// Permission bits.
    pub mode: Mode,
}

impl RoleManifest {
    /// Reads `role.json`.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let _ = (file_name, text);
        todo!()
    }

    /// How the file at `path` (as it lands, `.tera` dropped) lands: every rule that matches applies, in order.
    #[must_use]
    pub fn attributes(&self, path: &RelativePath) -> Attributes {
        let _ = path;
        todo!()
    }
}
