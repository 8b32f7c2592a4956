//! The one that makes revisions: reads the folder when it changes, publishes what is new and good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::{Chain, Shutdown};
use pconf_names::{MachineName, RevisionId};
use pconf_platform::{Problem, Sources, to_json};
use pconf_publish::publish;
use pconf_render::{Scene, SecretValues, TemplateSet};
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::audit::{self, Change};
use crate::epoch;
use crate::folder::Folder;
use crate::inputs::{Inputs, Reader};
use crate::keys::KeyStore;
use crate::orders::Actor;
use crate::publication;
use crate::secrets::{Purpose, rotation};
use crate::server::current::{Addresses, Current, Published};
use crate::server::status::StatusBoard;
use crate::server::watcher::Watcher;
use crate::terminal::Failure;

/// Even without any hint the folder is looked at this often: events can be lost.
const RESCAN: Duration = Duration::from_secs(30);

/// So often a secret may be changed by somebody else while a revision is made.
const MOST_TRIES: usize = 5;

pub(crate) struct Publisher {
    folder: Folder,
    keys: Arc<KeyStore>,
    reader: Reader,
    board: Arc<StatusBoard>,
    /// What the revision that is served was made of.
    rendered: Option<Seen>,
    /// Whether a rotation of a secret waits for reports.
    awaits_reports: bool,
}

/// Inputs without what follows from them.
struct Seen {
    text: String,
    secrets: SecretValues,
    set: Arc<TemplateSet>,
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        // A set is loaded once for the same files.
        self.text == other.text && self.secrets == other.secrets && Arc::ptr_eq(&self.set, &other.set)
    }
}

/// What is served before the folder was read for the first time.
pub(crate) fn last_published(folder: &Folder) -> anyhow::Result<Current> {
    let published = publication::read(folder)?.map(|publication| Arc::new(Published::from(publication)));
    Ok(Current { published, ..Current::default() })
}

/// Publishes at once and then whenever the folder changes, until `shutdown`.
pub(crate) async fn run(
    mut publisher: Publisher,
    current: watch::Sender<Arc<Current>>,
    mut shutdown: Shutdown,
) -> anyhow::Result<()> {
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
            let (folder, news) = (publisher.folder.clone(), after.revision());
            let was = current.send_replace(Arc::new(after)).revision();
            if let Some(revision) = news.filter(|_| news != was) {
                // What is served is on the disk; followers need not wait for the record of it.
                tokio::task::spawn_blocking(move || record(&folder, revision))
                    .await
                    .context("the recorder broke down")?;
            }
        }
        watcher.watch_what_is_new();
        let board = Arc::clone(&publisher.board);
        // Every arm is cancel-safe: events stay in their channel, and the next cycle compares content anyway.
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            () = board.report_came(), if publisher.awaits_reports => {}
            _ = tokio::time::timeout(RESCAN, watcher.settled_change()) => {}
        }
    }
}

impl Publisher {
    pub(crate) fn new(folder: Folder, keys: Arc<KeyStore>, board: Arc<StatusBoard>) -> Self {
        Self { folder, keys, reader: Reader::default(), board, rendered: None, awaits_reports: false }
    }

    /// Reads everything once. `None` where nothing changed that anybody has to see.
    fn cycle(&mut self, before: &Current) -> Option<Current> {
        let mut after = self.attempt(before).unwrap_or_else(|failure| Current {
            published: before.published.clone(),
            addresses: before.addresses.clone(),
            problems: problems_of(&failure),
        });
        // Whatever the inputs are by now: keys end and begin all the same, and the word is about what is served.
        after.problems.extend(to_values(&self.keys.reread(), &Sources::new()));
        match self.accepted(after.published.as_deref()) {
            Ok(None) => {}
            Ok(Some(accepted)) => after.published = Some(Arc::new(accepted)),
            Err(error) => after.problems.extend(problems_of(&Failure::Failed(error))),
        }
        if after.problems != before.problems {
            tell(&after);
        }
        (after != *before).then_some(after)
    }

    fn attempt(&mut self, before: &Current) -> Result<Current, Failure> {
        // Somebody who changes a secret at the same moment is no reason to fail; nobody does so for ever.
        for _ in 0..MOST_TRIES {
            if let Some(after) = self.try_once(before)? {
                return Ok(after);
            }
        }
        Err(anyhow::anyhow!("the secrets change faster than they can be read").into())
    }

