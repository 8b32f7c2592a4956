//! Hints that the folder changed. A hint may be wrong or missing: what is read decides, never the event.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::folder::Folder;

/// A burst of events (an editor's atomic save, a copy of many files) is over after so long without one …
const QUIET: Duration = Duration::from_millis(15);
/// … and is taken as over after so long in any case.
const LONGEST_BURST: Duration = Duration::from_millis(250);

/// Watches folders, never files: a watch on a file is gone after the first atomic rename.
pub(crate) struct Watcher {
    folder: Folder,
    hints: RecommendedWatcher,
    /// Which folder a path was when its watch began: device and inode.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    events: mpsc::Receiver<()>,
    /// Until when the burst may last that has begun, if one has.
    burst: Option<Instant>,
}

impl Watcher {
    pub(crate) fn start(folder: Folder) -> anyhow::Result<Self> {
        // One waiting hint says as much as a thousand.
        let (sender, events) = mpsc::channel(1);
        let hints = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                let _ = sender.try_send(());
            }
        })
        .context("cannot watch for changes")?;
        Ok(Self { folder, hints, watched: BTreeMap::new(), events, burst: None })
    }

    /// Starts to watch folders that exist by now.
    pub(crate) fn watch_what_is_new(&mut self) {
        let folders = [
            (self.folder.path().to_owned(), RecursiveMode::NonRecursive),
            (self.folder.secrets(), RecursiveMode::NonRecursive),
            (self.folder.keys(), RecursiveMode::NonRecursive),
            (self.folder.templates().to_owned(), RecursiveMode::Recursive),
        ];
        for (folder, mode) in folders {
            let identity = std::fs::metadata(&folder).ok().map(|folder| (folder.dev(), folder.ino()));
            if self.watched.get(&folder).copied() == identity {
                continue;
            }
            // A folder that was replaced keeps its old watch, which is silent from now on.
            if self.watched.remove(&folder).is_some() {
                let _ = self.hints.unwatch(&folder);
            }
            match (self.hints.watch(&folder, mode), identity) {
                (Ok(()), Some(identity)) => drop(self.watched.insert(folder, identity)),
                // Not there yet, or no watch left: the regular look finds its changes, later.
                (watching, _) => debug!(folder = %folder.display(), ?watching, "not watched"),
            }
        }
    }

    /// Waits for a change and for the end of its burst. Cancel-safe: a burst that has begun is remembered.
    pub(crate) async fn settled_change(&mut self) {
        let end = match self.burst {
            Some(end) => end,
            None if self.events.recv().await.is_none() => return std::future::pending().await,
            None => *self.burst.insert(Instant::now() + LONGEST_BURST),
        };
        while Instant::now() < end && timeout_at(end.min(Instant::now() + QUIET), self.events.recv()).await.is_ok() {}
        self.burst = None;
    }
}

/// Reading makes events, too: with these a look would be the cause of the next one.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
