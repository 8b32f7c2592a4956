//! The machines: their names, their roles, and whether the roles make a platform.

use std::collections::BTreeMap;

use pconf_names::{MachineName, RoleName};
use serde_json::{Map, Value};

use crate::json_text::JsonText;
use crate::platform::Machine;
use crate::pointer;
use crate::problem::Problem;
use crate::role::{Count, RoleManifest};
use crate::suggest;

/// The machines by name, or everything that is wrong with them.
pub(crate) fn check(
    machines: Option<&Value>,
    json: &JsonText,
    roles: &BTreeMap<RoleName, RoleManifest>,
) -> Result<BTreeMap<MachineName, Machine>, Vec<Problem>> {
    let declared = match machines {
        Some(Value::Object(declared)) if !declared.is_empty() => declared,
        Some(Value::Object(_)) | None => {
            let help = "declare one: config-leader machine add NAME --role ROLE";
            return Err(vec![json.problem("/machines", "no-machine", "no machine is declared", help)]);
        }
        Some(_) => {
            let help = "write { \"NAME\": { \"role\": \"ROLE\" } }";
            return Err(vec![json.problem("/machines", "wrong-type", "the machines have to be an object", help)]);
        }
    };
    let mut problems = Vec::new();
    let mut good = BTreeMap::new();
    for (name, fields) in declared {
        match one(name, fields, json, roles) {
            Ok(machine) => {
                good.insert(machine.name.clone(), machine);
            }
            Err(mut found) => problems.append(&mut found),
        }
    }
    let mixed = mixed_topologies(&good, json, roles);
    if mixed.is_empty() {
        // A machine that is not understood may be the one that is missing.
        problems.extend(wrong_counts(&good, json, roles, problems.is_empty()));
    }
    problems.extend(mixed);
    if problems.is_empty() { Ok(good) } else { Err(problems) }
}

fn one(
    name: &str,
    fields: &Value,
    json: &JsonText,
    roles: &BTreeMap<RoleName, RoleManifest>,
) -> Result<Machine, Vec<Problem>> {
    let at = pointer::child("/machines", name);
    let mut problems = Vec::new();
    let parsed = name.parse::<MachineName>();
    if parsed.is_err() {
        let message = format!("`{name}` is not a machine's name");
        let help = "use 1 to 63 of a-z, 0-9 and `-`, starting with a letter or a digit";
        problems.push(json.key_problem(&at, "machine-name", message, help));
    }
    let role = match fields.as_object().map(|fields| fields.get("role")) {
        Some(Some(Value::String(role))) => known_role(role, &pointer::child(&at, "role"), json, roles),
        Some(Some(_)) => {
            Err(vec![json.problem(&pointer::child(&at, "role"), "wrong-type", "the role has to be a text", "")])
        }
        Some(None) => {
            let help = format!("write \"role\": one of {}", listed(roles));
            Err(vec![Problem {
                span: json.key_span_of(&at),
                ..json.problem(&pointer::child(&at, "role"), "missing-key", "`role` is missing", help)
            }])
        }
        None => {
            let help = "write { \"role\": \"ROLE\" }";
            Err(vec![json.problem(&at, "wrong-type", "a machine has to be an object", help)])
        }
    };
    match (parsed, role) {
        (Ok(name), Ok(role)) => {
            let mut all = Map::new();
            all.insert("name".to_owned(), Value::String(name.to_string()));
            all.extend(fields.as_object().cloned().unwrap_or_default());
            Ok(Machine { name, role, fields: all })
        }
        (_, role) => {
            problems.extend(role.err().unwrap_or_default());
            Err(problems)
        }
    }
}

fn known_role(
    role: &str,
    at: &str,
    json: &JsonText,
    roles: &BTreeMap<RoleName, RoleManifest>,
) -> Result<RoleName, Vec<Problem>> {
    if let Some((known, _)) = roles.iter().find(|(known, _)| known.as_str() == role) {
        return Ok(known.clone());
    }
    let names: Vec<_> = roles.keys().map(RoleName::as_str).collect();
    let help = suggest::help(role, &names, "the template set has no roles");
    Err(vec![json.problem(at, "unknown-role", format!("there is no role `{role}`"), help)])
}

