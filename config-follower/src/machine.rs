//! The machine: what is seen of it, and what is done to it. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use pconf_bundle::VerifiedBundle;
use pconf_containers::{Containers, EngineError, Mount, Restarted, RootNotMounted, State, host_path, own_id, restart};
use pconf_daemon::Shutdown;
use pconf_files::{FilesError, Found, Obstacle, Root};
use pconf_names::{Digest, RelativePath};
use pconf_plan::{Container, ContainerState, Observed, OnDisk, Reads, Restart, Step};

/// Restarts that go on side by side.
const SIDE_BY_SIDE: usize = 4;

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

    /// Every container that can read below the root, but our own; `None` where there is no engine.
    pub async fn containers(&self) -> Result<Option<Vec<Container>>, MachineError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let own = match &self.own {
            Some(own) => engine.look(own).await?,
            None => None,
        };
        let root = match &own {
            Some(own) => host_path(own, &self.root)?,
            None => resolved(&self.root),
        };
        let root = root.to_string_lossy().into_owned();
        let mut readers = engine.list(|seen| seen.mounts.iter().any(|mount| reads(mount, &root).is_some())).await?;
        readers.retain(|container| own.as_ref().is_none_or(|own| own.id != container.id));
        Ok(Some(readers.into_iter().map(|container| planned(container, &root)).collect()))
    }

    /// Removes drafts that a crash left in the folders on the way to these places.
    pub async fn clean_up(&self, places: Vec<RelativePath>) -> Result<(), MachineError> {
        let root = self.root.clone();
        let work = move || -> Result<(), FilesError> {
            let root = Root::create(&root)?;
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

    /// Restarts containers, some side by side; those not begun when the wish to end comes are `None`.
    pub async fn restart(&self, restarts: &[Restart], shutdown: &Shutdown) -> BTreeMap<String, Option<Restarted>> {
        let Some(engine) = &self.engine else { return BTreeMap::new() };
        let works = restarts.iter().map(|each| async move {
            let outcome = if shutdown.is_requested() { None } else { Some(restart(engine, &each.id).await) };
            (each.name.clone(), outcome)
        });
        futures_util::stream::iter(works).buffer_unordered(SIDE_BY_SIDE).collect().await
    }
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
    Container {
        reads: container.mounts.iter().filter_map(|mount| reads(mount, root)).collect(),
        state: match container.state {
            State::Running | State::Restarting => ContainerState::Up,
            State::Paused | State::Exited { .. } | State::Created => ContainerState::Stopped,
        },
        id: container.id,
        name: container.name,
        started: container.started,
    }
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
        Found::Obstacle { at, what } => OnDisk::Obstacle(pconf_plan::Obstacle {
            at,
            what: match what {
                Obstacle::SymbolicLink => "a symbolic link",
                Obstacle::HardLink => "a file with a second name (hard link)",
                Obstacle::File => "a file where a folder has to be",
                Obstacle::Special => "a device, a pipe or a socket",
            },
        }),
    })
}

fn take(root: &Root, goal: &VerifiedBundle, step: &Step) -> Result<(), FilesError> {
    match step {
        Step::MakeFolder { path, owner, mode: Some(mode), .. } => root.make_folder(path, *owner, *mode).map(drop),
        Step::MakeFolder { path, owner, mode: None, .. } => root.make_open_folder(path, *owner).map(drop),
        Step::WriteFile { path, .. } => match goal.files.iter().find(|file| file.path == *path) {
            Some(file) => root.write(path, file.content.as_bytes(), file.owner, file.mode),
            // The plan was made for this goal.
            None => Ok(()),
        },
        Step::SetPermission { path, owner, mode } => root.set_permission(path, *owner, *mode),
        Step::RemoveFile { path } => root.remove(path).map(drop),
        Step::RemoveFolder { path } => root.remove_empty_folder(path).map(drop),
    }
}
