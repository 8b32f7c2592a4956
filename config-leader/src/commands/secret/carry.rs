//! `secret export` and `secret import`: a whole leader in one file under a passphrase, and a leader out of it in an empty
//! folder, under a key-encryption key of its own.
//!
//! Templates are not in it: they come with the program.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pconf_daemon::{from_state, to_state};
use pconf_vault::{EnvelopeError, VaultError, locked, unlocked};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::audit::{self, Change};
use crate::folder::{CONFIG, Folder, PLATFORM};
use crate::history;
use crate::orders::Actor;
use crate::passphrase;
use crate::terminal::{Failure, Said};

const PASSPHRASE: &str = "CONFIG_LEADER_EXPORT_PASSPHRASE";
/// The folder's own parts, in the order in which they are read: what was published before the secrets that it uses, which
/// were durable first, and the end of the audit log before the log.
const PARTS: [&str; 4] = ["state", "keys", "secrets", ""];
/// What belongs to this folder alone; and the history, which grows and has a backup of its own.
const STAYS: [&str; 5] =
    ["vault.json", "state/lock", history::DATABASE, "state/history.db-wal", "state/history.db-shm"];

/// A leader as it travels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    /// By path below the leader's folder.
    files: BTreeMap<String, CarriedFile>,
    /// What binds the entries of the audit log.
    audit: String,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct CarriedFile {
    /// Whether it was in an envelope, and will be in one again.
    sealed: bool,
    /// Base64.
    content: String,
}

pub(super) fn export(folder: &Folder, file: &Path) -> Result<Said, Failure> {
    ensure_there(folder)?;
    let passphrase = passphrase(true)?;
    audit::append(folder, &Actor::here(), "secret.export", &file.display().to_string(), Change::default())?;
    let _alone = folder.lock()?;
    let mut files = BTreeMap::new();
    for part in PARTS {
        for name in names(&folder.path().join(part))? {
            let path = if part.is_empty() { name } else { format!("{part}/{name}") };
            if !stays(folder, &path) {
                files.insert(path.clone(), read(folder, &path)?);
            }
        }
    }
    let number = files.len();
    let carried = Carried { files, audit: STANDARD.encode(*folder.vault()?.derive("audit")) };
    let content = Zeroizing::new(to_state(&carried).context("cannot write the export as JSON")?);
    let locked = locked(&passphrase, &content).context("the system's random source fails")?;
    let made = pconf_files::create_state(file, &locked).context("cannot write the export")?;
    if !made {
        return Err(anyhow::anyhow!("`{}` is there already: nothing was written", file.display()).into());
    }
    let text = format!(
        "{}  {number} files of this leader, under the passphrase\n\
         It restores everything but the templates: `config-leader --dir NEW secret import {}`\n",
        file.display(),
        file.display()
    );
    Ok(Said { text, json: json!({ "ok": true, "file": file, "files": number }) })
}

pub(super) fn import(folder: &Folder, file: &Path) -> Result<Said, Failure> {
    let locked = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let taken = PARTS.iter().flat_map(|part| names(&folder.path().join(part)).unwrap_or_default());
    if let Some(name) = taken.into_iter().find(|name| name != CONFIG) {
        let path = folder.path().display();
        return Err(anyhow::anyhow!("`{path}` is no empty folder: `{name}` is there; nothing was changed").into());
    }
    let content = unlocked(&passphrase(false)?, &locked)
        .context("the export does not open: the passphrase is another, or the file was changed")?;
    let carried: Carried = from_state(&content).context("the export cannot be used")?;
    let number = carried.files.len();
    let folder = restore(folder, &carried)?;
    let old = STANDARD.decode(&carried.audit).context("the export cannot be used")?;
    let rebound = audit::rebind(&folder, &Zeroizing::new(old))?;
    audit::append(&folder, &Actor::here(), "secret.import", &file.display().to_string(), Change::default())?;
    let log = if rebound { "" } else { "The audit log was not whole: `config-leader audit verify` tells where\n" };
    let text = format!(
        "{}  restored: {number} files\n{log}\
         If the other leader published since: `config-leader epoch bump` before this one serves\n",
        folder.path().display()
    );
    Ok(Said { text, json: json!({ "ok": true, "files": number, "auditWhole": rebound }) })
}

/// Writes everything; platform.json last, without which there is no leader.
fn restore(folder: &Folder, carried: &Carried) -> anyhow::Result<Folder> {
    for path in carried.files.keys() {
        let (part, name) = path.split_once('/').unwrap_or(("", path));
        let fits = PARTS.contains(&part) && !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        ensure!(fits, "the export holds `{path}`, which is no file of a leader");
    }
    std::fs::create_dir_all(folder.path()).with_context(|| format!("cannot make `{}`", folder.path().display()))?;
    let bytes = |file: &CarriedFile| {
        anyhow::Ok(Zeroizing::new(STANDARD.decode(&file.content).context("the export cannot be used")?))
    };
    // Where the key-encryption key comes from is said there.
    if let Some(config) = carried.files.get(CONFIG) {
        pconf_files::create_state(&folder.path().join(CONFIG), &bytes(config)?)?;
    }
    let folder = Folder::open(folder.path(), Some(folder.templates()))?;
    let is_last = |path: &str| path == PLATFORM;
    let ordered = carried.files.iter().filter(|(path, _)| !is_last(path) && *path != CONFIG);
    for (path, file) in ordered.chain(carried.files.iter().filter(|(path, _)| is_last(path))) {
        let bytes = bytes(file)?;
        if file.sealed {
            folder.vault()?.write(path, &bytes)?;
        } else {
            pconf_files::write_state(&folder.path().join(path), &bytes)?;
        }
    }
    Ok(folder)
}

fn read(folder: &Folder, path: &str) -> anyhow::Result<CarriedFile> {
    let file = folder.path().join(path);
    let bytes = std::fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    match folder.vault()?.opened(path, &bytes) {
        Ok(content) => Ok(CarriedFile { sealed: true, content: STANDARD.encode(&*content) }),
        Err(VaultError::Value { source: EnvelopeError::Form(_), .. }) => {
            Ok(CarriedFile { sealed: false, content: STANDARD.encode(bytes) })
        }
        Err(error) => Err(error.into()),
    }
}

/// The ordinary files of a folder; drafts that a crash left are none.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot look into `{}`", folder.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot look into `{}`", folder.display()))?;
        let is_file = std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file());
        if let (true, Ok(name)) = (is_file, entry.file_name().into_string())
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn stays(folder: &Folder, path: &str) -> bool {
    use pconf_vault::KekSource;
    let is_kek =
        matches!(&folder.config().kek, KekSource::File(kek) if folder.path().join(kek) == folder.path().join(path));
    is_kek || STAYS.contains(&path)
}

fn ensure_there(folder: &Folder) -> anyhow::Result<()> {
    let platform = folder.platform();
    ensure!(platform.exists(), "`{}` is no leader's folder: there is no platform.json", folder.path().display());
    Ok(())
}

fn passphrase(is_new: bool) -> anyhow::Result<Zeroizing<String>> {
    match passphrase::ask(PASSPHRASE, "Passphrase of the export", is_new).filter(|said| !said.is_empty()) {
        Some(said) => Ok(said),
        None => bail!("the passphrase of the export is missing: set {PASSPHRASE}, or run this on a terminal"),
    }
}