/// A problem for each machine whose role cannot stand beside the first machine's role.
fn mixed_topologies(
    machines: &BTreeMap<MachineName, Machine>,
    json: &JsonText,
    roles: &BTreeMap<RoleName, RoleManifest>,
) -> Vec<Problem> {
    let topology = |machine: &Machine| roles.get(&machine.role).map(|role| role.topology.as_str());
    let role_at = |machine: &Machine| pointer::child(&pointer::child("/machines", machine.name.as_str()), "role");
    let mut written: Vec<&Machine> = machines.values().collect();
    written.sort_by_key(|machine| json.span_of(&role_at(machine)).map(|span| span.start));
    let Some(first) = written.first() else { return Vec::new() };
    let strangers = written.iter().filter(|machine| topology(machine) != topology(first));
    strangers
        .map(|machine| {
            let (own, other) = (topology(machine).unwrap_or_default(), topology(first).unwrap_or_default());
            let message = format!(
                "role {} is of topology `{own}` and cannot stand beside role {}, of topology `{other}`",
                machine.role, first.role
            );
            let help = "keep the roles of one topology";
            let mut problem = json.problem(&role_at(machine), "mixed-topologies", message, help);
            problem.related.extend(json.related(&role_at(first), format!("topology `{other}`")));
            problem
        })
        .collect()
}

fn wrong_counts(
    machines: &BTreeMap<MachineName, Machine>,
    json: &JsonText,
    roles: &BTreeMap<RoleName, RoleManifest>,
    all_understood: bool,
) -> Vec<Problem> {
    let Some(topology) = machines.values().find_map(|machine| Some(&roles.get(&machine.role)?.topology)) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for (name, role) in roles.iter().filter(|(_, role)| role.topology == *topology) {
        let holders: Vec<_> = machines.values().filter(|machine| machine.role == *name).collect();
        let Count { min, max } = role.machines;
        let too_many = max.is_some_and(|max| holders.len() > max);
        if !too_many && (holders.len() >= min || !all_understood) {
            continue;
        }
        let message = format!("role {name}: {}, {} needed", number(holders.len()), needed(role.machines));
        if too_many {
            let mut places: Vec<_> = holders
                .iter()
                .map(|machine| pointer::child(&pointer::child("/machines", machine.name.as_str()), "role"))
                .collect();
            places.sort_by_key(|at| json.span_of(at).map(|span| span.start));
            let Some((last, others)) = places.split_last() else { continue };
            let help = format!(
                "give {} another role, or remove it",
                if holders.len() == 2 { "one of them" } else { "some of them" }
            );
            let mut problem = json.problem(last, "role-count", message, help);
            problem.related = others.iter().filter_map(|at| json.related(at, "another one")).collect();
            problems.push(problem);
        } else {
            let help = format!("declare one: config-leader machine add NAME --role {name}");
            problems.push(json.problem("/machines", "role-count", message, help));
        }
    }
    problems
}

fn number(machines: usize) -> String {
    match machines {
        0 => "no machine".to_owned(),
        1 => "1 machine".to_owned(),
        more => format!("{more} machines"),
    }
}

fn needed(count: Count) -> String {
    match count {
        Count { min, max: Some(max) } if min == max => format!("exactly {min} {}", if min == 1 { "is" } else { "are" }),
        Count { min, max: Some(max) } if min > 0 => format!("{min} to {max} are"),
        Count { max: Some(max), .. } => format!("at most {max} {}", if max == 1 { "is" } else { "are" }),
        Count { min, max: None } => format!("at least {min} {}", if min == 1 { "is" } else { "are" }),
    }
}

fn listed(roles: &BTreeMap<RoleName, RoleManifest>) -> String {
    roles.keys().map(|role| format!("\"{role}\"")).collect::<Vec<_>>().join(", ")
}
