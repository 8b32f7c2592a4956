//! A plan as an operator reads it.

use std::fmt;

use pconf_bundle::Check;
use pconf_names::RelativePath;

use crate::actions::{Action, What};
use crate::plan::{Plan, Step};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "revision {}: nothing to do", self.revision);
        }
        writeln!(f, "revision {}", self.revision)?;
        for trial in &self.checks {
            let (Check::Run(command) | Check::Exec(command)) = &trial.check;
            writeln!(f, "  check    {}  ({})", trial.name, command.join(" "))?;
        }
        self.stops
            .iter()
            .try_for_each(|stop| writeln!(f, "  stop     {}  (until its files are in place)", stop.name))?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        let has_turns = self.actions.iter().any(|action| action.rank > 0);
        for action in &self.actions {
            let turn = if has_turns { format!("{}. ", action.rank + 1) } else { String::new() };
            writeln!(f, "  {turn}{action}")?;
        }
        for left in &self.stopped {
            writeln!(f, "  leave    {}  (stopped by its operator; reads {})", left.name, list(&left.files))?;
        }
        if !self.actions.is_empty() {
            let down = self.actions.iter().filter(|action| action.what.interrupts()).map(|action| action.name.as_str());
            let down: Vec<&str> = down.collect();
            match down.as_slice() {
                [] => writeln!(f, "  downtime none")?,
                down => writeln!(f, "  downtime {}, until each is up again", down.join(", "))?,
            }
        }
        if let [_, ..] = self.read_by_nothing.as_slice() {
            writeln!(f, "  note     no container reads {}", list(&self.read_by_nothing))?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "  warning  {warning}"))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Verify => write!(f, "verify   {}", self.name)?,
            What::Signal(signal) => write!(f, "signal   {}  {signal}", self.name)?,
            What::Exec(command) => write!(f, "exec     {}  {}", self.name, command.join(" "))?,
            What::Restart => write!(f, "restart  {}", self.name)?,
            What::Start => write!(f, "start    {}", self.name)?,
            What::Recreate { .. } => write!(f, "recreate {}", self.name)?,
            What::Remove => write!(f, "remove   {}", self.name)?,
        }
        let why = if self.overdue { "owed for" } else { "reads" };
        match (self.files.is_empty(), self.upstreams.is_empty()) {
            (false, true) => write!(f, "  ({why} {})", list(&self.files)),
            (false, false) => write!(f, "  ({why} {}; after {})", list(&self.files), names(&self.upstreams)),
            (true, false) => write!(f, "  (keeps the address of {})", names(&self.upstreams)),
            (true, true) => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeFolder { path, owner, mode: Some(mode), .. } => write!(f, "make     {path}/  ({owner} {mode})"),
            Self::MakeFolder { path, owner, mode: None, .. } => write!(f, "make     {path}/  ({owner} 0755)"),
            Self::WriteFile { path, in_place: true, .. } => write!(f, "rewrite  {path}"),
            Self::WriteFile { path, replaces: true, .. } => write!(f, "change   {path}"),
            Self::WriteFile { path, replaces: false, .. } => write!(f, "create   {path}"),
            Self::SetPermission { path, owner, mode } => write!(f, "permit   {path}  ({owner} {mode})"),
            Self::RemoveFile { path } => write!(f, "remove   {path}"),
            Self::RemoveFolder { path } => write!(f, "remove   {path}/  (if nothing is left in it)"),
        }
    }
}

fn list<'a>(files: impl IntoIterator<Item = &'a RelativePath>) -> String {
    files.into_iter().map(RelativePath::as_str).collect::<Vec<_>>().join(", ")
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
