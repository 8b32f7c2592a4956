//! One follower on one machine: started, struck, killed, asked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context as _, Result, ensure};
use promises::{Program, Tree, eventually, read_tree};
use rustix::process::{Pid, Signal, kill_process};
use scripted_engine::{Fate, ScriptedEngine};
use serde_json::Value;

/// A machine with its follower, which runs only while it is told to.
pub(crate) struct Follower {
    folder: PathBuf,
    pub(crate) engine: ScriptedEngine,
}

/// What befalls one cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The n-th effect on the disk fails so, or the process is gone before it.
    Effect { number: usize, line: String, how: &'static str },
    /// So does the n-th of the calls of the engine that are described by these words.
    Call { call: String, nth: usize, how: CallFault },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFault {
    Refused,
    Hangs,
    Breaks,
    BreaksAfter,
    KilledBefore,
    KilledAfter,
}

impl Follower {
    /// Every copy of a machine has the identity of that one machine.
    pub(crate) fn new(folder: &Path, engine: ScriptedEngine, configuration: &Value, identity: &[u8]) -> Result<Self> {
        let follower = Self { folder: folder.to_owned(), engine };
        fs::write(follower.configuration(), configuration.to_string())?;
        let state = folder.join("state");
        fs::create_dir_all(&state)?;
        fs::write(state.join("identity.json"), identity)?;
        for (path, mode) in [(follower.configuration(), 0o600), (state.join("identity.json"), 0o600), (state, 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        Ok(follower)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("config-follower.json")
    }

    /// Has it put right what is no longer as it was left.
    pub(crate) fn repair_drift(&self) -> Result<()> {
        let mut configuration: Value = serde_json::from_slice(&fs::read(self.configuration())?)?;
        configuration["drift"] = "repair".into();
        Ok(fs::write(self.configuration(), configuration.to_string())?)
    }

    /// `config-follower once`.
    pub(crate) fn once(&self) -> Result<Output> {
        Ok(self.command("once")?.output()?)
    }

    /// The same, where nothing may go wrong.
    pub(crate) fn succeed(&self) -> Result<()> {
        let output = self.once()?;
        ensure!(output.status.code() == Some(0), "it fails before any fault: {}", told(&output));
        Ok(())
    }

    /// The same, and the effects on the disk that it had.
    pub(crate) fn once_counted(&self) -> Result<(Output, Vec<String>)> {
        let log = self.folder.join("effects");
        let output = self.command("once")?.env("PCONF_FAULT_LOG", &log).output()?;
        let effects = fs::read_to_string(log).context("no effect was counted")?;
        Ok((output, effects.lines().map(str::to_owned).collect()))
    }

    /// The same, struck. What it had started goes on without it, as compose does, and has ended when this returns.
    pub(crate) fn once_struck(&self, fault: &Fault) -> Result<Output> {
        let output = self.once_until(fault)?;
        eventually("what a killed follower had started ends", || Ok((!self.is_at_work()?).then_some(())))?;
        Ok(output)
    }

    fn once_until(&self, fault: &Fault) -> Result<Output> {
        match fault {
            Fault::Effect { number, how, .. } => {
                Ok(self.command("once")?.env("PCONF_FAULT", format!("{number}:{how}")).output()?)
            }
            Fault::Call { call, nth, how } => {
                let process = Arc::new(AtomicI32::new(0));
                let (call, how, victim, mut seen) = (call.clone(), *how, Arc::clone(&process), 0);
                let nth = *nth;
                self.engine.on_call(move |_, what| {
                    seen += usize::from(plain(what) == call);
                    if seen != nth || plain(what) != call {
                        return Fate::Serve;
                    }
                    seen += 1;
                    let victim = Arc::clone(&victim);
                    match how {
                        CallFault::Refused => Fate::Refuse,
                        CallFault::Hangs => Fate::Hang,
                        CallFault::Breaks => Fate::Break,
                        CallFault::BreaksAfter => Fate::BreakAfter,
                        CallFault::KilledBefore => {
                            kill(&victim);
                            Fate::Break
                        }
                        CallFault::KilledAfter => Fate::ServeThen(Box::new(move || kill(&victim))),
                    }
                });
                let child = self.command("once")?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
                process.store(i32::try_from(child.id())?, Ordering::SeqCst);
                let output = child.wait_with_output()?;
                self.engine.on_call(|_, _| Fate::Serve);
                Ok(output)
            }
        }
    }

    /// What `config-follower status` says.
    pub(crate) fn status(&self) -> Result<Value> {
        let output = self.command("status")?.args(["--output", "json"]).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("status says {}", told(&output)))
    }

    /// Everything below the root.
    pub(crate) fn tree(&self) -> Result<Tree> {
        let root = self.root();
        if root.exists() { read_tree(&root) } else { Ok(Tree::new()) }
    }

    /// The names in the state folder.
    pub(crate) fn state(&self) -> Result<Vec<String>> {
        Ok(read_tree(&self.folder.join("state"))?.into_keys().collect())
    }

    /// What a container has read, by path below the root.
    pub(crate) fn has_read(&self, container: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.root();
        let below = |path: PathBuf| path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        let read = self.engine.has_read(container).into_iter().map(|(path, bytes)| (below(path), bytes));
        read.filter(|(path, _)| !path.contains(DRAFT)).collect()
    }

    /// Whether a program runs that is of this follower, or is compose for it.
    fn is_at_work(&self) -> Result<bool> {
        let marks = [self.configuration(), self.engine.programs()];
        let marks = marks.map(|path| path.into_os_string().into_encoded_bytes());
        for process in fs::read_dir("/proc")?.flatten() {
            // Most of what is here is no process, and some processes end meanwhile.
            let Ok(words) = fs::read(process.path().join("cmdline")) else { continue };
            if marks.iter().any(|mark| words.windows(mark.len()).any(|part| part == mark)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn command(&self, command: &str) -> Result<Command> {
        let program = Program::path_of_ours("config-follower-faults").context(
            "cargo build --workspace --features config-follower/faults --bin config-follower-faults makes it",
        )?;
        let mut path: OsString = self.engine.programs().into();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut program = Command::new(program);
        program.arg(command).arg("--config").arg(self.configuration()).env("PATH", path).stdin(Stdio::null());
        for variable in ["RUST_LOG", "CONFIG_FOLLOWER_CONFIG", "PCONF_FAULT", "PCONF_FAULT_LOG"] {
            program.env_remove(variable);
        }
        Ok(program)
    }
}

/// How drafts are called while they are none of anybody's files.
pub(crate) const DRAFT: &str = ".pconf-draft-";

/// A call without what differs from run to run.
pub(crate) fn plain(call: &str) -> String {
    let words = call.split(' ').map(|word| if word.contains(DRAFT) { "{staged}" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{} {}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Kills a follower at this very moment.
fn kill(process: &AtomicI32) {
    // Its number may be put down a moment after its first call.
    while process.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    if let Some(process) = Pid::from_raw(process.load(Ordering::SeqCst)) {
        let _ = kill_process(process, Signal::KILL);
    }
}
