//! `render`: the exact bytes that every machine would get, in folders to look at.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use pconf_names::{MachineName, Mode, Owner};
use pconf_render::RenderedMachine;
use serde_json::json;

use crate::folder::Folder;
use crate::inputs::Reader;
use crate::secrets::Purpose;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder, out: &Path, only: Option<&MachineName>) -> Result<Said, Failure> {
    let inputs = Reader::default().read(folder, Purpose::Use)?;
    let mut rendered = inputs.evaluate()?;
    // What is looked at now has to be what machines get later.
    if !inputs.keep_secrets(folder, None)? {
        return Err(anyhow::anyhow!("a secret was changed meanwhile: run this again").into());
    }
    if let Some(only) = only {
        rendered.retain(|name, _| name == only);
        if rendered.is_empty() {
            return Err(
                anyhow::anyhow!("no machine is called `{only}`: `config-leader machine list` shows them").into()
            );
        }
    }
    let mut text = String::new();
    let mut machines = serde_json::Map::new();
    for (name, machine) in &rendered {
        write_machine(&out.join(name.as_str()), machine)?;
        text += &format!(
            "{:<16} {:<12} {} files, {} directories\n",
            name.as_str(),
            machine.role,
            machine.files.len(),
            machine.directories.len()
        );
        let files = machine.files.iter().map(|file| {
            let a = &file.attributes;
            json!({ "path": file.path, "class": a.class, "owner": a.owner, "mode": a.mode })
        });
        machines.insert(name.to_string(), json!({ "role": machine.role, "files": files.collect::<Vec<_>>() }));
    }
    text += &format!("\nwritten to {}; it holds secrets: remove it when you are done\n", out.display());
    Ok(Said { text, json: json!({ "ok": true, "machines": machines }) })
}

fn write_machine(folder: &Path, machine: &RenderedMachine) -> anyhow::Result<()> {
    for directory in &machine.directories {
        let path = folder.join(directory.path.as_str());
        make_folder(&path)?;
        permit(&path, directory.owner, directory.mode)?;
    }
    for file in &machine.files {
        let path = folder.join(file.path.as_str());
        if let Some(parent) = path.parent() {
            make_folder(parent)?;
        }
        let cannot = || format!("cannot write `{}`", path.display());
        // A file of an earlier rendering may be read-only for its owner; a link is never followed.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(cannot),
            _ => {}
        }
        let mut new =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(cannot)?;
        std::io::Write::write_all(&mut new, &file.bytes).with_context(cannot)?;
        permit(&path, file.attributes.owner, file.attributes.mode)?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make `{}`", path.display()))
}

/// The owner can be set by root only; anybody else gets the bytes and the mode.
fn permit(path: &Path, owner: Owner, mode: Mode) -> anyhow::Result<()> {
    let cannot = || format!("cannot set owner and mode of `{}`", path.display());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)).with_context(cannot)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode.bits())).with_context(cannot)
}
