//! The one that makes revisions: reads the folder when it changes, publishes what is new and good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::{Chain, Shutdown};
use pconf_names::{MachineName, RevisionId};
use pconf_platform::{Policy, Problem, Publish, Sources, to_json};
use pconf_publish::{Cause, Course, MadeOf, Phase as RolloutPhase, Publication, publish};
use pconf_render::{Scene, SecretValues, TemplateSet};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::audit::{self, Change};
use crate::commands::rollout;
use crate::epoch;
use crate::fleet_plan;
use crate::folder::Folder;
use crate::history;
use crate::inputs::{Inputs, Reader};
use crate::keys::KeyStore;
use crate::orders::{Actor, Outcome};
use crate::publication;
use crate::secrets::{Purpose, rotation};
use crate::server::conductor::{Conductor, Rejected, Terms};
use crate::server::current::{Addresses, Current, Published};
use crate::server::historian::untold;
use crate::server::status::StatusBoard;
use crate::server::watcher::Watcher;
use crate::server::wishes::{Apply, RolloutOrder, Wish, Wished};
use crate::terminal::{Failure, Said};

/// Even without any hint the folder is looked at this often: events can be lost.
const RESCAN: Duration = Duration::from_secs(30);

/// Where no machine waits for another one, what they say is looked at together.
const GATHER: Duration = Duration::from_millis(300);

/// So often a secret may be changed by somebody else while a revision is made.
const MOST_TRIES: usize = 5;

