//! A plan as an operator reads it.

use std::fmt;

use pconf_names::RelativePath;

use crate::plan::{Plan, Step};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "revision {}: nothing to do", self.revision);
        }
        writeln!(f, "revision {}", self.revision)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        for restart in &self.restarts {
            let why = if restart.overdue { "owed for" } else { "reads" };
            writeln!(f, "  restart  {}  ({why} {})", restart.name, list(&restart.files))?;
        }
        for left in &self.stopped {
            writeln!(f, "  leave    {}  (stopped by its operator; reads {})", left.name, list(&left.files))?;
        }
        match self.read_by_nothing.as_slice() {
            [] => Ok(()),
            unread => writeln!(f, "  note     no container reads {}", list(unread)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeFolder { path, owner, mode: Some(mode), .. } => write!(f, "make     {path}/  ({owner} {mode})"),
            Self::MakeFolder { path, owner, mode: None, .. } => write!(f, "make     {path}/  ({owner} 0755)"),
            Self::WriteFile { path, replaces: true } => write!(f, "change   {path}"),
            Self::WriteFile { path, replaces: false } => write!(f, "create   {path}"),
            Self::SetPermission { path, owner, mode } => write!(f, "permit   {path}  ({owner} {mode})"),
            Self::RemoveFile { path } => write!(f, "remove   {path}"),
            Self::RemoveFolder { path } => write!(f, "remove   {path}/  (if nothing is left in it)"),
        }
    }
}

fn list<'a>(files: impl IntoIterator<Item = &'a RelativePath>) -> String {
    files.into_iter().map(RelativePath::as_str).collect::<Vec<_>>().join(", ")
}
