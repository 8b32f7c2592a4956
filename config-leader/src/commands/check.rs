//! `check`: every problem at once, and nothing written.

use pconf_publish::held_back;
use pconf_wire::Clock;
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::inputs::{Inputs, Missing, Reader};
use crate::keys::KeyRing;
use crate::publication;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder) -> Result<Said, Failure> {
    let evaluated = Reader::default().read(folder, Missing::Imagine).and_then(Inputs::evaluate);
    let (_, unusable_keys) = KeyRing::default().reread(folder, Clock::system().now());
    let evaluation = match evaluated {
        Ok(evaluation) if unusable_keys.is_empty() => evaluation,
        Ok(_) => return Err(Failure::Invalid { problems: unusable_keys, sources: Box::default() }),
        Err(Failure::Invalid { mut problems, sources }) => {
            problems.extend(unusable_keys);
            return Err(Failure::Invalid { problems, sources });
        }
        Err(failure) => return Err(failure),
    };
    let machines = evaluation.machines.len();
    let files: usize = evaluation.machines.values().map(|machine| machine.files.len()).sum();
    let published = publication::read(folder)?;
    let held = published.map(|published| held_back(&published, &evaluation.machines)).unwrap_or_default();
    let mut text = format!("platform.json is good: {files} files for {machines} machines\n");
    let mut warnings: Vec<Value> = Vec::new();
    for (machine, suspicion) in held.iter().flat_map(|(machine, all)| all.iter().map(move |one| (machine, one))) {
        text += &format!("warning: {machine}: {suspicion}\n");
        warnings.push(json!({ "code": "held-back", "machine": machine, "message": suspicion.to_string() }));
    }
    if !warnings.is_empty() {
        text += "Followers hold such a change back. If it is meant: `config-leader accept`, once it is published.\n";
    }
    let json = json!({ "ok": true, "problems": [], "warnings": warnings, "machines": machines, "files": files });
    Ok(Said { text, json })
}
