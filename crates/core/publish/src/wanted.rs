//! Which values of secrets a platform needs, and who reads each of them.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::MachineName;
use pconf_platform::{Problem, SecretId, SecretKind};
use pconf_render::{Scene, TemplateSet};

/// A value that some machine's role reads, by itself or through a secret that is derived from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSecret {
    /// The value.
    pub id: SecretId,
    /// How it is made; the names of a certificate are filled in.
    pub kind: SecretKind,
    /// The machines that read it; at least one.
    pub readers: BTreeSet<MachineName>,
}

/// Every value that the platform needs, in order; whether it exists already is for the caller.
pub fn wanted_secrets(set: &TemplateSet, scene: &Scene) -> Result<Vec<WantedSecret>, Vec<Problem>> {
    let mut wanted = Vec::new();
    let mut problems = Vec::new();
    for (name, secret) in &set.secrets().secrets {
        let kind = match &secret.kind {
            SecretKind::Certificate { names } => {
                let filled = names.iter().map(|text| set.fill(scene, text)).collect::<Result<_, _>>();
                match filled {
                    Ok(names) => SecretKind::Certificate { names },
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                }
            }
            kind => kind.clone(),
        };
        let roles = set.secrets().readers(name);
        let mut readers_by_owner: BTreeMap<_, BTreeSet<MachineName>> = BTreeMap::new();
        for (machine, of) in scene.machines().iter().filter(|(_, machine)| roles.contains(&machine.role)) {
            readers_by_owner.entry(secret.scope.owner(machine, &of.role)).or_default().insert(machine.clone());
        }
        wanted.extend(readers_by_owner.into_iter().map(|(owner, readers)| WantedSecret {
            id: SecretId { name: name.clone(), owner },
            kind: kind.clone(),
            readers,
        }));
    }
    if problems.is_empty() { Ok(wanted) } else { Err(problems) }
}
