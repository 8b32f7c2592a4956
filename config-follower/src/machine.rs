//! The machine: what is seen of it, and what is done to it. Nothing is decided here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use pconf_bundle::{Check, ComposeFile, VerifiedBundle};
use pconf_containers::{
    Acted, Containers, Ended, EngineError, Gate, Glimpse, How, Mount, RootNotMounted, State, Summary, act, host_path,
    judge, own_id, stays_well,
};
use pconf_daemon::Shutdown;
use pconf_files::{FilesError, Found, Root, Staged};
use pconf_names::{Digest, RelativePath};
use pconf_plan::{
    Action, Container, ContainerState, Ledger, Manner, Observed, OnDisk, Reads, Snapshot, Step, Stop, Trial, What,
};

/// A file that was changed by somebody else is read up to this size; a configuration is no longer.
const LONGEST_STRAY: u64 = 1024 * 1024;

/// What is seen of all containers at once, by name.
pub(crate) type Glimpses = BTreeMap<String, Glimpse>;

/// Stops and actions that go on side by side.
const SIDE_BY_SIDE: usize = 4;

/// How long services are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until it is known of each whether it is well.
    UntilAllAreKnown,
    /// Until one is not: the machine goes back then, whatever becomes of the others.
    UntilOneIsIll,
}

/// What came of actions.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    /// How each ended that did.
    pub(crate) acted: BTreeMap<String, Acted>,
    /// How long each took that was carried out.
    pub(crate) took: BTreeMap<String, Duration>,
    /// Those that were begun when another one was seen to be ill: the engine may still be at it.
    pub(crate) cut_off: BTreeSet<String>,
}

/// How long after the wish to end a container may still be seen to be well.
const LAST_WORD: Duration = Duration::from_secs(5);

/// This machine: a root folder, and the engine whose containers read it.
#[derive(Debug)]
pub struct Machine<C> {
    root: PathBuf,
    engine: Option<C>,
    /// The container that this process runs in.
    own: Option<String>,
}