pub(crate) struct Publisher {
    folder: Folder,
    keys: Arc<KeyStore>,
    reader: Reader,
    board: Arc<StatusBoard>,
    /// What the revision that is served was made of.
    rendered: Option<Seen>,
    conductor: Conductor,
    /// Whether a rotation of a secret waits for reports.
    awaits_reports: bool,
    /// Why a wish is not granted.
    refused: Option<anyhow::Error>,
    /// Why the history does not know the newest revision.
    trouble: Option<Value>,
    /// Who wants what is about to be published.
    wanted_by: Option<Cause>,
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

/// The same with what every machine is told, as the last life of this leader left it.
pub(crate) fn told_by(first: Current, conductor: &Conductor) -> Current {
    let machines = first.published.as_ref().map(|newest| conductor.served(newest)).unwrap_or_default();
    Current { machines: Arc::new(machines), rollout: conductor.rollout().cloned().map(Arc::new), ..first }
}

/// Why the publisher looks again.
enum Event {
    /// Inputs may have changed.
    Folder,
    /// Machines have spoken, or time has passed.
    Fleet,
    /// Somebody wants something.
    Wished(Wished),
}

/// Publishes at once and then whenever the folder changes or somebody wants it, and leads what it publishes through the
/// fleet, until `shutdown`.
pub(crate) async fn run(
    mut publisher: Publisher,
    current: watch::Sender<Arc<Current>>,
    mut wanted: mpsc::Receiver<Wished>,
    mut historian: Historian,
    mut shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut watcher = Watcher::start(publisher.folder.clone())?;
    let mut event = Event::Folder;
    let mut rescan = Instant::now() + RESCAN;
    // What the historian was told of.
    let mut told = None;
    loop {
        if matches!(event, Event::Folder) {
            // Before the look, so that no edit falls between the two; after it, for the folders that it made.
            watcher.watch_what_is_new();
            rescan = Instant::now() + RESCAN;
        }
        let before = Arc::clone(&current.borrow());
        // Reading, rendering and syncing block: they have a thread of their own and never hold up an answer.
        let (back, after, answered) = tokio::task::spawn_blocking(move || {
            let (after, answered) = publisher.turn(event, &before);
            (publisher, after, answered)
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
        if let Some((answer, outcome)) = answered {
            // Whoever asked may have gone.
            drop(answer.send(outcome));
        }
        let newest = current.borrow().published.clone().filter(|newest| told != Some(newest.revision));
        if let Some(newest) = newest {
            told = Some(newest.revision);
            // It ends with this leader, and not before.
            drop(historian.published.send(newest).await);
        }
        watcher.watch_what_is_new();
        let board = Arc::clone(&publisher.board);
        let listens = publisher.awaits_reports || publisher.conductor.listens();
        let is_waited_for = publisher.awaits_reports || publisher.conductor.somebody_waits();
        let gather = if is_waited_for { Duration::ZERO } else { GATHER };
        let next_look = Instant::now() + gather;
        let (is_timed, seconds) = publisher.conductor.look_again_in().map_or((false, 0), |seconds| (true, seconds));
        // Every arm is cancel-safe: events stay in their channel, and the next look compares content anyway.
        event = tokio::select! {
            () = shutdown.requested() => return Ok(()),
            Some(wished) = wanted.recv() => Event::Wished(wished),
            // A report that comes before the time for the next look stays noted.
            () = async { tokio::time::sleep_until(next_look).await; board.report_came().await }, if listens => {
                if publisher.awaits_reports { Event::Folder } else { Event::Fleet }
            }
            () = tokio::time::sleep(Duration::from_secs(seconds)), if is_timed => Event::Fleet,
            Ok(()) = historian.trouble.changed() => {
                publisher.trouble.clone_from(&historian.trouble.borrow_and_update());
                Event::Folder
            }
            _ = tokio::time::timeout_at(rescan, watcher.settled_change()) => Event::Folder,
        };
    }
}

/// The way to the one that writes revisions down.
pub(crate) struct Historian {
    pub(crate) published: mpsc::Sender<Arc<Published>>,
    /// Why it cannot.
    pub(crate) trouble: watch::Receiver<Option<Value>>,
}

/// What a turn has to say to whoever wanted it.
type Answered = Option<(oneshot::Sender<Outcome>, Outcome)>;

impl Publisher {
    pub(crate) fn new(folder: Folder, keys: Arc<KeyStore>, board: Arc<StatusBoard>, conductor: Conductor) -> Self {
        let reader = Reader::default();
        Self {
            folder,
            keys,
            reader,
            board,
            conductor,
            rendered: None,
            awaits_reports: false,
            refused: None,
            trouble: None,
            wanted_by: None,
        }
    }

    fn turn(&mut self, event: Event, before: &Current) -> (Option<Current>, Answered) {
        match event {
            Event::Folder => (self.cycle(before, None), None),
            Event::Fleet => (self.look_at_fleet(before), None),
            Event::Wished(Wished { wish: Wish::Apply(apply), actor, answer }) => {
                let reason = apply.message.clone().unwrap_or_else(|| history::APPLIED.to_owned());
                self.wanted_by = Some(Cause { actor: actor.to_string(), reason });
                let after = self.cycle(before, Some(&apply));
                self.wanted_by = None;
                let outcome = match self.refused.take() {
                    Some(error) => Err(Failure::Failed(error).into_refusal()),
                    None => applied(before, after.as_ref().unwrap_or(before), &self.folder, &actor),
                };
                (after, Some((answer, outcome)))
            }
            Event::Wished(Wished { wish: Wish::Rollout(order), actor, answer }) => {
                match self.ordered(order, &actor, before) {
                    Ok((after, said)) => (after, Some((answer, Ok(said)))),
                    Err(error) => (None, Some((answer, Err(Failure::Failed(error).into_refusal())))),
                }
            }
        }
    }

    /// Reads everything once. `None` where nothing changed that anybody has to see.
    fn cycle(&mut self, before: &Current, apply: Option<&Apply>) -> Option<Current> {
        let mut after = self.attempt(before, apply).unwrap_or_else(|failure| Current {
            published: before.published.clone(),
            machines: Arc::clone(&before.machines),
            rollout: before.rollout.clone(),
            draft: before.draft.clone(),
            addresses: before.addresses.clone(),
            problems: problems_of(&failure),
        });
        // Whatever the inputs are by now: keys end and begin all the same, and the word is about what is served.
        after.problems.extend(to_values(&self.keys.reread(), &Sources::new()));
        after.problems.extend(self.trouble.clone());
        match self.accepted(after.published.as_deref()) {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                after.published = Some(Arc::new(accepted));
                self.serve(&mut after, before);
            }
            Err(error) => after.problems.extend(problems_of(&Failure::Failed(error))),
        }
        if let Err(error) = self.lead(&mut after) {
            after.problems.extend(problems_of(&Failure::Failed(error)));
        }
        if after.problems != before.problems {
            if !after.problems.is_empty() {
                self.board.counts().failures.count("inputs");
            }
            tell(&after);
        }
        (after != *before).then_some(after)
    }

    /// As [`Publisher::cycle`], where only the fleet has something new.
    fn look_at_fleet(&mut self, before: &Current) -> Option<Current> {
        let mut after = before.clone();
        if let Err(error) = self.lead(&mut after) {
            warn!(error = %Chain(error.as_ref()), "the rollout cannot go on");
            after.problems.retain(|problem| problem["code"] != "rollout");
            after.problems.push(json!({ "code": "rollout", "message": Chain(error.as_ref()).to_string() }));
        }
        (after != *before).then_some(after)
    }

    /// Leads what is published as far through the fleet as it can go now, and back where it has to.
    fn lead(&mut self, after: &mut Current) -> anyhow::Result<()> {
        let Some(newest) = after.published.clone() else { return Ok(()) };
        if let Some(back) = self.conductor.go_on(&newest)? {
            let reason = match self.conductor.rollout().map(|rollout| &rollout.phase) {
                Some(RolloutPhase::Halted { reason }) => reason.clone(),
                _ => format!("{} was not confirmed in time", newest.revision),
            };
            self.go_back(after, &newest, back, reason)?;
        }
        let before = after.clone();
        self.serve(after, &before);
        Ok(())
    }

    /// Publishes what was before `newest`.
    fn go_back(
        &mut self,
        after: &mut Current,
        newest: &Arc<Published>,
        back: Publication,
        reason: String,
    ) -> anyhow::Result<()> {
        let course = Course::Back { from: newest.revision, reason: reason.clone() };
        let policy = self.conductor.rollout().map_or_else(Policy::at_once, |rollout| rollout.policy.clone());
        let back = match self.conductor.origin() {
            Some(origin) => back.made_of(history::went_back(origin, newest.revision, &reason)),
            None => back,
        };
        let rejected = Rejected { revision: newest.revision, digest: newest.digest, reason };
        let rollout = self.conductor.plan(&back, Some(newest), course, policy, Terms::default());
        info!(revision = %back.revision, from = %newest.revision, "published: what was before");
        after.published = Some(self.conductor.begin(rollout, back, Some(newest), Some(rejected))?);
        let inputs = self.reader.read(&self.folder, Purpose::Use);
        if let Ok(inputs) = inputs {
            rotation::withdraw_gates(&self.folder, &inputs.kept, newest.revision)?;
        }
        // What is saved is now a draft.
        self.rendered = None;
        Ok(())
    }

    /// What every machine is told from now on.
    fn serve(&self, after: &mut Current, before: &Current) {
        after.rollout = self.conductor.rollout().cloned().map(Arc::new);
        let Some(newest) = &after.published else { return };
        let machines = self.conductor.served(newest);
        let is_same = machines.len() == before.machines.len()
            && machines
                .iter()
                .zip(before.machines.iter())
                .all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1, other.1));
        if !is_same {
            after.machines = Arc::new(machines);
        }
    }

