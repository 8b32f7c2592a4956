//! `serve`: the leader as a daemon.

use std::net::TcpListener;

use anyhow::Context as _;
use pconf_daemon::{LogFormat, Shutdown, start_telemetry};

use crate::cli::ServeArguments;
use crate::folder::Folder;
use crate::server;
use crate::terminal::Failure;

pub(crate) fn run(folder: &Folder, arguments: &ServeArguments) -> Result<(), Failure> {
    start_telemetry(LogFormat::Text, &arguments.log)?;
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
