//! A Docker engine for tests, for what cannot be made to happen with a real one.
//!
//! It speaks the engine's HTTP API (version 1.41) on a Unix socket, so that the real client and the real programs talk to
//! it. Its containers have no processes, but they have read what a process would have read: at each start, signal and
//! reload a container reads the files below its mounts from the real disk ([`ScriptedEngine::has_read`]). What becomes of
//! a container is told by [`Script`]s, what becomes of a call by [`Fate`]s. Every call that changes something is
//! remembered ([`ScriptedEngine::calls`]).

mod answer;
mod call;
mod compose;
mod container;
mod fate;
mod json;
mod server;
mod spec;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use tokio::sync::oneshot;

use crate::container::Container;
pub use crate::container::State;
pub use crate::fate::Fate;
use crate::fate::Hook;
pub use crate::spec::{Script, Spec};

/// An engine; clones are the same one. It ends when the last of them is dropped.
#[derive(Debug, Clone)]
pub struct ScriptedEngine(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    socket: PathBuf,
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the engine's thread and the test share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    hook: Mutex<Hook>,
}

/// All that the engine knows.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    containers: Vec<Container>,
    /// Volumes that are other names of folders.
    volumes: BTreeMap<String, PathBuf>,
    scripts: BTreeMap<String, Vec<Script>>,
    execs: BTreeMap<String, call::Exec>,
    changes: Vec<String>,
    all: Vec<String>,
    made: u64,
    is_down: bool,
}

impl Shared {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hook(&self) -> MutexGuard<'_, Hook> {
        self.hook.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// An id as the engine writes them.
    pub(crate) fn new_id(&mut self) -> String {
        self.made += 1;
        format!("{:08x}{:056x}", self.made, 0)
    }

    pub(crate) fn scripts(&self, name: &str) -> &[Script] {
        self.scripts.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn container(&mut self, id_or_name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|each| each.id == id_or_name || each.spec.name == id_or_name)
    }

    /// With volumes replaced by the folders that they are other names of.
    pub(crate) fn on_disk(&self, mut spec: Spec) -> (Spec, BTreeMap<PathBuf, String>) {
        let mut names = BTreeMap::new();
        for (source, destination) in &mut spec.mounts {
            let name = source.to_str().and_then(|source| source.strip_prefix("volume:")).map(str::to_owned);
            if let Some(name) = name {
                *source = self.volumes.get(&name).cloned().unwrap_or_default();
                names.insert(destination.clone(), name);
            }
        }
        (spec, names)
    }

    fn make(&mut self, spec: Spec) {
        let id = self.new_id();
        let mut container = Container::new(id, self.on_disk(spec));
        // Nothing is scripted to go wrong before the test begins.
        drop(container.start(&[]));
        self.containers.push(container);
    }
}