    /// What an admin says to the rollout.
    fn ordered(
        &mut self,
        order: RolloutOrder,
        actor: &Actor,
        before: &Current,
    ) -> anyhow::Result<(Option<Current>, Said)> {
        let newest = before.published.clone().context("nothing is published yet")?;
        let mut after = before.clone();
        let what = order.name();
        match order {
            RolloutOrder::Pause => self.conductor.change(|rollout| Ok(rollout.pause(format!("{actor} paused it"))?))?,
            RolloutOrder::Resume => self.conductor.change(|rollout| Ok(rollout.resume()?))?,
            RolloutOrder::Confirm => self.conductor.change(|rollout| Ok(rollout.confirm()?))?,
            RolloutOrder::Abort => {
                self.conductor.change(|rollout| Ok(rollout.can_abort()?))?;
                let reason = format!("{actor} aborted it");
                let back = self.conductor.give_back(&newest, &reason)?;
                self.go_back(&mut after, &newest, back, reason)?;
            }
        }
        audit::append(&self.folder, actor, what, &newest.revision.to_string(), Change::default())?;
        self.lead(&mut after)?;
        let said = rollout::said(after.rollout.as_deref(), self.conductor.rests());
        Ok(((after != *before).then_some(after), said))
    }

    fn attempt(&mut self, before: &Current, apply: Option<&Apply>) -> Result<Current, Failure> {
        // Somebody who changes a secret at the same moment is no reason to fail; nobody does so for ever.
        for _ in 0..MOST_TRIES {
            if let Some(after) = self.try_once(before, apply)? {
                return Ok(after);
            }
        }
        Err(anyhow::anyhow!("the secrets change faster than they can be read").into())
    }

