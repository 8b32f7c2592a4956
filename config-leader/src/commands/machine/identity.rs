//! `machine identity`: a key for a machine that cannot ask for one: an image that is being built, a network with no way out.

use std::path::Path;

use anyhow::{Context as _, ensure};
use pconf_bundle::EnrolmentKey;
use pconf_daemon::to_state;
use pconf_names::MachineName;
use pconf_wire::Clock;
use serde_json::{Value, json};

use crate::audit::{self, Change};
use crate::folder::Folder;
use crate::keys;
use crate::orders::Actor;
use crate::terminal::{Failure, Said};

/// Issues a key. What is said holds it.
pub(super) fn issue(folder: &Folder, name: &MachineName, actor: &Actor) -> Result<Said, Failure> {
    let key = pconf_wire::enrolment_key()?;
    let _alone = folder.lock()?;
    audit::append(folder, actor, "machine.identity", name.as_str(), Change::default())?;
    let now = Clock::system().now().wall;
    let version = keys::change(folder, name, |ring| Ok(ring.issue(key.clone(), now)))?;
    Ok(Said { text: String::new(), json: json!({ "ok": true, "identity": identity(name, version, &key) }) })
}

/// Has a key issued and writes what the machine gets of it to `out`, where nothing may be yet.
pub(crate) fn write(
    name: &MachineName,
    out: &Path,
    issued: impl FnOnce() -> Result<Said, Failure>,
) -> Result<Said, Failure> {
    let in_the_way = || format!("`{}` is there already: nothing was changed", out.display());
    ensure_absent(out).with_context(in_the_way)?;
    let mut said = issued()?;
    let identity = said.json["identity"].take();
    let version = identity["keys"][0]["version"].clone();
    let bytes = to_state(&identity).context("cannot write the identity as JSON")?;
    if !pconf_files::create_state(out, &bytes)? {
        return Err(anyhow::anyhow!("`{}` was made meanwhile: run this again", out.display()).into());
    }
    let text = format!(
        "{}  written: the key {name}.{version}; whatever key {name} had is revoked\n\n\
         Carry it to {name} as `state/identity.json` of its follower (0600), and remove it here: whoever has it is {name}.\n",
        out.display()
    );
    Ok(Said { text, json: json!({ "ok": true, "machine": name, "version": version, "written": out }) })
}

fn ensure_absent(path: &Path) -> anyhow::Result<()> {
    ensure!(std::fs::symlink_metadata(path).is_err(), "an identity is written to a new file only");
    Ok(())
}

/// What a follower keeps of its keys.
fn identity(machine: &MachineName, version: u32, key: &EnrolmentKey) -> Value {
    json!({ "machine": machine, "keys": [{ "version": version, "key": key.to_text().as_str(), "state": "active" }] })
}
