//! `serve`: the leader as a daemon.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use pconf_daemon::{LogFormat, Shutdown, start_telemetry};
use tracing::{info, warn};

use crate::cli::ServeArguments;
use crate::folder::Folder;
use crate::inputs::Reader;
use crate::orders::Actor;
use crate::secrets::{environment, from_environment};
use crate::server;
use crate::terminal::Failure;

pub(crate) fn run(folder: &Folder, arguments: &ServeArguments) -> Result<(), Failure> {
    start_telemetry(LogFormat::Text, &arguments.log)?;
    take_secrets_from_environment(folder)?;
    let address = folder.config().listen;
    // Bound before anything else: from here on a follower waits a moment instead of being turned away.
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().min(4)))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async { server::serve(folder.clone(), listener, Shutdown::by_signals()?).await })?;
    Ok(())
}

/// Keeps the secrets that the environment holds and begins anew without them: what a process was started with can be read
/// for as long as it runs.
fn take_secrets_from_environment(folder: &Folder) -> Result<(), Failure> {
    if !std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("SECRET_")) {
        return Ok(());
    }
    let Ok(set) = Reader::default().only_set(folder) else {
        warn!("the inputs cannot be read, so the secrets in the environment are not taken before the next start");
        return Ok(());
    };
    let variables = environment::variables(set.secrets());
    if variables.is_empty() {
        return Ok(());
    }
    for id in from_environment(folder, set.secrets(), &Actor::here())? {
        info!(secret = %id, "set from the environment");
    }
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1));
    for variable in variables {
        again.env_remove(variable);
    }
    // It is this very process that goes on, unless that fails.
    Err(anyhow::Error::from(again.exec()).context("cannot begin anew without secrets in the environment").into())
}
