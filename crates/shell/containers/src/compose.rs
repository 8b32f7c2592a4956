//! Compose, which alone knows how its files become containers: it is run, never imitated.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, RwLock};
use tokio::time::{Instant, timeout};

use crate::engine::{Ended, EngineError};
use crate::tail::Tail;

/// How long a program may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(10);

/// How the two generations of compose are called.
const GENERATIONS: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];

/// For how long a program that said its version is taken to be there: it is asked for several services at once, and 1.29
/// works half a second to say it.
const BELIEVED: Duration = Duration::from_mins(1);

/// How compose was called last, and when it said its version.
pub(crate) type Known = Mutex<Option<(&'static [&'static str], Instant)>>;

/// Whose engine compose is told to use, and where it is found.
pub(crate) struct Caller<'a> {
    pub(crate) socket: &'a Path,
    /// As in `PATH`.
    pub(crate) programs: Option<&'a OsStr>,
    pub(crate) known: &'a Known,
    pub(crate) at_work: &'a AtWork,
}

/// Held for reading by every compose that is at work.
pub(crate) type AtWork = Arc<RwLock<()>>;

/// Makes what is missing of `services` and makes anew what differs.
pub(crate) async fn up(
    caller: &Caller<'_>,
    file: &Path,
    project: &str,
    services: &[String],
    limit: Duration,
) -> Result<Ended, EngineError> {
    let file = file.to_string_lossy();
    let options = ["-p", project, "-f", &file, "up", "-d", "--no-deps", "--no-build"];
    let arguments: Vec<&str> = options.into_iter().chain(services.iter().map(String::as_str)).collect();
    let by_hand = format!("docker compose {}", arguments.join(" "));
    let Some(program) = installed(caller).await else { return Err(EngineError::NoCompose { by_hand }) };
    let what = format!("`{} {}`", program.join(" "), arguments.join(" "));
    let at_work = Arc::clone(caller.at_work).read_owned().await;
    let refused = |action: String| move |source| EngineError::Refused { action, source };
    let mut child = command(caller, program).args(arguments).spawn().map_err(|source| {
        refused(format!("be served by compose: cannot run `{}`", program.join(" ")))(source.into())
    })?;
    let asked = format!("be asked by {what}");
    // It goes on when nobody waits for it any more: cut off half way, it leaves containers under names of its own.
    let working = tokio::spawn(async move {
        let _at_work = at_work;
        match timeout(limit, end(&mut child)).await {
            Ok(Ok((status, output))) => Ok(Ended { code: status.code().map_or(-1, i64::from), output }),
            Ok(Err(source)) => Err(refused(format!("be asked by {what}"))(source.into())),
            Err(_) => {
                kill(&mut child).await;
                Err(EngineError::NotEnded { command: what, limit })
            }
        }
    });
    working.await.unwrap_or_else(|source| Err(EngineError::Refused { action: asked, source: source.into() }))
}

/// How compose is called here; it may be installed, or another one be, at any time.
async fn installed(caller: &Caller<'_>) -> Option<&'static [&'static str]> {
    // Who asks at the same time waits for the same answer.
    let mut known = caller.known.lock().await;
    if let Some((program, at)) = *known
        && at.elapsed() < BELIEVED
    {
        return Some(program);
    }
    *known = None;
    for program in GENERATIONS {
        let mut version = command(caller, program);
        let Ok(mut child) = version.arg("version").spawn() else { continue };
        match timeout(ANSWER, end(&mut child)).await {
            Ok(Ok((status, _))) if status.success() => {
                *known = Some((program, Instant::now()));
                return Some(program);
            }
            Ok(_) => {}
            Err(_) => kill(&mut child).await,
        }
    }
    None
}

fn command(caller: &Caller<'_>, program: &[&str]) -> Command {
    let mut command = Command::new(program[0]);
    // The folders of `PATH` are those of the child, also where its program is looked for.
    command.envs(caller.programs.map(|programs| ("PATH", programs)));
    command.args(&program[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Our engine, whatever the environment says; a context would win over the address.
    command.env("DOCKER_HOST", format!("unix://{}", caller.socket.display())).env_remove("DOCKER_CONTEXT");
    // `docker compose` is a process below `docker`: both end together.
    command.env_remove("DOCKER_TLS_VERIFY").process_group(0).kill_on_drop(true);
    command
}

async fn end(child: &mut Child) -> std::io::Result<(ExitStatus, String)> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let tail = std::sync::Mutex::new(Tail::default());
    let (status, out, err) = tokio::join!(child.wait(), read(&mut out, &tail), read(&mut err, &tail));
    out?;
    err?;
    Ok((status?, tail.into_inner().unwrap_or_else(PoisonError::into_inner).text()))
}

async fn read(from: &mut Option<impl AsyncRead + Unpin>, tail: &std::sync::Mutex<Tail>) -> std::io::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let mut bytes = [0; 1024];
    loop {
        match from.read(&mut bytes).await? {
            0 => return Ok(()),
            length => tail.lock().unwrap_or_else(PoisonError::into_inner).push(&bytes[..length]),
        }
    }
}

async fn kill(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself at this moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}
