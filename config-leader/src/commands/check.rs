//! `check`: every problem at once, and nothing written.

use serde_json::json;

use crate::folder::Folder;
use crate::inputs::{Inputs, Missing, Reader};
use crate::keys::KeyRing;
use crate::terminal::{Failure, Terminal};

pub(crate) fn run(folder: &Folder, terminal: &Terminal) -> Result<(), Failure> {
    let evaluated = Reader::default().read(folder, Missing::Imagine).and_then(Inputs::evaluate);
    let (_, unusable_keys) = KeyRing::default().reread(&folder.keys());
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
    terminal.show(
        &format!("platform.json is good: {files} files for {machines} machines\n"),
        || json!({ "ok": true, "problems": [], "machines": machines, "files": files }),
    );
    Ok(())
}
