//! `backup`: a copy of the history while it is written.

use std::path::Path;

use serde_json::json;

use super::opened;
use crate::audit::{self, Change};
use crate::folder::Folder;
use crate::orders::Actor;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder, file: &Path) -> Result<Said, Failure> {
    let history = opened(folder)?;
    audit::append(folder, &Actor::here(), "backup", &file.display().to_string(), Change::default())?;
    history.back_up(file)?;
    let revisions = history.revisions(None)?.len();
    let text = format!(
        "{}  the history with {revisions} revisions; no secret is in it\nIts place is state/history.db of a leader that \
         does not run.\n",
        file.display()
    );
    Ok(Said { text, json: json!({ "ok": true, "file": file, "revisions": revisions }) })
}
