//! `state/identity.json`: what this machine and its leader share, through crashes at any step of a rotation.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pconf_bundle::KeyId;
use pconf_bundle::UnixSeconds;
use pconf_daemon::{StateError, from_state, to_state};
use pconf_files::{FilesError, StateFolder, read_private};
use pconf_names::MachineName;
use zeroize::Zeroizing;

use crate::ring::{Ring, Written};

/// The name of the file in the state folder.
pub(crate) const IDENTITY: &str = "identity.json";

/// The ring of a running follower: everybody sees the same one, and it is on the disk before it is seen.
#[derive(Debug)]
pub struct Identity {
    ring: Mutex<Ring>,
    /// `None` where nothing may be changed: it is only looked at.
    folder: Option<Arc<StateFolder>>,
}

/// The identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none.
    #[error(
        "this machine has no identity yet (`{}`): run `config-leader machine add NAME --role ROLE` where the leader is, and \
         here what it prints: `config-follower join`", .0.display()
    )]
    Missing(PathBuf),
    /// The disk's fault, or others may read it.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It is no identity. What is wrong in it is not quoted: it holds keys.
    #[error(
        "cannot use `{}`: {what}; move it away and join again: `config-leader machine add` prints how", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// It is another machine's.
    #[error(
        "`{}` is the identity of `{found}` and this machine is called `{expected}`: two machines never share a key; join with \
         a line that `config-leader machine add {expected}` prints, or call this one `{found}`", path.display()
    )]
    OtherMachine {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: MachineName,
        /// What this machine is called.
        expected: MachineName,
    },
    /// It cannot be said as JSON.
    #[error("cannot write `{}`", .0.display())]
    Unwritable(PathBuf, #[source] serde_json::Error),
}

impl Identity {
    /// The identity in the state folder that this process holds, for a machine that has `ring` where nothing is there yet.
    ///
    /// It is read again: another process may have gone on with it before this one held the folder.
    pub fn open(folder: Arc<StateFolder>, ring: &Ring) -> Result<Arc<Self>, IdentityError> {
        let ring = match read(&folder.file(IDENTITY), ring.machine()) {
            Err(IdentityError::Missing(_)) => ring.clone(),
            read => read?,
        };
        Ok(Arc::new(Self { ring: Mutex::new(ring), folder: Some(folder) }))
    }

    /// The identity for one question, without the right to change it.
    #[must_use]
    pub fn to_look(ring: &Ring) -> Arc<Self> {
        Arc::new(Self { ring: Mutex::new(ring.clone()), folder: None })
    }

    /// The live keys.
    #[must_use]
    pub fn ring(&self) -> Ring {
        self.lock().clone()
    }

    /// Has `ring` from now on, durably.
    pub(crate) fn change(&self, ring: Ring) -> Result<(), IdentityError> {
        if let Some(folder) = &self.folder {
            write(folder, &ring)?;
        }
        *self.lock() = ring;
        Ok(())
    }

    /// Notes that the leader has answered to `asked`; whether that was the next key, which is the active one now.
    pub(crate) fn prove(&self, asked: &KeyId, until: UnixSeconds) -> Result<bool, IdentityError> {
        let Some(ring) = self.ring().with_proven(asked, until) else { return Ok(false) };
        self.change(ring)?;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The identity of `machine` in the file at `path`.
pub(crate) fn read(path: &Path, machine: &MachineName) -> Result<Ring, IdentityError> {
    let text = Zeroizing::new(read_private(path)?.ok_or_else(|| IdentityError::Missing(path.to_owned()))?);
    let unusable = |what: String| IdentityError::Unusable { path: path.to_owned(), what };
    let written: Written = from_state(text.as_bytes()).map_err(|error| {
        unusable(match error {
            // Its source may quote what stands there.
            StateError::Damaged(_) => "it is damaged".to_owned(),
            StateError::Foreign { .. } => error.to_string(),
        })
    })?;
    if written.machine != *machine {
        let (path, expected) = (path.to_owned(), machine.clone());
        return Err(IdentityError::OtherMachine { path, found: written.machine, expected });
    }
    written.ring().ok_or_else(|| unusable("it does not hold one active key and at most one beside it".to_owned()))
}

/// Replaces the identity in a state folder, durably.
pub(crate) fn write(folder: &StateFolder, ring: &Ring) -> Result<(), IdentityError> {
    let bytes = to_state(ring).map_err(|error| IdentityError::Unwritable(folder.file(IDENTITY), error))?;
    Ok(folder.write(IDENTITY, &Zeroizing::new(bytes))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use pconf_daemon::Chain;

    use super::*;

    #[test]
    fn an_identity_is_read_only_when_it_is_whole_private_and_ours() -> Result<(), Box<dyn std::error::Error>> {
        const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(IDENTITY);
        let said = |machine: &str| -> Result<String, Box<dyn std::error::Error>> {
            let read = read(&path, &machine.parse()?);
            let said = read.map_or_else(|error| Chain(&error).to_string(), |ring| format!("{ring:?}"));
            Ok(said.replace(&folder.path().display().to_string(), "state"))
        };
        let mut all = vec![said("co1")?];
        let active = format!(r#"{{"version":1,"key":"{KEY}","state":"active"}}"#);
        for (mode, text) in [
            (0o640, String::new()),
            (0o600, format!(r#"{{"version":1,"machine":"co1","keys":[{active}]}}"#)),
            (0o600, format!(r#"{{"version":2,"machine":"co1","keys":[{active}]}}"#)),
            (0o600, format!(r#"{{"version":1,"machine":"co2","keys":[{active}]}}"#)),
            (0o600, format!(r#"{{"version":1,"machine":"co1","keys":"{KEY}"}}"#)),
            (0o600, format!(r#"{{"version":1,"machine":"co1","keys":[{active}"#)),
            (0o600, r#"{"version":1,"machine":"co1","keys":[]}"#.to_owned()),
        ] {
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
            all.push(said("co1")?);
        }
        let again = "move it away and join again: `config-leader machine add` prints how";
        assert_eq!(
            all,
            [
                "this machine has no identity yet (`state/identity.json`): run `config-leader machine add NAME --role ROLE` \
                 where the leader is, and here what it prints: `config-follower join`",
                "`state/identity.json` is private but has mode 0640: run `chmod 600 state/identity.json`",
                "Ring(co1.1)",
                &format!(
                    "cannot use `state/identity.json`: it is of version 2 and this program knows 1: use the program that \
                     wrote it; {again}"
                ),
                "`state/identity.json` is the identity of `co2` and this machine is called `co1`: two machines never share a \
                 key; join with a line that `config-leader machine add co1` prints, or call this one `co2`",
                &format!("cannot use `state/identity.json`: it is damaged; {again}"),
                &format!("cannot use `state/identity.json`: it is damaged; {again}"),
                &format!(
                    "cannot use `state/identity.json`: it does not hold one active key and at most one beside it; {again}"
                ),
            ]
        );
        Ok(())
    }
}