/// The machine could not be looked at, or a step not be taken.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The disk's fault.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The engine's fault.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The files would reach nobody.
    #[error(transparent)]
    NotMounted(#[from] RootNotMounted),
    /// The worker thread did not come back.
    #[error("file work was given up")]
    GivenUp(#[from] tokio::task::JoinError),
}

impl<C: Containers> Machine<C> {
    /// The machine with files below `root`, and containers of `engine` if there is one.
    #[must_use]
    pub fn new(root: &Path, engine: Option<C>) -> Self {
        // Unreadable where there is no /proc: then it is no container of an engine that we know.
        let own = std::fs::read_to_string("/proc/self/mountinfo").ok().and_then(|mounts| own_id(&mounts));
        Self { root: root.to_owned(), engine, own }
    }

    /// Looks at `places` (with the sizes whose bytes matter) and at the containers.
    pub async fn observe(&self, places: BTreeMap<RelativePath, BTreeSet<u64>>) -> Result<Observed, MachineError> {
        Ok(Observed { disk: self.look(places).await?, containers: self.containers().await? })
    }

    /// What stands at `places`.
    pub async fn look(
        &self,
        places: BTreeMap<RelativePath, BTreeSet<u64>>,
    ) -> Result<BTreeMap<RelativePath, OnDisk>, MachineError> {
        let root = self.root.clone();
        Ok(tokio::task::spawn_blocking(move || look_all(&root, places)).await??)
    }

    /// Which containers the machine has and what each is doing, by name; `None` where there is no engine. One question, and
    /// none about each container.
    pub async fn glimpses(&self) -> Result<Option<Glimpses>, MachineError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        Ok(Some(engine.states().await?))
    }

    /// What there is to tell in a [`pconf_plan::Snapshot`] of a machine with this ledger. A file that was changed into
    /// something of another size is read, too: it may be what comes next.
    pub async fn survey(&self, ledger: &Ledger) -> Result<Observed, MachineError> {
        let containers = self.containers().await?;
        let (root, places) = (self.root.clone(), Snapshot::places(ledger));
        let work = move || -> Result<_, FilesError> {
            let mut disk = look_all(&root, places)?;
            let unread = |seen: &OnDisk| matches!(seen, OnDisk::File { digest: None, .. });
            if disk.values().any(unread) {
                let root = Root::open(&root)?;
                for (path, seen) in disk.iter_mut().filter(|(_, seen)| unread(seen)) {
                    let bytes = root.read(path, LONGEST_STRAY)?;
                    if let (OnDisk::File { digest, .. }, Some(bytes)) = (seen, bytes) {
                        *digest = Some(Digest::of(&bytes));
                    }
                }
            }
            Ok(disk)
        };
        Ok(Observed { disk: tokio::task::spawn_blocking(work).await??, containers })
    }

    /// Every container that reads below the root or was made from a compose file there, but our own; `None` where there is no
    /// engine.
    pub async fn containers(&self) -> Result<Option<Vec<Container>>, MachineError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let (root, own) = self.place(engine).await?;
        let concerns = |summary: &Summary| {
            summary.mounts.iter().any(|mount| reads(mount, &root).is_some())
                || made_from(&summary.labels, &root).is_some()
        };
        let mut readers = engine.list(concerns).await?;
        readers.retain(|container| Some(&container.id) != own.as_ref());
        Ok(Some(readers.into_iter().map(|container| planned(container, &root)).collect()))
    }

    /// Waits until the engine tells that one of these containers was started, ended, removed or fell ill; for ever where
    /// nothing can be heard of them. Cancel-safe: it only listens.
    pub async fn news_of(&self, names: &[String]) {
        let heard = match &self.engine {
            Some(engine) if !names.is_empty() => engine.news_of(names).await.is_ok(),
            Some(_) | None => false,
        };
        if !heard {
            std::future::pending::<()>().await;
        }
    }

    /// What the root is called on the engine's host, and the id of our own container.
    async fn place(&self, engine: &C) -> Result<(String, Option<String>), MachineError> {
        let own = match &self.own {
            Some(own) => engine.look(own).await?,
            None => None,
        };
        let root = match &own {
            Some(own) => host_path(own, &self.root)?,
            None => resolved(&self.root),
        };
        Ok((root.to_string_lossy().into_owned(), own.map(|own| own.id)))
    }

    /// Removes drafts that a crash left in the folders on the way to these places.
    pub async fn clean_up(&self, places: Vec<RelativePath>) -> Result<(), MachineError> {
        let root = self.root.clone();
        let work = move || -> Result<(), FilesError> {
            let root = match Root::open(&root) {
                // Nothing was begun, or somebody took it away.
                Err(error) if error.kind() == Some(std::io::ErrorKind::NotFound) => return Ok(()),
                root => root?,
            };
            let above = places.iter().flat_map(|place| std::iter::successors(place.parent(), RelativePath::parent));
            let folders: BTreeSet<RelativePath> = above.collect();
            root.clean_drafts(None)?;
            folders.iter().try_for_each(|folder| root.clean_drafts(Some(folder)).map(drop))
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    /// Carries out file steps, in order, up to the first that fails.
    pub async fn carry_out(&self, goal: &Arc<VerifiedBundle>, steps: Vec<Step>) -> Result<(), MachineError> {
        let (root, goal) = (self.root.clone(), Arc::clone(goal));
        let work = move || {
            let root = Root::create(&root)?;
            steps.iter().try_for_each(|step| take(&root, &goal, step))
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    /// Stops containers side by side; those that are gone are stopped.
    pub async fn stop(&self, stops: &[Stop]) -> Result<(), MachineError> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let works = stops.iter().map(|each| async move {
            match engine.look(&each.id).await? {
                Some(container) => engine.stop(&container).await,
                None => Ok(()),
            }
        });
        let stopped: Vec<Result<(), EngineError>> =
            futures_util::stream::iter(works).buffer_unordered(SIDE_BY_SIDE).collect().await;
        Ok(stopped.into_iter().collect::<Result<_, _>>()?)
    }

    /// Acts on containers, some side by side, and sees whether they are well. Those not begun when the wish to end comes are
    /// left out, and so are those that are not seen to be well soon after it: what was done to them stays owed.
    pub(crate) async fn act(&self, actions: &[Action], patience: Patience, shutdown: &Shutdown) -> Deeds {
        let mut deeds = Deeds::default();
        let Some(engine) = &self.engine else { return deeds };
        let begun = RefCell::new(BTreeSet::new());
        let works = actions.iter().map(|each| async {
            let mut shutdown = shutdown.clone();
            if shutdown.is_requested() {
                return None;
            }
            begun.borrow_mut().insert(each.name.clone());
            let since = Instant::now();
            let late = async {
                shutdown.requested().await;
                tokio::time::sleep(LAST_WORD).await;
            };
            tokio::select! {
                acted = self.act_once(engine, each) => Some((each.name.clone(), acted, since.elapsed())),
                () = late => None,
            }
        });
        let mut works = futures_util::stream::iter(works).buffer_unordered(SIDE_BY_SIDE);
        while let Some(done) = works.next().await {
            let Some((name, acted, took)) = done else { continue };
            let ends = patience == Patience::UntilOneIsIll && matches!(acted, Acted::Unhealthy { .. });
            deeds.took.insert(name.clone(), took);
            deeds.acted.insert(name, acted);
            if ends {
                deeds.cut_off = begun.take();
                deeds.cut_off.retain(|name| !deeds.acted.contains_key(name));
                break;
            }
        }
        drop(works);
        if !deeds.cut_off.is_empty() {
            // Whoever goes back from here has to see what compose has made of it.
            engine.settle().await;
        }
        deeds
    }

    async fn act_once(&self, engine: &C, action: &Action) -> Acted {
        let gate = Gate { health: action.health.clone(), limit: Duration::from_secs(action.limit.into()) };
        let how = match &action.what {
            What::Verify => return judge(engine, action.id.as_deref().unwrap_or(&action.name), "", &gate).await,
            What::Signal(signal) => How::Signal(signal.clone()),
            What::Exec(command) => How::Exec(command.clone()),
            What::Restart => How::Restart,
            What::Start => How::Start,
            What::Remove => How::Remove,
            What::Recreate { file, project, service } => How::Recreate {
                file: self.root.join(file.as_str()),
                project: project.clone(),
                service: service.clone(),
            },
        };
        act(engine, &action.name, action.id.as_deref(), &how, &gate).await
    }

    /// Watches containers side by side for so long; the first one that does not stay well, or cannot be watched, ends it.
    pub(crate) async fn stay_well(&self, watched: &[(&Container, Manner)], span: Duration) -> Option<(String, Acted)> {
        let engine = self.engine.as_ref()?;
        let works = watched.iter().map(|(container, manner)| async move {
            let gate = Gate { health: manner.health.clone(), limit: Duration::from_secs(manner.limit.into()) };
            (container.name.clone(), stays_well(engine, &container.id, &gate, span).await)
        });
        let mut works = works.collect::<futures_util::stream::FuturesUnordered<_>>();
        while let Some((name, acted)) = works.next().await {
            if matches!(acted, Acted::Unhealthy { .. } | Acted::NotTried { .. }) {
                return Some((name, acted));
            }
        }
        None
    }

    /// Removes what a crash left of trials.
    pub async fn sweep(&self) -> Result<(), MachineError> {
        if let Some(engine) = &self.engine {
            engine.sweep().await?;
        }
        Ok(())
    }

    /// Lets an application judge its new files before any of them is in place; what it said, if it does not like them.
    pub async fn try_out(&self, goal: &Arc<VerifiedBundle>, trial: &Trial) -> Result<Option<String>, MachineError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let Some(container) = engine.look(&trial.id).await? else { return Ok(None) };
        let (root, _) = self.place(engine).await?;
        let mounts = container.mounts.iter().filter_map(|mount| Some((mount, reads(mount, &root)?)));
        let limit = Duration::from_secs(trial.limit.into());
        let tried = match &trial.check {
            Check::Run(command) => {
                let mounts: Vec<(&Mount, Reads)> = mounts.collect();
                let staged = self.stage(goal, None, mounts.iter().map(|(_, seen)| seen.clone()).collect()).await?;
                let host = Path::new(&root).join(staged.path().as_str());
                let swaps = mounts.iter().filter_map(|(mount, seen)| {
                    let staged = match seen {
                        Reads::Everything => host.clone(),
                        Reads::Within(place) => {
                            // A folder without files of ours is seen as it is.
                            goal.files.iter().find(|file| file.path.is_within(place))?;
                            host.join(place.as_str())
                        }
                    };
                    Some((mount.source.clone(), staged))
                });
                engine.try_out(&container, command, &swaps.collect::<Vec<_>>(), limit).await
            }
            // Nothing can be asked of one that does not run; it is seen whether it likes its files when it is started.
            Check::Exec(_) if container.state != State::Running => return Ok(None),
            Check::Exec(command) => {
                let mut folders = mounts.filter(|(_, seen)| !goal.files.iter().any(|file| is_alone(seen, &file.path)));
                let Some((mount, seen)) =
                    folders.find(|(_, seen)| goal.files.iter().any(|file| seen.shows(&file.path)))
                else {
                    let name = &trial.name;
                    return Ok(Some(format!(
                        "`{name}` mounts no folder with files of ours, so nothing can be tried in it"
                    )));
                };
                let staged = self.stage(goal, Some(seen.clone()), vec![seen]).await?;
                let name = staged.path().file_name().to_owned();
                let inside = mount.destination.join(name).to_string_lossy().into_owned();
                let command: Vec<String> = command.iter().map(|word| word.replace("{staged}", &inside)).collect();
                let tried = engine.execute(&container, &command, limit).await;
                drop(staged);
                tried
            }
        };
        match tried {
            Ok(Ended { code: 0, .. }) => Ok(None),
            Ok(Ended { code, output }) => Ok(Some(format!("it ended with code {code}: {}", output.trim()))),
            Err(late @ EngineError::NotEnded { .. }) => Ok(Some(late.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// The goal's files that are seen through these mounts, in a tree of their own: at the top of the root, or in a mount with
    /// paths as that mount shows them.
    async fn stage(
        &self,
        goal: &Arc<VerifiedBundle>,
        within: Option<Reads>,
        seen: Vec<Reads>,
    ) -> Result<Staged, MachineError> {
        let (root, goal) = (self.root.clone(), Arc::clone(goal));
        let work = move || {
            let root = Root::create(&root)?;
            let folder = match &within {
                Some(Reads::Within(folder)) => Some(folder),
                Some(Reads::Everything) | None => None,
            };
            let shown = goal.files.iter().filter(|file| seen.iter().any(|seen| seen.shows(&file.path)));
            let files = shown.filter_map(|file| {
                let path = match folder {
                    Some(folder) => file.path.below(folder)?,
                    None => file.path.clone(),
                };
                Some((path, file.content.as_bytes(), file.owner, file.mode))
            });
            let files: Vec<_> = files.collect();
            if let Some(folder) = folder {
                let owner = goal.files.first().map(|file| file.owner);
                if let Some(owner) = owner {
                    root.make_open_folder(folder, owner)?;
                }
            }
            root.stage_in(folder, "trial", &files)
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }
}

/// Whether a mount shows nothing but the file at `path`.
fn is_alone(seen: &Reads, path: &RelativePath) -> bool {
    matches!(seen, Reads::Within(place) if place == path)
}

/// The folder without symbolic links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What a mount shows of the root. A source that this process cannot see (it runs in a container) stays as the engine
/// wrote it.
fn reads(mount: &Mount, root: &str) -> Option<Reads> {
    let direct = Reads::of_mount(root, &mount.source.to_string_lossy());
    direct.or_else(|| Reads::of_mount(root, &resolved(&mount.source).to_string_lossy()))
}

fn planned(container: pconf_containers::Container, root: &str) -> Container {
    let own_labels = container
        .labels
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix("config-follower.")?.to_owned(), text.clone())));
    Container {
        reads: container.mounts.iter().filter_map(|mount| reads(mount, root)).collect(),
        state: doing(container.state),
        service: container.compose().map_or(container.name.clone(), |(_, service)| service.to_owned()),
        made_from: made_from(&container.labels, root),
        labels: own_labels.collect(),
        id: container.id,
        name: container.name,
        started: container.started,
    }
}

/// What each container is doing.
pub(crate) fn states(glimpses: &Glimpses) -> BTreeMap<String, ContainerState> {
    glimpses.iter().map(|(name, seen)| (name.clone(), doing(seen.state))).collect()
}

fn doing(state: State) -> ContainerState {
    match state {
        State::Running | State::Restarting => ContainerState::Up,
        State::Exited { died: true, .. } => ContainerState::Died,
        State::Paused | State::Exited { died: false, .. } | State::Created => ContainerState::Stopped,
    }
}

/// The compose file below the root that a container was made from; none where it was made from several.
fn made_from(labels: &BTreeMap<String, String>, root: &str) -> Option<ComposeFile> {
    let label = |name: &str| labels.get(&format!("com.docker.compose.{name}"));
    let file = Path::new(label("project.config_files")?);
    // A relative name, as docker-compose 1.29 writes it, starts at the working folder.
    let file = Path::new(label("project.working_dir").map_or("/", String::as_str)).join(file);
    let below = |file: &Path| match Reads::of_mount(root, &file.to_string_lossy())? {
        Reads::Within(path) => Some(path),
        Reads::Everything => None,
    };
    let file = below(&file).or_else(|| below(&resolved(&file)))?;
    Some(ComposeFile { file, project: label("project")?.clone() })
}

fn look_all(
    root: &Path,
    places: BTreeMap<RelativePath, BTreeSet<u64>>,
) -> Result<BTreeMap<RelativePath, OnDisk>, FilesError> {
    let root = match Root::open(root) {
        Ok(root) => root,
        // It is made with the first file.
        Err(error) if error.kind() == Some(std::io::ErrorKind::NotFound) => {
            return Ok(places.into_keys().map(|path| (path, OnDisk::Nothing)).collect());
        }
        Err(error) => return Err(error),
    };
    places.into_iter().map(|(path, sizes)| Ok((path.clone(), look(&root, &path, &sizes)?))).collect()
}

fn look(root: &Root, path: &RelativePath, sizes: &BTreeSet<u64>) -> Result<OnDisk, FilesError> {
    Ok(match root.look(path)? {
        Found::Nothing => OnDisk::Nothing,
        Found::Folder => OnDisk::Folder,
        Found::File(file) => {
            let bytes = if sizes.contains(&file.size) { root.read(path, file.size)? } else { None };
            OnDisk::File { digest: bytes.map(|bytes| Digest::of(&bytes)), owner: file.owner, mode: file.mode }
        }
        Found::Obstacle { at, what } => OnDisk::Obstacle(pconf_plan::Obstacle { at, what: what.as_str().into() }),
    })
}

fn take(root: &Root, goal: &VerifiedBundle, step: &Step) -> Result<(), FilesError> {
    match step {
        Step::MakeFolder { path, owner, mode: Some(mode), .. } => root.make_folder(path, *owner, *mode).map(drop),
        Step::MakeFolder { path, owner, mode: None, .. } => root.make_open_folder(path, *owner).map(drop),
        Step::WriteFile { path, in_place, .. } => match goal.files.iter().find(|file| file.path == *path) {
            Some(file) if *in_place => root.rewrite(path, file.content.as_bytes(), file.owner, file.mode),
            Some(file) => root.write(path, file.content.as_bytes(), file.owner, file.mode),
            // The plan was made for this goal.
            None => Ok(()),
        },
        Step::SetPermission { path, owner, mode } => root.set_permission(path, *owner, *mode),
        Step::RemoveFile { path } => root.remove(path).map(drop),
        Step::RemoveFolder { path } => root.remove_empty_folder(path).map(drop),
    }
}
