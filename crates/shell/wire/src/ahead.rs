//! What a restart would forget: which requests came from clocks ahead of ours. The same file serves both programs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pconf_bundle::{KeyId, UnixSeconds};
use pconf_daemon::{StateError, from_state, to_state};
use pconf_files::{FilesError, StateFolder};

/// By key, in Unix seconds.
const FILE: &str = "ahead.json";

/// To which multiple of seconds a time ahead of the clock is rounded up before it is kept.
const STEP: u64 = 10;

/// Per key, the time up to which its requests were accepted, where that lay ahead of our clock. Cheap to clone; all clones
/// are one memory.
#[derive(Debug, Clone)]
pub struct Ahead(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    folder: Arc<StateFolder>,
    floors: Mutex<BTreeMap<KeyId, UnixSeconds>>,
}

/// The memory cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AheadError {
    /// The disk's fault.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its file is damaged. It is not guessed at: old requests might be taken again.
    #[error("`{}` cannot be used: remove it after a minute's pause", .0.display())]
    Unusable(PathBuf, #[source] StateError),
    /// It cannot be said as JSON.
    #[error("cannot write `{}`", .0.display())]
    Unwritable(PathBuf, #[source] serde_json::Error),
}

impl Ahead {
    /// Reads what earlier lives have kept in `folder`.
    pub fn open(folder: &Arc<StateFolder>) -> Result<Self, AheadError> {
        let kept: BTreeMap<String, u64> = match folder.read(FILE)? {
            None => BTreeMap::new(),
            Some(bytes) => from_state(&bytes).map_err(|error| AheadError::Unusable(folder.file(FILE), error))?,
        };
        let floors = kept.iter().filter_map(|(id, at)| Some((id.parse().ok()?, UnixSeconds(*at)))).collect();
        Ok(Self(Arc::new(Kept { folder: Arc::clone(folder), floors: Mutex::new(floors) })))
    }

    /// What is kept.
    pub(crate) fn floors(&self) -> BTreeMap<KeyId, UnixSeconds> {
        self.0.floors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps, through a restart, that a request of `id` was accepted which was created at `at`. Rounded up: one write
    /// serves the requests of some seconds. The next life refuses that much more with its time, which soon is later.
    pub(crate) fn remember(&self, id: &KeyId, at: UnixSeconds) -> Result<(), AheadError> {
        let Kept { folder, floors } = &*self.0;
        // Held while writing: nobody may rely on a floor that is not on the disk yet.
        let mut floors = floors.lock().unwrap_or_else(PoisonError::into_inner);
        if floors.get(id).is_some_and(|floor| at <= *floor) {
            return Ok(());
        }
        let mut next = floors.clone();
        next.insert(id.clone(), UnixSeconds(at.0.div_ceil(STEP).saturating_mul(STEP)));
        let written: BTreeMap<String, u64> = next.iter().map(|(id, at)| (id.to_string(), at.0)).collect();
        let bytes = to_state(&written).map_err(|error| AheadError::Unwritable(folder.file(FILE), error))?;
        folder.write(FILE, &bytes)?;
        *floors = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn folder() -> Result<(tempfile::TempDir, Arc<StateFolder>), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let state = Arc::new(StateFolder::open(&folder.path().join("state"))?);
        Ok((folder, state))
    }

    #[test]
    fn what_was_ahead_is_known_in_the_next_life() -> Outcome {
        let (_folder, state) = folder()?;
        let (co1, co2): (KeyId, KeyId) = ("co1.1".parse()?, "co2.3".parse()?);
        let ahead = Ahead::open(&state)?;
        assert_eq!(ahead.floors(), BTreeMap::new());
        ahead.remember(&co1, UnixSeconds(1_800_000_001))?;
        let once = state.read(FILE)?;
        ahead.clone().remember(&co1, UnixSeconds(1_800_000_010))?;
        assert_eq!(state.read(FILE)?, once, "what is covered is not written again");
        ahead.remember(&co2, UnixSeconds(1_800_000_011))?;
        let floors = BTreeMap::from([(co1, UnixSeconds(1_800_000_010)), (co2, UnixSeconds(1_800_000_020))]);
        assert_eq!(Ahead::open(&state)?.floors(), floors);
        assert_eq!(ahead.floors(), floors);
        Ok(())
    }

    #[test]
    fn a_damaged_memory_is_not_guessed_at_and_the_way_out_is_told() -> Outcome {
        let (_folder, state) = folder()?;
        for garbage in ["", "{", "[]", r#"{"version":2}"#, r#"{"version":1,"co1.1":"soon"}"#] {
            state.write(FILE, garbage.as_bytes())?;
            let told = Ahead::open(&state).err().ok_or("it was read")?.to_string();
            assert_eq!(
                told,
                format!("`{}` cannot be used: remove it after a minute's pause", state.file(FILE).display())
            );
        }
        Ok(())
    }
}