impl ScriptedEngine {
    /// Starts an engine on a socket, with no containers.
    pub fn start(socket: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let compose = compose::install(socket)?;
        let listener = std::os::unix::net::UnixListener::bind(socket)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || runtime.block_on(server::serve(listener, compose, served, ended)));
        Ok(Self(Arc::new(Handle { socket: socket.to_owned(), shared, end: Some(end), thread: Some(thread) })))
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.0.socket
    }

    /// The folder with a stand-in for compose, to be the first in `PATH`.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        compose::folder(&self.0.socket)
    }

    /// Adds a running container with these mounts: where it is on the host, and where the container sees it.
    pub fn add(&self, name: &str, mounts: &[(&Path, &str)]) {
        let mounts = mounts.iter().map(|(source, destination)| (source.to_path_buf(), (*destination).into())).collect();
        self.add_with(Spec { name: name.to_owned(), mounts, ..Spec::default() });
    }

    /// Adds a running container.
    pub fn add_with(&self, spec: Spec) {
        self.inner().make(spec);
    }

    /// Makes and starts the container of a service of a compose file, as its operator does.
    pub fn add_of_compose(&self, project: &str, file: &Path, service: &str) -> io::Result<()> {
        compose::up(&mut self.inner(), project, file, service).map(drop).map_err(io::Error::other)
    }

    /// Adds a volume of the driver `local` that is another name of a folder; mount it as `volume:NAME`.
    pub fn add_volume(&self, name: &str, device: &Path) {
        self.inner().volumes.insert(name.to_owned(), device.to_owned());
    }

    /// Takes a container away, as `docker rm -f` does.
    pub fn remove(&self, name: &str) {
        self.inner().containers.retain(|each| each.spec.name != name);
    }

    /// Sets what a container is doing, as somebody else made it.
    pub fn set_state(&self, name: &str, state: State) {
        if let Some(container) = self.inner().container(name) {
            container.state = state;
        }
    }

    /// What a container is doing.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<State> {
        self.inner().container(name).map(|container| container.state.clone())
    }

    /// Says how the container of this name behaves from now on, and every one that is made under the name later; in place
    /// of what was said before. Without scripts it starts, reads and holds.
    pub fn script(&self, name: &str, scripts: impl Into<Vec<Script>>) {
        self.inner().scripts.insert(name.to_owned(), scripts.into());
    }

    /// Adds a line to the log of a container.
    pub fn say(&self, name: &str, line: &str) {
        if let Some(container) = self.inner().container(name) {
            container.log.push(line.to_owned());
        }
    }

    /// Whether nobody answers on the socket.
    pub fn set_down(&self, is_down: bool) {
        self.inner().is_down = is_down;
    }

    /// Decides the fate of every call from now on. Calls are counted from 1, questions too, but not those for the version;
    /// they are described as in [`ScriptedEngine::calls`], questions by words like `list` and `look core`. The engine may
    /// be used in there.
    pub fn on_call(&self, decide: impl FnMut(usize, &str) -> Fate + Send + 'static) {
        let count = self.0.shared.inner().all.len();
        *self.0.shared.hook() = Hook::new(count, decide);
    }

    /// The `nth` call from now on meets this fate, once.
    pub fn fail_call(&self, nth: usize, fate: Fate) {
        let mut fate = Some(fate);
        self.on_call(move |n, _| if n == nth { fate.take().unwrap_or(Fate::Serve) } else { Fate::Serve });
    }

    /// Every call that changed something, in order, e.g. `restart core`, `signal nginx SIGHUP`, `exec nginx nginx -s
    /// reload`, `try nginx nginx -t`, `compose up core`, `stop core`, `start core`, `remove core`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.inner().changes.clone()
    }

    /// Every call, questions too.
    #[must_use]
    pub fn all_calls(&self) -> Vec<String> {
        self.inner().all.clone()
    }

    /// Forgets the calls.
    pub fn forget_calls(&self) {
        self.inner().changes.clear();
    }

    /// The names of the containers that were restarted, in order.
    #[must_use]
    pub fn restarts(&self) -> Vec<String> {
        let calls = self.calls();
        calls.iter().filter_map(|call| call.strip_prefix("restart ")).map(str::to_owned).collect()
    }

    /// What a container read when it last started or reloaded, by path on the host; empty for one that is not there.
    #[must_use]
    pub fn has_read(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        self.inner().container(name).map(|container| container.has_read.clone()).unwrap_or_default()
    }

    /// When that was.
    #[must_use]
    pub fn when_read(&self, name: &str) -> Option<SystemTime> {
        self.inner().container(name).map(|container| container.when_read)
    }

    /// The id of a container.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<String> {
        self.inner().container(name).map(|container| container.id.clone())
    }

    /// The names of all containers, those that try something out included.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.inner().containers.iter().map(|each| each.spec.name.clone()).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.shared.inner()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Without a receiver the thread has ended already.
        let _ = self.end.take().map(|end| end.send(()));
        // The hook may hold the last clone; then this runs on the engine's own thread, which cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}
