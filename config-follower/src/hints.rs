//! Hints that something of ours was changed between two cycles, so that drift is seen before the next poll.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use pconf_containers::Containers;
use pconf_files::Watch;
use pconf_names::RelativePath;
use pconf_plan::Ledger;
use tokio::net::unix::pipe;
use tokio::time::sleep;

use crate::config::{Config, DriftPolicy};
use crate::machine::Machine;

/// After a cycle nobody listens for so long: what changes all the time is looked at every now and then.
const PAUSE: Duration = Duration::from_secs(5);

/// One change seldom comes alone.
const BURST: Duration = Duration::from_millis(500);

/// A watch that can be waited for.
#[derive(Debug)]
struct Ear {
    watch: Watch,
    /// The watch's descriptor as something that the runtime waits for without `unsafe`; nothing is read from it.
    ready: pipe::Receiver,
}

/// Listens for hints.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    files: BTreeSet<RelativePath>,
    watch: Option<Ear>,
    names: Vec<String>,
    is_deaf: bool,
}

impl Hints {
    pub(crate) fn new(config: &Config) -> Self {
        Self { is_deaf: config.drift == DriftPolicy::Ignore, ..Self::default() }
    }

    /// Attends to what is ours by now, and forgets what was heard of our own work.
    pub(crate) fn attend(&mut self, root: &Path, ledger: &Ledger) {
        if self.is_deaf {
            return;
        }
        let is_as_before = ledger.files.keys().eq(&self.files);
        if is_as_before {
            if let Some(ear) = &self.watch {
                let _ = ear.watch.has_heard();
            }
        } else {
            self.files = ledger.files.keys().cloned().collect();
            // Without hints there is still the poll.
            self.watch = Ear::start(root, &self.files).ok();
        }
        self.names = ledger.services.keys().cloned().collect();
    }

    /// Waits for a hint; for ever where none can come. Cancel-safe: what is not heard now is found by the next look.
    pub(crate) async fn heard<C: Containers>(&self, machine: &Machine<C>) {
        if self.is_deaf {
            return std::future::pending::<()>().await;
        }
        sleep(PAUSE).await;
        tokio::select! {
            () = self.of_files() => {}
            () = machine.news_of(&self.names) => {}
        }
        sleep(BURST).await;
    }

    async fn of_files(&self) {
        let Some(ear) = &self.watch else { return std::future::pending().await };
        while ear.ready.readable().await.is_ok() {
            if ear.watch.has_heard() {
                return;
            }
            // What was heard was taken: this finds nothing, and has the runtime wait again.
            let _ = ear.ready.try_read(&mut [0]);
        }
        std::future::pending::<()>().await;
    }
}

impl Ear {
    fn start(root: &Path, files: &BTreeSet<RelativePath>) -> anyhow::Result<Self> {
        let watch = Watch::start(root, files)?;
        let ready = pipe::Receiver::from_owned_fd_unchecked(watch.as_fd().try_clone_to_owned()?)?;
        Ok(Self { watch, ready })
    }
}
