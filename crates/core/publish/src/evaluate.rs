//! From a checked platform to every machine's files.

use std::collections::BTreeMap;

use pconf_names::MachineName;
use pconf_platform::Problem;
use pconf_render::{RenderedMachine, Scene, SecretValues, TemplateSet};

/// Renders every machine of a scene, or says everything that is wrong, each thing once.
pub fn evaluate(
    set: &TemplateSet,
    scene: &Scene,
    secrets: &SecretValues,
) -> Result<BTreeMap<MachineName, RenderedMachine>, Vec<Problem>> {
    let mut machines = BTreeMap::new();
    let mut problems: Vec<Problem> = Vec::new();
    let mut rendering = set.rendering(scene, secrets);
    for name in scene.machines().keys() {
        match rendering.machine(name) {
            Ok(machine) => drop(machines.insert(name.clone(), machine)),
            // Two machines of one role share their faults.
            Err(found) => found.into_iter().for_each(|problem| {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }),
        }
    }
    if problems.is_empty() { Ok(machines) } else { Err(problems) }
}
