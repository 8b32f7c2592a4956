//! Which secrets the leader has to make before a platform can be rendered.

use pconf_names::MachineName;
use pconf_platform::{Problem, SecretKind, SecretName, SecretScope};
use pconf_render::{Scene, TemplateSet};

/// A secret that some machine's role reads and that the leader makes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSecret {
    /// Its name.
    pub name: SecretName,
    /// The machine that has it for itself; `None` for one of the whole platform.
    pub machine: Option<MachineName>,
    /// How it is made; the names of a certificate are filled in. Never external.
    pub kind: SecretKind,
}

/// Every secret that the platform needs and the leader can make, in order; whether it exists already is for the caller.
pub fn wanted_secrets(set: &TemplateSet, scene: &Scene) -> Result<Vec<WantedSecret>, Vec<Problem>> {
    let mut wanted = Vec::new();
    let mut problems = Vec::new();
    for (name, secret) in &set.secrets().secrets {
        let kind = match &secret.kind {
            SecretKind::External => continue,
            SecretKind::Random { .. } => secret.kind.clone(),
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
        };
        let readers = scene.machines().iter().filter(|(_, machine)| secret.roles.contains(&machine.role));
        let owners = readers.map(|(machine, _)| match secret.scope {
            SecretScope::Machine => Some(machine.clone()),
            SecretScope::Platform => None,
        });
        for machine in owners {
            let one = WantedSecret { name: name.clone(), machine, kind: kind.clone() };
            // All readers of a platform's secret share it.
            if wanted.last() != Some(&one) {
                wanted.push(one);
            }
        }
    }
    if problems.is_empty() { Ok(wanted) } else { Err(problems) }
}
