//! A plan for people: what it comes to in a few lines, then machine by machine. Machines with the same plan share one.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use pconf_bundle::Check;
use pconf_names::{MachineName, RelativePath};
use pconf_plan::What;

use super::FleetPlan;
use super::machine::{Down, FilePlan, FileWork, MachinePlan, Outlook};

impl fmt::Display for FleetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        for secret in &self.secrets {
            writeln!(f, "{} secret {}", if secret.is_renewed { "renewed" } else { "new" }, secret.id)?;
        }
        // In the order of the first machine of each.
        let mut alike: Vec<(String, Vec<(&MachineName, &MachinePlan)>)> = Vec::new();
        let mut unchanged: Vec<&str> = Vec::new();
        for (name, machine) in &self.machines {
            let text = machine.to_string();
            if !machine.changes() && text.is_empty() {
                unchanged.push(name.as_str());
                continue;
            }
            match alike.iter_mut().find(|(known, machines)| *known == text && machines[0].1.role == machine.role) {
                Some((_, machines)) => machines.push((name, machine)),
                None => alike.push((text, vec![(name, machine)])),
            }
        }
        for (text, machines) in alike {
            let names: Vec<&str> = machines.iter().map(|(name, _)| name.as_str()).collect();
            let as_of = machines.iter().filter_map(|(_, machine)| machine.as_of.as_deref()).min();
            let as_of = as_of.map(|as_of| format!(", as of {}", seconds(as_of))).unwrap_or_default();
            writeln!(f, "\n{} ({}{as_of})", names.join(", "), machines[0].1.role)?;
            f.write_str(if text.is_empty() { "  nothing to do\n" } else { &text })?;
        }
        if !self.removed.is_empty() {
            let removed: Vec<&str> = self.removed.iter().map(MachineName::as_str).collect();
            writeln!(f, "\nno machine of the platform any more, and left as they are: {}", removed.join(", "))?;
        }
        if !unchanged.is_empty() {
            writeln!(f, "\nunchanged: {}", unchanged.join(", "))?;
        }
        writeln!(f, "\nhash {}", self.hash)
    }
}

impl FleetPlan {
    /// What it comes to, in one line.
    fn summary(&self) -> String {
        let changing = self.changing().count();
        if changing == 0 && self.removed.is_empty() {
            return format!("revision {}: nothing changes", self.revision);
        }
        let files: usize = self.machines.values().map(|machine| machine.files.len()).sum();
        let plans = self.machines.values().filter_map(|machine| machine.outlook.plan());
        let mut acted: BTreeMap<&str, usize> = BTreeMap::new();
        for action in plans.flat_map(|plan| &plan.actions) {
            *acted.entry(done(&action.what)).or_default() += 1;
        }
        let unknown = self.machines.values().filter(|machine| matches!(machine.outlook, Outlook::Unknown)).count();
        let mut parts = vec![count(changing, "machine"), count(files, "file")];
        parts.extend(acted.into_iter().map(|(done, number)| format!("{number} {done}")));
        let downs: Vec<&Down> = self.machines.values().flat_map(|machine| &machine.downtime).collect();
        parts.push(downtime(&downs));
        if unknown > 0 {
            parts.push(format!("{} of which not all is known", count(unknown, "machine")));
        }
        let new = if self.is_new { " (new)" } else { "" };
        format!("revision {}{new}: {}", self.revision, parts.join(", "))
    }
}

fn done(what: &What) -> &'static str {
    match what {
        What::Verify => "looked at",
        What::Signal(_) | What::Exec(_) => "reloaded",
        What::Restart => "restarted",
        What::Start => "started",
        What::Recreate { .. } => "recreated",
        What::Remove => "removed",
    }
}

/// The worst that is known; a service whose time nobody has measured is said so.
fn downtime(downs: &[&Down]) -> String {
    let Some(longest) = downs.iter().map(|down| down.about_ms).max() else { return "no downtime".to_owned() };
    let unmeasured = downs.iter().filter(|down| down.about_ms.is_none()).count();
    match (longest, unmeasured) {
        (Some(longest), 0) => format!("downtime up to about {}", tenths(longest)),
        (Some(longest), some) => format!("downtime up to about {}, unknown for {some}", tenths(longest)),
        (None, some) => format!("downtime unknown for {some}"),
    }
}

impl fmt::Display for MachinePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.outlook.plan();
        for trial in plan.map(|plan| plan.checks.as_slice()).unwrap_or_default() {
            let (Check::Run(command) | Check::Exec(command)) = &trial.check;
            writeln!(f, "  check    {}  ({})", trial.name, command.join(" "))?;
        }
        for stop in plan.map(|plan| plan.stops.as_slice()).unwrap_or_default() {
            writeln!(f, "  stop     {}  (until its files are in place)", stop.name)?;
        }
        self.files.iter().try_for_each(|file| writeln!(f, "{file}"))?;
        if let Some(plan) = plan {
            let has_turns = plan.actions.iter().any(|action| action.rank > 0);
            for action in &plan.actions {
                let turn = if has_turns { format!("{}. ", action.rank + 1) } else { String::new() };
                let down = self.downtime.iter().find(|down| down.service == action.name);
                let down = down.map(|down| format!("  {down}")).unwrap_or_default();
                writeln!(f, "  {turn}{action}{down}")?;
            }
            for left in &plan.stopped {
                let files: Vec<&str> = left.files.iter().map(RelativePath::as_str).collect();
                writeln!(f, "  leave    {}  (stopped by its operator; reads {})", left.name, files.join(", "))?;
            }
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "  note     {remark}"))?;
        self.unknown.iter().try_for_each(|unknown| writeln!(f, "  unknown  {unknown}"))
    }
}

impl fmt::Display for FilePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = match self.does {
            FileWork::Create => "create ",
            FileWork::Change => "change ",
            FileWork::Rewrite => "rewrite",
            FileWork::Permit => "permit ",
            FileWork::Remove => "remove ",
        };
        write!(f, "  {does}  {}", self.path)?;
        match self.readers.as_deref() {
            None => {}
            Some([]) => f.write_str("  (no container reads it)")?,
            Some(readers) => write!(f, "  (read by {})", readers.join(", "))?,
        }
        match (&self.diff, self.does) {
            (None, FileWork::Permit) => Ok(()),
            (None, _) => f.write_str("\n    (as it is to be already; the machine has something else)"),
            (Some(diff), _) => diff.lines().try_for_each(|line| write!(f, "\n  {line}")),
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about_ms {
            Some(about) => write!(f, "down about {}, as the last time", tenths(about)),
            None => write!(f, "down for an unknown time, at most {} s", self.limit),
        }
    }
}

fn tenths(milliseconds: u64) -> String {
    let mut text = String::new();
    let (whole, tenth) = (milliseconds / 1000, milliseconds % 1000 / 100);
    // Writing to a string cannot fail.
    let _ = write!(text, "{whole}.{tenth} s");
    text
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A moment without what is less than a second.
fn seconds(time: &str) -> String {
    let whole = time.split('.').next().unwrap_or_default().trim_end_matches('Z');
    format!("{whole}Z")
}
