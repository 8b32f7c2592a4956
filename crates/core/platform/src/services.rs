//! What a schema cannot say of a role's services: that their order ends somewhere, and that a check sees what it checks.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::{Check, ComposeFile, ServiceRule};

use crate::json_text::JsonText;
use crate::problem::Problem;

/// What an `exec` check calls the folder of the new files.
const STAGED: &str = "{staged}";

/// Everything that is wrong with the rules of a role.
pub(crate) fn problems(json: &JsonText, services: &[ServiceRule], compose: &[ComposeFile]) -> Vec<Problem> {
    let mut problems: Vec<Problem> =
        services.iter().enumerate().filter_map(|(index, rule)| blind_check(json, index, rule)).collect();
    problems.extend(circles(json, services));
    for (index, file) in compose.iter().enumerate() {
        if let Some(first) = compose[..index].iter().position(|known| known.file == file.file) {
            let message = format!("compose file `{}` is declared twice", file.file);
            let at = format!("/compose/{index}/file");
            let mut problem = json.problem(&at, "repeated-item", message, "remove one of the two");
            problem.related.extend(json.related(&format!("/compose/{first}/file"), "first written here"));
            problems.push(problem);
        }
    }
    problems
}

/// A check in the running container that does not name the new files looks at the old ones.
fn blind_check(json: &JsonText, index: usize, rule: &ServiceRule) -> Option<Problem> {
    let Some(Check::Exec(command)) = &rule.check else { return None };
    if command.iter().any(|word| word.contains(STAGED)) {
        return None;
    }
    let message = format!("the check does not name the new files: no `{STAGED}` in it");
    let help = format!("e.g. [\"nginx\", \"-t\", \"-c\", \"{STAGED}/nginx.conf\"], or `run` instead of `exec`");
    Some(json.problem(&format!("/services/{index}/check/exec"), "blind-check", message, help))
}

/// Services that wait for each other in a circle, each circle once.
fn circles(json: &JsonText, services: &[ServiceRule]) -> Vec<Problem> {
    let order = Order::of(services);
    let mut problems = Vec::new();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for name in &order.names {
        let Some(circle) = order.circle(name).filter(|circle| !circle.iter().any(|one| told.contains(one))) else {
            continue;
        };
        let (message, help) = match circle.as_slice() {
            [alone] => {
                (format!("`{alone}` waits for itself"), "take it out, or give it a later rule that says otherwise")
            }
            several => {
                let message = format!("{} → `{name}` wait for each other", quoted(several));
                (message, "take one of them out of `after` or `upstreams`")
            }
        };
        let at = order.waits.get(name).and_then(|waits| waits.get(circle.get(1).copied().unwrap_or(name)));
        let at = at.map_or("/services", String::as_str);
        problems.push(json.problem(at, "circular-order", message, help));
        told.extend(circle);
    }
    problems
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ")
}

/// Who waits for whom, once every rule has been applied.
struct Order<'r> {
    names: BTreeSet<&'r str>,
    /// By service, the services that it waits for, and where that is written.
    waits: BTreeMap<&'r str, BTreeMap<&'r str, String>>,
}

impl<'r> Order<'r> {
    fn of(services: &'r [ServiceRule]) -> Self {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for rule in services {
            names.extend(Some(rule.service.as_str()).filter(|name| *name != "*"));
            names.extend([&rule.after, &rule.upstreams].into_iter().flatten().flatten().map(String::as_str));
        }
        let waits = names.iter().map(|name| (*name, waits_of(name, services))).collect();
        Self { names, waits }
    }

    /// The shortest way from a service back to itself, the service first.
    fn circle(&self, name: &'r str) -> Option<Vec<&'r str>> {
        let mut ways = vec![vec![name]];
        let mut seen = BTreeSet::new();
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let waits = way.last().and_then(|last| self.waits.get(last));
                for next in waits.into_iter().flat_map(BTreeMap::keys) {
                    if *next == name {
                        return Some(way);
                    }
                    if seen.insert(*next) {
                        longer.push(way.iter().copied().chain([*next]).collect());
                    }
                }
            }
            ways = longer;
        }
        None
    }
}

/// What one service waits for: the last rule that speaks of `after` counts, and so for `upstreams`.
fn waits_of<'r>(name: &str, services: &'r [ServiceRule]) -> BTreeMap<&'r str, String> {
    let mut waits = BTreeMap::new();
    let matching = || services.iter().enumerate().rev().filter(|(_, rule)| rule.service == "*" || rule.service == name);
    let after = matching().find_map(|(index, rule)| Some((index, "after", rule.after.as_ref()?)));
    let upstreams = matching().find_map(|(index, rule)| Some((index, "upstreams", rule.upstreams.as_ref()?)));
    for (index, field, others) in after.into_iter().chain(upstreams) {
        for (place, other) in others.iter().enumerate() {
            waits.insert(other.as_str(), format!("/services/{index}/{field}/{place}"));
        }
    }
    waits
}
