//! The leader as a daemon: one publisher that watches the folder, one listener that answers, one pusher that tells.
//!
//! The publisher owns the revisions and is the only one that makes them; everybody else sees the newest through a
//! `watch` channel, so that a request never waits for a rendering and a rendering happens once per change.

mod current;
mod http;
mod latest;
mod publisher;
mod pusher;
mod status;
mod watcher;

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Context as _;
use pconf_daemon::Shutdown;
use pconf_files::StateFolder;
use pconf_wire::Clock;
use tokio::sync::watch;
use tracing::info;

use crate::folder::Folder;
use crate::keys::KeyStore;
use crate::orders::{self, Asked, Outcome};
use crate::terminal::Failure;
use current::Current;
use http::Desk;
use publisher::Publisher;
use status::StatusBoard;
pub(crate) use status::last_heard;

/// Serves until `shutdown`: the whole daemon.
///
/// # Errors
///
/// When the state folder is in use or damaged, or the listener fails for good. Broken inputs are no error: the last good
/// revision is served and the problems are logged and shown by `/status`.
pub async fn serve(folder: Folder, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let state = Arc::new(StateFolder::open(&folder.state())?);
    let first = publisher::last_published(&folder)?;
    info!(
        address = %listener.local_addr().context("the listener has no address")?,
        revision = first.revision().map(tracing::field::display),
        "listening"
    );
    // What is wrong with them the publisher tells, which reads them again.
    let (keys, _) = KeyStore::open(folder.clone(), Clock::system());
    let keys = Arc::new(keys);
    let board = Arc::new(StatusBoard::open(Arc::clone(&state))?);
    let socket = folder.socket();
    let (current, newest) = watch::channel(Arc::new(first));

    listener.set_nonblocking(true).context("cannot use the listener")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot use the listener")?;
    let desk = Desk::open(folder.config(), newest.clone(), Arc::clone(&keys), Arc::clone(&board), &state)?;
    let serving = pconf_daemon::serve(listener, desk.router(), None, shutdown.clone());
    let config = folder.config().clone();
    let following = tokio::spawn(async move { desk.follow(&config).await });
    let pushing =
        pusher::push(newest.clone(), Arc::clone(&keys), folder.authorities(), Arc::clone(&board), shutdown.clone());
    let keeping = status::keep(Arc::clone(&board), shutdown.clone());
    let ordered = {
        let (folder, board, newest) = (folder.clone(), Arc::clone(&board), newest.clone());
        move |asked| carry_out(folder.clone(), Arc::clone(&board), Arc::clone(&newest.borrow()), asked)
    };
    let ordering = pconf_daemon::serve_control(&socket, shutdown.clone(), ordered);
    let publishing = publisher::run(Publisher::new(folder, keys), current, shutdown);
    // Each of them ends by itself when asked to; the first one that fails ends the others with it.
    let ended = tokio::try_join!(
        async { serving.await.context("the listener failed") },
        async { ordering.await.context("the socket for commands failed") },
        pushing,
        keeping,
        publishing
    );
    following.abort();
    ended?;
    info!("ended");
    Ok(())
}

/// Carries out what the command line asks for. It reads, renders and syncs: it never holds up an answer.
async fn carry_out(folder: Folder, board: Arc<StatusBoard>, current: Arc<Current>, asked: Asked) -> Outcome {
    let outcome = tokio::task::spawn_blocking(move || orders::serve(&folder, asked, || board.show(&current))).await;
    outcome.unwrap_or_else(|_| {
        Err(Failure::Failed(anyhow::anyhow!("the order broke down; the log says more")).into_refusal())
    })
}