    /// `None` where a secret was changed by somebody else meanwhile.
    fn try_once(&mut self, before: &Current, apply: Option<&Apply>) -> Result<Option<Current>, Failure> {
        let (start, counts) = (Instant::now(), Arc::clone(self.board.counts()));
        let inputs = self.inputs()?;
        let terms = match apply.map(|apply| self.terms(apply, &inputs)).transpose() {
            Ok(terms) => terms.unwrap_or_default(),
            Err(error) => {
                // What is wrong with the wish is for whoever wished it.
                self.refused = Some(error);
                return Ok(Some(before.clone()));
            }
        };
        let mut after = Current { problems: Vec::new(), addresses: addresses(&inputs.looked.scene), ..before.clone() };
        let seen = Seen {
            text: inputs.looked.text.clone(),
            secrets: inputs.secrets.clone(),
            set: Arc::clone(&inputs.looked.set),
        };
        let previous = before.published.as_ref().map(|published| (published.revision, published.digest));
        let epoch = epoch::wanted(&self.folder)?;
        let is_in_epoch = previous.is_some_and(|(revision, _)| revision.epoch >= epoch);
        // No work without a change: the same inputs render to the same bytes.
        if !is_in_epoch || apply.is_some() || self.rendered.as_ref() != Some(&seen) {
            let policy = &inputs.looked.scene.platform().rollout;
            let evaluated = counts.render.time(|| inputs.evaluate())?;
            let mut publication = publish(previous, epoch, evaluated, policy);
            let drafted =
                publication.as_ref().and_then(|publication| self.held_back(publication, before, policy, apply));
            let is_held = drafted.is_some();
            after.draft = drafted;
            if is_held {
                publication = None;
            }
            // Good, so far: its secrets are on disk before it is.
            let kept = is_held
                || inputs.keep_secrets(&self.folder, publication.as_ref().map(|publication| publication.revision))?;
            if !kept {
                return Ok(None);
            }
            let previous_inputs = before.published.as_ref().and_then(|published| published.made_of.as_ref());
            if let Some(publication) = publication {
                let publication = self.with_origin(publication, &inputs, previous_inputs);
                let is_accepted = apply.is_some_and(|apply| apply.accept);
                let publication = if is_accepted { publication.accepted() } else { publication };
                after.published = Some(self.publish(publication, before, policy.clone(), terms)?);
                self.serve(&mut after, before);
                counts.publish.took(start.elapsed());
            }
            if !is_held {
                history::forget_announced(&self.folder, &seen.text);
            }
            self.rendered = Some(seen);
        }
        if let Some(published) = after.published.as_ref().filter(|_| after.draft.is_none()) {
            rotation::note_gates(&self.folder, &inputs.kept, published.revision)?;
        }
        Ok(Some(after))
    }

    /// What the wish to publish these inputs means, or why it is not granted.
    fn terms(&self, apply: &Apply, inputs: &Inputs) -> anyhow::Result<Terms> {
        let machines = inputs.looked.scene.machines().iter().map(|(name, machine)| (name, &machine.role)).collect();
        let hash = || fleet_plan::hash(&self.folder, inputs);
        let acting = |service: &str| {
            let plan = fleet_plan::plan(&self.folder, None, self.keys.clock().now().wall);
            let plan = plan.map_err(|_| anyhow::anyhow!("the inputs are broken: `config-leader check` tells where"))?;
            Ok(plan.acting_on(service))
        };
        apply.terms(&machines, hash, acting)
    }

    /// Keeps a new revision and begins to lead it through the fleet.
    fn publish(
        &mut self,
        publication: Publication,
        before: &Current,
        policy: Policy,
        terms: Terms,
    ) -> anyhow::Result<Arc<Published>> {
        let (revision, digest, machines) = (publication.revision, publication.digest, publication.machines.len());
        let newest = before.published.as_ref();
        let rollout = self.conductor.plan(&publication, newest, Course::Forward, policy, terms);
        // On disk before anybody sees it: a number that was seen is never given to other bytes.
        let published = self.conductor.begin(rollout, publication, newest, None)?;
        info!(%revision, machines, %digest, "published");
        Ok(published)
    }

