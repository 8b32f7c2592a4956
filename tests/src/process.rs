//! Programs that keep running: started the way an operator starts them, ended with their owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::Program;
use crate::wait::eventually;

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; what it prints is appended to `log`.
    pub fn start(program: Program, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let mut command = program.into_command();
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        remember(&child)?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it occupies, in bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("the program runs")?;
        let kibibytes: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
        Ok(kibibytes * 1024)
    }

    /// How long it has worked on any processor so far (`schedstat` of its threads, proc(5)).
    pub fn processor_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            // One that has ended since is not missed much: it spent its time before.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanoseconds += text.split_whitespace().next().context("a number")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// All that it has printed.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Asks it to end (SIGTERM) and waits until it did; its exit code, `None` when the signal itself ended it.
    pub fn end(mut self) -> Result<Option<i32>> {
        self.signal(Signal::TERM)?;
        let status = eventually("the program ends after SIGTERM", || Ok(self.child.try_wait()?))?;
        Ok(status.code())
    }

    /// Ends it at once (SIGKILL), as a power failure would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no such process id")?;
        Ok(kill_process(pid, signal)?)
    }
}

/// Notes it in the file that `PCONF_STARTED` names, so that a script can end what a killed caller left running.
fn remember(child: &Child) -> Result<()> {
    if let Some(list) = std::env::var_os("PCONF_STARTED") {
        let mut file = File::options().create(true).append(true).open(list)?;
        std::io::Write::write_all(&mut file, format!("{}\n", child.id()).as_bytes())?;
    }
    Ok(())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended, or ends now; either is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
