//! `keys/`: the key that the leader shares with each machine's follower, one file per machine, never shared by two.
//!
//! The key of a removed machine stays, so that its follower can be told so under a signature; a machine of that name
//! that is added later gets a new one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use pconf_bundle::{EnrolmentKey, KeyId, Keys};
use pconf_daemon::Chain;
use pconf_names::MachineName;
use pconf_platform::Problem;

/// The version of every key, until keys are rotated.
const VERSION: u32 = 1;

/// The keys of every machine that has one.
#[derive(Default, Clone)]
pub(crate) struct KeyRing(BTreeMap<MachineName, (EnrolmentKey, Arc<Keys>)>);

impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        // What is derived once is shared from then on: the same keys are the same allocation.
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len()
            && pairs.all(|((name, (_, keys)), (other, (_, others)))| name == other && Arc::ptr_eq(keys, others))
    }
}

impl KeyRing {
    /// The derived keys of a machine.
    pub(crate) fn of(&self, machine: &MachineName) -> Option<&Arc<Keys>> {
        self.0.get(machine).map(|(_, keys)| keys)
    }

    /// Reads the folder again. What was derived before is used again while the key is the same, and while it cannot be
    /// read: what is wrong with one key concerns its machine alone.
    pub(crate) fn reread(&self, folder: &Path) -> (Self, Vec<Problem>) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Self::default(), Vec::new()),
            Err(error) => return (self.clone(), vec![problem("keys", format!("cannot be read: {error}"))]),
        };
        let mut ring = BTreeMap::new();
        let mut problems = Vec::new();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<MachineName>().ok());
        for machine in names {
            let known = self.0.get(&machine);
            let key = match read(folder, &machine) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(error) => {
                    problems.push(problem(&format!("keys/{machine}"), Chain(error.as_ref()).to_string()));
                    ring.extend(known.map(|known| (machine, known.clone())));
                    continue;
                }
            };
            let known = known.filter(|(known, _)| known.to_text() == key.to_text());
            let id = KeyId { machine: machine.clone(), version: VERSION };
            let keys = known.map_or_else(|| Arc::new(Keys::derive(id, &key)), |(_, keys)| Arc::clone(keys));
            ring.insert(machine, (key, keys));
        }
        problems.sort_unstable_by(|one, other| one.file.cmp(&other.file));
        (Self(ring), problems)
    }
}

fn problem(file: &str, message: String) -> Problem {
    Problem {
        code: "unusable-key",
        file: file.to_owned(),
        span: None,
        subject: String::new(),
        message,
        help: "repair it; without it this machine's follower is not heard".to_owned(),
        related: Vec::new(),
    }
}

/// The machine's key, made now where it has none.
pub(crate) fn obtain(folder: &Path, machine: &MachineName) -> anyhow::Result<EnrolmentKey> {
    if let Some(key) = read(folder, machine)? {
        return Ok(key);
    }
    let key = pconf_wire::enrolment_key()?;
    let made = pconf_files::create_state(&folder.join(machine.as_str()), key.to_text().as_bytes())?;
    if made { Ok(key) } else { read(folder, machine)?.context("a key was made and removed meanwhile: run this again") }
}

/// Gives the machine a new key, whatever it had before.
pub(crate) fn renew(folder: &Path, machine: &MachineName) -> anyhow::Result<()> {
    let key = pconf_wire::enrolment_key()?;
    Ok(pconf_files::write_state(&folder.join(machine.as_str()), key.to_text().as_bytes())?)
}

/// Whether the machine has a key.
pub(crate) fn exists(folder: &Path, machine: &MachineName) -> bool {
    folder.join(machine.as_str()).exists()
}

fn read(folder: &Path, machine: &MachineName) -> anyhow::Result<Option<EnrolmentKey>> {
    let path = folder.join(machine.as_str());
    let Some(text) = pconf_files::read_private(&path)? else { return Ok(None) };
    let no_key = || format!("`{}` holds no key: remove it to have a new one made", path.display());
    text.trim_end().parse().map(Some).with_context(no_key)
}
