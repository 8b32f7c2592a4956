//! Faults on demand, for tests that stop a program before each of its effects in turn.
//!
//! `PCONF_FAULT=<n>:abort|ENOSPC|EIO|EACCES` lets the n-th effect of the process (from 1) fail so, `abort` ends the process
//! before it. `PCONF_FAULT_LOG=<file>` gets a line per effect: `<n> <call> <path or name>`. `PCONF_NO_OPENAT2` (any value)
//! makes the kernel look like one that does not know that call. All are read once.
#![allow(clippy::disallowed_types, reason = "the log of effects is no effect")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

/// What happens in place of an effect.
#[derive(Clone, Copy)]
enum Fault {
    Abort,
    Fail(Errno),
}

static COUNT: AtomicU64 = AtomicU64::new(0);

static WANTED: LazyLock<Option<(u64, Fault)>> = LazyLock::new(|| {
    let wanted = std::env::var("PCONF_FAULT").ok()?;
    // One that cannot be read fails from the first effect on, and is seen at once.
    Some(parse(&wanted).unwrap_or((1, Fault::Fail(Errno::INVAL))))
});

static LOG: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("PCONF_FAULT_LOG").map(PathBuf::from));

static NO_OPENAT2: LazyLock<bool> = LazyLock::new(|| std::env::var_os("PCONF_NO_OPENAT2").is_some());

fn parse(text: &str) -> Option<(u64, Fault)> {
    let (number, fault) = text.split_once(':')?;
    let fault = match fault {
        "abort" => Fault::Abort,
        "ENOSPC" => Fault::Fail(Errno::NOSPC),
        "EIO" => Fault::Fail(Errno::IO),
        "EACCES" => Fault::Fail(Errno::ACCESS),
        _ => return None,
    };
    Some((number.parse().ok()?, fault))
}

/// Counts one effect; the fault in its place, if this is the one.
pub(super) fn strike(call: &str, on: &str) -> Result<(), Errno> {
    let number = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(log) = &*LOG {
        let line = format!("{number} {call} {on}\n");
        let mut log = OpenOptions::new().append(true).create(true).open(log).map_err(|_| Errno::INVAL)?;
        log.write_all(line.as_bytes()).map_err(|_| Errno::INVAL)?;
    }
    match *WANTED {
        Some((wanted, Fault::Abort)) if wanted == number => std::process::abort(),
        Some((wanted, Fault::Fail(error))) if wanted == number => Err(error),
        _ => Ok(()),
    }
}

/// What a kernel before 5.6 says to `openat2`.
pub(super) fn refuse_openat2() -> Result<(), Errno> {
    if *NO_OPENAT2 { Err(Errno::NOSYS) } else { Ok(()) }
}
