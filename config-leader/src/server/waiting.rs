//! Followers that wait for another bundle (`Prefer: wait=N`). While one waits it costs its connection, a timer and an entry
//! here; it holds no lock, no buffer and nothing of the request, and a change that is not for it costs a comparison.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pconf_daemon::{Seat, Shutdown};
use pconf_names::MachineName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::server::current::Current;

/// More followers than that do not wait, whatever the system allows.
const MOST: usize = 16_384;
/// So many of them are answered at a time: a word for ten thousand is no reason to hold as many answers.
const TURNS: usize = 256;

/// Where followers wait.
pub(crate) struct WaitingRoom {
    waiting: Mutex<HashMap<MachineName, Place>>,
    /// For the connections of those who wait or have waited: a lasting one of a follower takes no other's place.
    seats: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    newest: watch::Receiver<Arc<Current>>,
    shutdown: Shutdown,
    numbers: AtomicU64,
}

/// One machine's; there is one per machine.
struct Place {
    number: u64,
    /// Dropped to send the one who waits away.
    _stay: oneshot::Sender<()>,
}

/// Why nobody waits any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There may be news for this machine.
    News,
    /// Its time is over, or the leader's.
    Over,
    /// The same machine waits on another connection by now; this one is of no use any more.
    Replaced,
}

/// Somebody who waits. Whoever goes away, however, leaves its place.
pub(crate) struct Waiter<'a> {
    room: &'a WaitingRoom,
    machine: &'a MachineName,
    number: u64,
    stays: oneshot::Receiver<()>,
}

impl WaitingRoom {
    /// A room for so many as there can be open connections, and some left for others.
    pub(crate) fn open(newest: watch::Receiver<Arc<Current>>, shutdown: Shutdown, open_files: usize) -> Self {
        let seats = Arc::new(Semaphore::new(MOST.min(open_files / 4 * 3)));
        let turns = Arc::new(Semaphore::new(TURNS));
        Self { waiting: Mutex::default(), seats, turns, newest, shutdown, numbers: AtomicU64::new(0) }
    }

    /// Lets a machine wait, instead of whoever waited for it before; `None` where there is no room.
    pub(crate) fn enter<'a>(&'a self, machine: &'a MachineName, seat: &Seat) -> Option<Waiter<'a>> {
        if !seat.move_to(&self.seats) {
            return None;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (stay, stays) = oneshot::channel();
        self.waiting().insert(machine.clone(), Place { number, _stay: stay });
        Some(Waiter { room: self, machine, number, stays })
    }

    /// Waits for one of the turns to be answered. It ends with the last of its clones.
    pub(crate) async fn turn(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        // The semaphore is never closed.
        Arc::clone(&self.turns).acquire_owned().await.ok().map(Arc::new)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<MachineName, Place>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Waits until something else than what `seen` had is due for this machine, or until `deadline`.
    pub(crate) async fn wait(&mut self, seen: Arc<Current>, deadline: Instant) -> Ended {
        let known = seen.due(self.machine);
        // A revision that is gone is not to live for as long as somebody waits.
        drop(seen);
        let (mut newest, mut shutdown) = (self.room.newest.clone(), self.room.shutdown.clone());
        // Cancel-safe, all of them: who is dropped here has gone away.
        tokio::select! {
            changed = newest.wait_for(|current| current.due(self.machine) != known) => {
                if changed.is_ok() { Ended::News } else { Ended::Over }
            }
            _ = &mut self.stays => Ended::Replaced,
            () = sleep_until(deadline) => Ended::Over,
            () = shutdown.requested() => Ended::Over,
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.room.waiting();
        if waiting.get(self.machine).is_some_and(|place| place.number == self.number) {
            waiting.remove(self.machine);
        }
    }
}
