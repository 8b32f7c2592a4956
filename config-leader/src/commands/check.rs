//! `check`: every problem at once, and nothing written.

use serde_json::json;

use crate::folder::Folder;
use crate::inputs::{Missing, Reader};
use crate::keys::KeyRing;
use crate::terminal::{Failure, Terminal};

pub(crate) fn run(folder: &Folder, terminal: &Terminal) -> Result<(), Failure> {
    let evaluation = Reader::default().read(folder, Missing::Imagine)?.evaluate()?;
    let (_, problems) = KeyRing::default().reread(&folder.keys());
    if !problems.is_empty() {
        return Err(Failure::Invalid { problems, sources: Box::default() });
    }
    let machines = evaluation.machines.len();
    let files: usize = evaluation.machines.values().map(|machine| machine.files.len()).sum();
    terminal.show(
        &format!("platform.json is good: {files} files for {machines} machines\n"),
        || json!({ "ok": true, "problems": [], "machines": machines, "files": files }),
    );
    Ok(())
}
