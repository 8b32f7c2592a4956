//! The one that writes revisions down in the history, one after the other, while they are on their way to the machines already.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::Chain;
use pconf_history::New;
use pconf_names::RevisionId;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::folder::Folder;
use crate::history;
use crate::server::current::Published;

/// So many revisions may wait for the disk before the next one is published.
pub(super) const WAITING: usize = 16;

/// How long until what could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Writes down what is published until nobody publishes any more; `trouble` is why the newest one is not written, if so. What a
/// kill leaves out the next start writes.
pub(super) async fn keep(
    folder: Folder,
    mut published: mpsc::Receiver<Arc<Published>>,
    trouble: watch::Sender<Option<Value>>,
) -> anyhow::Result<()> {
    let mut owed: Option<Arc<Published>> = None;
    loop {
        // Cancel-safe: what is not taken out of the channel stays in it.
        let next = tokio::select! {
            next = published.recv() => next,
            () = tokio::time::sleep(AGAIN), if owed.is_some() => owed.clone(),
        };
        let Some(next) = next else { return Ok(()) };
        let (folder, revision) = (folder.clone(), Arc::clone(&next));
        let written = tokio::task::spawn_blocking(move || write(&folder, &revision)).await;
        let failed = written.context("the historian broke down")?.err();
        owed = failed.as_ref().map(|_| Arc::clone(&next));
        let told = failed.map(|error| untold(next.revision, &error));
        trouble.send_if_modified(|known| {
            let is_news = *known != told;
            *known = told;
            is_news
        });
    }
}

fn write(folder: &Folder, published: &Published) -> anyhow::Result<()> {
    // An earlier version of this program made it, or nobody could tell: the history goes on with the next one.
    let Some(made_of) = &published.made_of else { return Ok(()) };
    let new = New { revision: published.revision, digest: published.digest, made_of };
    history::record(folder, &new, published.bundles())
}

/// The history does not know a revision.
pub(super) fn untold(revision: RevisionId, error: &anyhow::Error) -> Value {
    let message = format!("revision {revision} is not in the history: {}", Chain(error.as_ref()));
    json!({ "code": "history", "message": message })
}