    /// `None` where a secret was changed by somebody else meanwhile.
    fn try_once(&mut self, before: &Current) -> Result<Option<Current>, Failure> {
        let inputs = self.inputs()?;
        let addresses = addresses(&inputs.looked.scene);
        let seen = Seen {
            text: inputs.looked.text.clone(),
            secrets: inputs.secrets.clone(),
            set: Arc::clone(&inputs.looked.set),
        };
        let mut published = before.published.clone();
        let previous = before.published.as_ref().map(|published| (published.revision, published.digest));
        let epoch = epoch::wanted(&self.folder)?;
        let is_in_epoch = previous.is_some_and(|(revision, _)| revision.epoch >= epoch);
        // No work without a change: the same inputs render to the same bytes.
        if !is_in_epoch || self.rendered.as_ref() != Some(&seen) {
            let publication = publish(previous, epoch, inputs.evaluate()?);
            // Good, so far: its secrets are on disk before it is.
            if !inputs.keep_secrets(&self.folder, publication.as_ref().map(|publication| publication.revision))? {
                return Ok(None);
            }
            if let Some(publication) = publication {
                // On disk before anybody sees it: a number that was seen is never given to other bytes.
                publication::keep(&self.folder, &publication)?;
                let (revision, digest) = (publication.revision, publication.digest);
                info!(%revision, machines = publication.machines.len(), %digest, "published");
                published = Some(Arc::new(Published::from(publication)));
            }
            self.rendered = Some(seen);
        }
        if let Some(published) = &published {
            rotation::note_gates(&self.folder, &inputs.kept, published.revision)?;
        }
        Ok(Some(Current { published, addresses, problems: Vec::new() }))
    }

    /// The inputs, with each rotation of a secret as far as the fleet's reports let it go.
    fn inputs(&mut self) -> Result<Inputs, Failure> {
        let mut inputs = self.reader.read(&self.folder, Purpose::Use)?;
        if rotation::advance(&self.folder, &inputs, |machine| self.board.runs(machine))? {
            inputs = self.reader.read(&self.folder, Purpose::Use)?;
        }
        self.awaits_reports = rotation::is_under_way(&inputs.kept);
        self.board.decide_by_reports(self.awaits_reports);
        Ok(inputs)
    }

    /// The published revision with the admin's word, where that was given since.
    fn accepted(&self, published: Option<&Published>) -> anyhow::Result<Option<Published>> {
        let Some(waiting) = published.filter(|published| !published.is_accepted) else { return Ok(None) };
        if publication::accepted(&self.folder)? != Some(waiting.revision) {
            return Ok(None);
        }
        let publication = publication::read(&self.folder)?.context("the published revision is gone from the disk")?;
        let publication = publication.accepted();
        publication::keep(&self.folder, &publication)?;
        info!(revision = %publication.revision, "accepted");
        Ok(Some(Published::from(publication)))
    }
}

/// Notes in the audit log what the leader did by itself.
fn record(folder: &Folder, revision: RevisionId) {
    if let Err(error) = audit::append(folder, &Actor::Leader, "publish", &revision.to_string(), Change::default()) {
        warn!(%revision, error = %Chain(error.as_ref()), "the audit log does not tell of this revision");
    }
}

/// Each problem once, in the log.
fn tell(current: &Current) {
    for problem in &current.problems {
        warn!(
            file = problem["file"].as_str(),
            line = problem["line"].as_u64(),
            column = problem["column"].as_u64(),
            help = problem["help"].as_str(),
            "{}",
            problem["message"].as_str().unwrap_or("unknown problem"),
        );
    }
    let serving = current.revision().map(tracing::field::display);
    match current.problems.len() {
        0 => info!(serving, "the inputs are good again"),
        problems => warn!(problems, serving, "something is wrong with the inputs"),
    }
}

fn to_values(problems: &[Problem], sources: &Sources) -> Vec<Value> {
    match to_json(problems, sources) {
        Value::Array(problems) => problems,
        other => vec![other],
    }
}

fn addresses(scene: &Scene) -> BTreeMap<MachineName, Addresses> {
    let text = |text: Option<&str>| text.map(str::to_owned);
    let machines = scene.machines().iter();
    machines
        .map(|(name, machine)| {
            let (follower, leader) = (text(machine.text("url")), text(machine.text("leader")));
            (name.clone(), Addresses { follower, leader, root: text(machine.text("root")) })
        })
        .collect()
}

fn problems_of(failure: &Failure) -> Vec<Value> {
    match failure {
        Failure::Invalid { problems, sources } => to_values(problems, sources),
        Failure::Failed(error) => vec![json!({ "code": "failed", "message": Chain(error.as_ref()).to_string() })],
        // Said by another process; nothing here asks one.
        Failure::Refused(refusal) => vec![refusal.json.clone()],
    }
}

#[cfg(test)]
mod tests;