    /// Why a good revision waits for the admin's word, if it does.
    fn held_back(
        &self,
        publication: &Publication,
        before: &Current,
        policy: &Policy,
        apply: Option<&Apply>,
    ) -> Option<Value> {
        let newest = before.published.as_ref()?;
        let held =
            |code: &str, message: String, help: &str| Some(json!({ "code": code, "message": message, "help": help }));
        let all = publication.machines.len();
        // Compared only where somebody wants to know: it looks at every file of every machine.
        let affected = || {
            let terms = Terms::default();
            self.conductor.plan(publication, Some(newest), Course::Forward, policy.clone(), terms).affected()
        };
        if let Some(most) =
            policy.max_affected.filter(|_| !apply.is_some_and(|apply| apply.accept)).map(|most| most.of(all))
            && let affected = affected()
            && affected > most
        {
            let message = format!("it changes {affected} of {all} machines, and `maxAffected` lets {most} pass");
            return held("too-many-machines", message, "if that is meant: `config-leader apply --accept`");
        }
        if apply.is_some() {
            return None;
        }
        if let Some(rejected) = self.conductor.rejected().filter(|rejected| rejected.digest == publication.digest) {
            let Rejected { revision, reason, .. } = rejected;
            let message = format!("it says what {revision} said, from which the fleet went back: {reason}");
            return held("rejected", message, "mend it, or try it once more with `config-leader apply`");
        }
        if policy.publish == Publish::Manual {
            let message = format!("it changes {} of {all} machines", affected());
            return held("manual", message, "`config-leader apply` publishes it");
        }
        None
    }

    /// The revision with what it was made of. Whatever is wrong with the history, the platform goes on.
    fn with_origin(&mut self, publication: Publication, inputs: &Inputs, previous: Option<&MadeOf>) -> Publication {
        match history::made_of(&self.folder, inputs, previous, self.wanted_by.as_ref()) {
            Ok(made_of) => publication.made_of(made_of),
            Err(error) => {
                self.trouble = Some(untold(publication.revision, &error));
                publication
            }
        }
    }

    /// The inputs, with each rotation of a secret as far as the fleet's reports let it go.
    fn inputs(&mut self) -> Result<Inputs, Failure> {
        let mut inputs = self.reader.read(&self.folder, Purpose::Use)?;
        // A phase that the fleet went back from is no phase that it is in.
        let is_in_step = self.conductor.rejected().is_none();
        if is_in_step && rotation::advance(&self.folder, &inputs, |machine| self.board.runs(machine))? {
            inputs = self.reader.read(&self.folder, Purpose::Use)?;
        }
        self.awaits_reports = rotation::is_under_way(&inputs.kept);
        self.board.decide_by_rotation(self.awaits_reports);
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

/// What came of the wish to publish.
fn applied(before: &Current, after: &Current, folder: &Folder, actor: &Actor) -> Outcome {
    if !after.problems.is_empty() {
        let error = anyhow::anyhow!("the inputs are broken, nothing was published: `config-leader check` tells where");
        return Err(Failure::Failed(error).into_refusal());
    }
    if let Some(draft) = &after.draft {
        let text = |field: &str| draft[field].as_str().unwrap_or_default().to_owned();
        let error = anyhow::anyhow!("not published: {}; {}", text("message"), text("help"));
        return Err(Failure::Failed(error).into_refusal());
    }
    if after.revision() == before.revision() {
        return Ok(rollout::nothing_to_apply(after.revision()));
    }
    let object = after.revision().map(|revision| revision.to_string()).unwrap_or_default();
    if let Err(error) = audit::append(folder, actor, "apply", &object, Change::default()) {
        warn!(error = %Chain(error.as_ref()), "the audit log does not tell of this revision");
    }
    Ok(rollout::said(after.rollout.as_deref(), false))
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
        0 => info!(serving, "all is well again"),
        problems => warn!(problems, serving, "something is wrong"),
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
        Failure::Stopped(said) => vec![said.json.clone()],
    }
}

#[cfg(test)]
mod tests;
