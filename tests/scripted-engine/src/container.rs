//! A container without a process: what it is doing, and what its process would have read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::spec::{Script, Spec};

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It died and is about to be started again.
    Restarting,
    /// It is frozen.
    Paused,
    /// It ended with this code.
    Exited(i64),
    /// It was made and never started.
    Created,
}

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) spec: Spec,
    /// The names of mounted volumes, by where the container sees them.
    pub(crate) volumes: BTreeMap<PathBuf, String>,
    pub(crate) state: State,
    pub(crate) started: String,
    pub(crate) restarts: i64,
    pub(crate) start_error: String,
    pub(crate) health: Option<Health>,
    pub(crate) log: Vec<String>,
    pub(crate) has_read: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) when_read: SystemTime,
    /// For one that tries something out: like whom, and what.
    pub(crate) trial: Option<Trial>,
    /// A mounted file stays the file that it was at the start, whatever takes its name.
    held: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) like: String,
    pub(crate) command: Vec<String>,
    pub(crate) hangs: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Health {
    pub(crate) status: &'static str,
    pub(crate) passed: Option<String>,
}

impl Container {
    pub(crate) fn new(id: String, (spec, volumes): (Spec, BTreeMap<PathBuf, String>)) -> Self {
        Self {
            id,
            volumes,
            health: spec.has_healthcheck.then_some(Health { status: "starting", passed: None }),
            spec,
            state: State::Created,
            started: "0001-01-01T00:00:00Z".to_owned(),
            restarts: 0,
            start_error: String::new(),
            log: Vec::new(),
            has_read: BTreeMap::new(),
            when_read: SystemTime::UNIX_EPOCH,
            trial: None,
            held: BTreeMap::new(),
        }
    }

    /// Starts it; the error is the engine's.
    pub(crate) fn start(&mut self, scripts: &[Script]) -> Result<(), String> {
        let refusal = scripts.iter().find_map(|script| match script {
            Script::CannotStart(error) => Some(error.clone()),
            _ => None,
        });
        if let Some(error) = refusal {
            self.start_error.clone_from(&error);
            self.state = State::Exited(128);
            return Err(error);
        }
        self.start_error.clear();
        self.restarts = 0;
        self.started = now();
        self.state = State::Running;
        let is_file = |source: &Path| source.is_file();
        let files = self.spec.mounts.iter().map(|(source, _)| source).filter(|source| is_file(source));
        self.held = files.filter_map(|source| Some((source.clone(), File::open(source).ok()?))).collect();
        self.read(scripts);
        if let Some(code) = scripts.iter().find_map(|script| match script {
            Script::Dies(code) => Some(*code),
            _ => None,
        }) {
            self.log.push(format!("ends with code {code}"));
            self.state = State::Exited(code);
        }
        Ok(())
    }

    /// Reads all below its mounts, as a program does at its start and when it is told to reload, and takes it well or
    /// not.
    pub(crate) fn read(&mut self, scripts: &[Script]) {
        self.has_read = self.spec.mounts.iter().flat_map(|(source, _)| files_below(source)).collect();
        for (path, file) in &mut self.held {
            let mut bytes = Vec::new();
            if file.rewind().and_then(|()| file.read_to_end(&mut bytes)).is_ok() {
                self.has_read.insert(path.clone(), bytes);
            }
        }
        self.when_read = SystemTime::now();
        self.log.push(format!("read {} files", self.has_read.len()));
        for script in scripts {
            if let Script::DiesIf { contains } = script
                && let Some(line) = line_with(&self.has_read, contains)
            {
                self.log.push(format!("cannot use `{line}`"));
                self.state = State::Exited(1);
            }
        }
        self.check_health(scripts);
    }

    /// One look passes: a loop goes round, and the HEALTHCHECK runs once more.
    pub(crate) fn pass_time(&mut self, scripts: &[Script]) {
        let loops = |script: &Script| match script {
            Script::Loops => true,
            Script::LoopsIf { contains } => line_with(&self.has_read, contains).is_some(),
            _ => false,
        };
        if self.state == State::Running && scripts.iter().any(loops) {
            self.restarts += 1;
            self.started = now();
        }
        self.check_health(scripts);
    }

    fn check_health(&mut self, scripts: &[Script]) {
        let is_ill = |script: &Script| match script {
            Script::UnhealthyIf { contains } => line_with(&self.has_read, contains).is_some(),
            _ => false,
        };
        let is_ill = scripts.iter().any(is_ill);
        let Some(health) = &mut self.health else { return };
        if scripts.contains(&Script::NeverHealthy) {
            health.status = "starting";
        } else if is_ill {
            health.status = "unhealthy";
        } else {
            *health = Health { status: "healthy", passed: Some(now()) };
        }
    }

    /// The files that a command sees: those that its arguments name, else all below the mounts.
    pub(crate) fn seen_by(&self, command: &[String]) -> BTreeMap<PathBuf, Vec<u8>> {
        let on_host = |argument: &String| {
            let mut inside = self.spec.mounts.iter().filter_map(|(source, destination)| {
                let rest = Path::new(argument).strip_prefix(destination).ok()?;
                Some(if rest.as_os_str().is_empty() { source.clone() } else { source.join(rest) })
            });
            inside.next_back()
        };
        let named: BTreeMap<_, _> = command.iter().filter_map(on_host).flat_map(|path| files_below(&path)).collect();
        if named.is_empty() {
            return self.spec.mounts.iter().flat_map(|(source, _)| files_below(source)).collect();
        }
        named
    }

    /// How a command ends that this container, or one like it, runs: its code and its output; `None` when it never does.
    pub(crate) fn run(&self, command: &[String], scripts: &[Script]) -> Option<(i64, String)> {
        if scripts.contains(&Script::CommandHangs) {
            return None;
        }
        let seen = self.seen_by(command);
        let failure = scripts.iter().find_map(|script| match script {
            Script::CommandFailsIf { contains, output } => line_with(&seen, contains).map(|_| output.clone()),
            _ => None,
        });
        Some(failure.map_or((0, String::new()), |output| (1, output)))
    }
}

/// Now, as the engine writes it; no two of them are the same.
pub(crate) fn now() -> String {
    let now = time::OffsetDateTime::now_utc();
    now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

fn line_with(files: &BTreeMap<PathBuf, Vec<u8>>, text: &str) -> Option<String> {
    let lines = |bytes: &Vec<u8>| {
        let all = String::from_utf8_lossy(bytes).into_owned();
        all.lines().find(|line| line.contains(text)).map(str::to_owned)
    };
    files.values().find_map(lines)
}

/// Every file at or below a path, with its bytes; symbolic links are not followed.
fn files_below(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(about) = fs::symlink_metadata(path) else { return Vec::new() };
    if about.is_file() {
        return fs::read(path).map(|bytes| vec![(path.to_owned(), bytes)]).unwrap_or_default();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.flat_map(|entry| files_below(&entry.path())).collect()
}
