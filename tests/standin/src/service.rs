//! The running service: what it read last, and when and why it read.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::boot::Booted;

/// A service that has started.
pub(crate) struct Service {
    /// Where it reads.
    places: Vec<String>,
    /// Nanoseconds since the Unix epoch.
    pub(crate) started: u128,
    memory: Mutex<Memory>,
}

struct Memory {
    booted: Booted,
    /// One line for each time that it read or tried to: why, and when in nanoseconds since the Unix epoch.
    reads: String,
}

impl Service {
    /// Starts, or does not.
    pub(crate) fn start(places: &[String]) -> Result<Self, String> {
        let started = now();
        let memory = Memory { booted: Booted::from_files(places)?, reads: format!("boot {started}\n") };
        Ok(Self { places: places.to_owned(), started, memory: Mutex::new(memory) })
    }

    /// Reads its files again; it keeps what it has when they are bad, as nginx does.
    pub(crate) fn read_again(&self, why: &str) -> Result<(), String> {
        let booted = Booted::from_files(&self.places);
        let mut memory = self.memory();
        memory.reads += &format!("{why} {}\n", now());
        memory.booted = booted?;
        Ok(())
    }

    /// Every time that it read.
    pub(crate) fn reads(&self) -> String {
        self.memory().reads.clone()
    }

    pub(crate) fn with_booted<T>(&self, look: impl FnOnce(&Booted) -> T) -> T {
        look(&self.memory().booted)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}
