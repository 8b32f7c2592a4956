//! From the text of `platform.json` to every machine's files.

use std::collections::BTreeMap;

use pconf_names::MachineName;
use pconf_platform::{PlatformFile, Problem};
use pconf_render::{RenderedMachine, Scene, SecretValues, TemplateSet};

/// A platform whose every file renders and is well-formed.
pub struct Evaluation {
    /// The platform with its derived values.
    pub scene: Scene,
    /// What each machine gets.
    pub machines: BTreeMap<MachineName, RenderedMachine>,
}

/// Reads, checks and derives; nothing is rendered yet. `file_name` is how problems call the file.
pub fn look(set: &TemplateSet, file_name: &str, text: &str) -> Result<Scene, Vec<Problem>> {
    let file = PlatformFile::parse(file_name, text)?;
    set.derive(set.check(&file)?)
}

/// Renders every machine of a scene, or says everything that is wrong, each thing once.
pub fn evaluate(set: &TemplateSet, scene: Scene, secrets: &SecretValues) -> Result<Evaluation, Vec<Problem>> {
    let mut machines = BTreeMap::new();
    let mut problems: Vec<Problem> = Vec::new();
    for name in scene.machines().keys() {
        match set.render(&scene, name, secrets) {
            Ok(machine) => drop(machines.insert(name.clone(), machine)),
            // Two machines of one role share their faults.
            Err(found) => found.into_iter().for_each(|problem| {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }),
        }
    }
    if problems.is_empty() { Ok(Evaluation { scene, machines }) } else { Err(problems) }
}
