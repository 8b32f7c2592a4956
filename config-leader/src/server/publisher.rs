//! The one that makes revisions: reads the folder when it changes, publishes what is new and good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::{Chain, Shutdown};
use pconf_files::StateFolder;
use pconf_names::MachineName;
use pconf_platform::to_json;
use pconf_publish::{Publication, publish};
use pconf_render::Scene;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::folder::Folder;
use crate::inputs::{Missing, Reader};
use crate::keys::{self, KeyRing};
use crate::server::current::{Addresses, Current, Published};
use crate::server::watcher::Watcher;
use crate::terminal::Failure;

/// The last published revision, whole, so that a leader with broken inputs serves it after a restart, too.
const STATE: &str = "publication.json";

/// Even without any hint the folder is looked at this often: events can be lost.
const RESCAN: Duration = Duration::from_secs(30);

pub(crate) struct Publisher {
    folder: Folder,
    state: Arc<StateFolder>,
    reader: Reader,
    last: Option<Publication>,
}

/// What is served before the folder was read for the first time.
pub(crate) fn last_published(state: &StateFolder, folder: &Folder) -> anyhow::Result<Current> {
    let published = read_state(state)?.map(|publication| Arc::new(Published::from(publication)));
    Ok(Current { published, keys: KeyRing::default().reread(&folder.keys())?, ..Current::default() })
}

fn read_state(state: &StateFolder) -> anyhow::Result<Option<Publication>> {
    let Some(bytes) = state.read(STATE)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).with_context(|| {
        format!(
            "`{}` is damaged, or of another version of config-leader: restore it from a backup. Without it revisions \
             would count from 1 again, and followers refuse to go back",
            state.file(STATE).display()
        )
    })
}

/// Publishes at once and then whenever the folder changes, until `shutdown`.
pub(crate) async fn run(
    mut publisher: Publisher,
    current: watch::Sender<Arc<Current>>,
    mut shutdown: Shutdown,
) -> anyhow::Result<()> {
    publisher.last = read_state(&publisher.state)?;
    let mut watcher = Watcher::start(publisher.folder.clone())?;
    loop {
        // Before the look, so that no edit falls between the two; after it, for the folders that it made.
        watcher.watch_what_is_new();
        let before = Arc::clone(&current.borrow());
        // Reading, rendering and syncing block: they have a thread of their own and never hold up an answer.
        let (back, after) = tokio::task::spawn_blocking(move || {
            let after = publisher.cycle(&before);
            (publisher, after)
        })
        .await
        .context("the publisher broke down")?;
        publisher = back;
        if let Some(after) = after {
            current.send_replace(Arc::new(after));
        }
        watcher.watch_what_is_new();
        // Both arms are cancel-safe: events stay in their channel, and the next cycle compares content anyway.
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            _ = tokio::time::timeout(RESCAN, watcher.settled_change()) => {}
        }
    }
}

impl Publisher {
    pub(crate) fn new(folder: Folder, state: Arc<StateFolder>) -> Self {
        Self { folder, state, reader: Reader::default(), last: None }
    }

    /// Reads everything once. `None` where nothing changed that anybody has to see.
    fn cycle(&mut self, before: &Current) -> Option<Current> {
        match self.attempt(before) {
            Ok(after) => after,
            Err(failure) => {
                let problems = problems_of(&failure);
                if problems == before.problems {
                    return None;
                }
                for problem in &problems {
                    warn!(
                        file = problem["file"].as_str(),
                        line = problem["line"].as_u64(),
                        column = problem["column"].as_u64(),
                        help = problem["help"].as_str(),
                        "{}",
                        problem["message"].as_str().unwrap_or("unknown problem"),
                    );
                }
                warn!(
                    problems = problems.len(),
                    serving = before.revision().map(tracing::field::display),
                    "the inputs are broken: nothing is published"
                );
                let Current { published, keys, addresses, .. } = before;
                Some(Current {
                    published: published.clone(),
                    keys: keys.clone(),
                    addresses: addresses.clone(),
                    problems,
                })
            }
        }
    }

    fn attempt(&mut self, before: &Current) -> Result<Option<Current>, Failure> {
        let evaluation = self.reader.read(&self.folder, Missing::Keep)?.evaluate()?;
        for machine in evaluation.machines.keys() {
            keys::obtain(&self.folder.keys(), machine)?;
        }
        let keys = before.keys.reread(&self.folder.keys())?;
        let addresses = addresses(&evaluation.scene);
        let Some(publication) = publish(self.last.as_ref(), evaluation.machines) else {
            let is_same = before.published.is_some()
                && before.problems.is_empty()
                && keys == before.keys
                && addresses == before.addresses;
            let published = before.published.clone();
            return Ok((!is_same).then_some(Current { published, keys, addresses, problems: Vec::new() }));
        };
        // On disk before anybody sees it: a number that was seen is never given to other bytes.
        let bytes = serde_json::to_vec(&publication).context("cannot write the revision as JSON")?;
        self.state.write(STATE, &bytes)?;
        info!(revision = %publication.revision, machines = publication.machines.len(), digest = %publication.digest, "published");
        self.last = Some(publication.clone());
        Ok(Some(Current {
            published: Some(Arc::new(Published::from(publication))),
            keys,
            addresses,
            problems: Vec::new(),
        }))
    }
}

fn addresses(scene: &Scene) -> BTreeMap<MachineName, Addresses> {
    let text = |text: Option<&str>| text.map(str::to_owned);
    let machines = scene.machines().iter();
    machines
        .map(|(name, machine)| {
            (name.clone(), Addresses { follower: text(machine.text("url")), leader: text(machine.text("leader")) })
        })
        .collect()
}

fn problems_of(failure: &Failure) -> Vec<Value> {
    match failure {
        Failure::Invalid { problems, sources } => match to_json(problems, sources) {
            Value::Array(problems) => problems,
            other => vec![other],
        },
        Failure::Failed(error) => vec![json!({ "code": "failed", "message": Chain(error.as_ref()).to_string() })],
    }
}
