//! The leader as a daemon: one publisher that watches the folder, one listener that answers, one pusher that tells.
//!
//! The publisher owns the revisions and is the only one that makes them; everybody else sees the newest through a
//! `watch` channel, so that a request never waits for a rendering and a rendering happens once per change.

mod admin;
mod conductor;
mod current;
mod historian;
mod http;
mod latest;
mod metrics;
mod publisher;
mod pusher;
mod standing;
mod status;
mod steady;
#[cfg(test)]
mod tests;
mod waiting;
mod watcher;
mod wishes;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context as _;
use pconf_daemon::{Certificates, Service, Shutdown};
use pconf_files::StateFolder;
use pconf_wire::Clock;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use crate::cli::HistoryCommand;
use crate::commands;
use crate::config::LeaderConfig;
use crate::folder::Folder;
use crate::keys::{self, KeyStore};
use crate::orders::{self, Actor, Asked, Order, Outcome};
use crate::terminal::{Failure, Said};
use crate::tls;
use conductor::Conductor;
pub(crate) use conductor::kept_rollout;
use current::Current;
use http::Desk;
use publisher::{Historian, Publisher};
use status::StatusBoard;
pub(crate) use status::{last_contacts, last_heard};
use steady::Steady;
use waiting::WaitingRoom;
pub(crate) use wishes::{Apply, RolloutOrder};
use wishes::{Wish, Wished};

/// So many wishes may wait for the publisher.
const WISHES: usize = 16;

/// Serves until `shutdown`: the whole daemon.
///
/// # Errors
///
/// When the state folder is in use or damaged, or the listener fails for good. Broken inputs are no error: the last good
/// revision is served and the problems are logged and shown by `status`.
pub async fn serve(folder: Folder, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    // Large, and on its own: nobody who waits for it has to be.
    Box::pin(serve_by(Clock::system(), pconf_daemon::allow_open_files(), folder, listener, shutdown)).await
}

/// As [`serve`], by another clock than the machine's, and where so many files may be open.
async fn serve_by(
    clock: Clock,
    open_files: usize,
    folder: Folder,
    listener: TcpListener,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let state = Arc::new(StateFolder::open(&folder.state())?);
    let first = publisher::last_published(&folder)?;
    info!(
        address = %listener.local_addr().context("the listener has no address")?,
        revision = first.revision().map(tracing::field::display),
        "listening"
    );
    // What is wrong with them the publisher tells, which reads them again.
    let (keys, _) = KeyStore::open(folder.clone(), clock);
    let keys = Arc::new(keys);
    let certificates = tls::Keeper::open(&folder)?;
    let time = Steady::new(keys.clock().clone());
    let board = Arc::new(StatusBoard::open(Arc::clone(&state), time.clone())?);
    let conductor = Conductor::open(folder.clone(), Arc::clone(&state), Arc::clone(&board), time, first.revision())?;
    let first = publisher::told_by(first, &conductor);
    let (wish, wishes) = mpsc::channel(WISHES);
    let socket = folder.socket();
    let (current, newest) = watch::channel(Arc::new(first));

    listener.set_nonblocking(true).context("cannot use the listener")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot use the listener")?;
    let authority = certificates.as_ref().map(|keeper| keeper.authority().to_owned());
    let room = Arc::new(WaitingRoom::open(newest.clone(), shutdown.clone(), open_files));
    let desk = Desk::open(
        &folder,
        newest.clone(),
        Arc::clone(&keys),
        Arc::clone(&board),
        &state,
        authority,
        Arc::clone(&room),
    )?;
    let serving = pconf_daemon::serve(listener, desk.service(), None, shutdown.clone());
    let shown = certificates.as_ref().map(tls::Keeper::shown);
    let serving_tls =
        listen(folder.config().tls.as_ref().map(|tls| tls.listen), desk.service(), shown.clone(), shutdown.clone());
    let carrier = Arc::new(Carrier {
        folder: folder.clone(),
        board: Arc::clone(&board),
        newest: newest.clone(),
        keys: Arc::clone(&keys),
        wish,
    });
    let counter = admin::Counter::new(folder.clone(), Arc::clone(&carrier));
    let serving_admin = listen(admin_address(folder.config())?, counter.router(), shown, shutdown.clone());
    let names = certificates.as_ref().map_or_else(|| watch::channel(Vec::new()).1, tls::Keeper::names);
    let following = tokio::spawn(async move { desk.follow(names).await });
    let certifying = async {
        match certificates {
            Some(keeper) => keeper.keep(shutdown.clone()).await,
            None => Ok(()),
        }
    };
    let looking_after_keys = keys::look_after(Arc::clone(&keys), folder.config().rotate_keys, shutdown.clone());
    let pushing =
        pusher::push(newest.clone(), Arc::clone(&keys), folder.authorities(), Arc::clone(&board), shutdown.clone());
    let noting = status::follow(Arc::clone(&board), newest.clone(), shutdown.clone());
    let (heard, known) = (Arc::clone(&board), newest.clone());
    let scrape = move || {
        let current = Arc::clone(&known.borrow());
        metrics::scrape(heard.counts(), &current, &heard.standings(&current), room.len())
    };
    let metrics = folder.config().metrics.clone();
    let measured = pconf_daemon::serve_metrics(metrics.as_ref(), scrape, shutdown.clone());
    let keeping = status::keep(Arc::clone(&board), shutdown.clone());
    let ordered = move |asked| {
        let carrier = Arc::clone(&carrier);
        async move { carrier.carry_out(asked).await }
    };
    let ordering = pconf_daemon::serve_control(&socket, shutdown.clone(), ordered);
    let (published, to_write) = mpsc::channel(historian::WAITING);
    let (tell_trouble, trouble) = watch::channel(None);
    let writing_down = historian::keep(folder.clone(), to_write, tell_trouble);
    let historian = Historian { published, trouble };
    let publishing =
        publisher::run(Publisher::new(folder, keys, board, conductor), current, wishes, historian, shutdown.clone());
    // Each of them ends by itself when asked to; the first one that fails ends the others with it.
    let ended = tokio::try_join!(
        async { serving.await.context("the listener failed") },
        async { ordering.await.context("the socket for commands failed") },
        async { serving_tls.await.context("the listener of `tls` failed") },
        async { serving_admin.await.context("the listener of `admin` failed") },
        async { measured.await.context("the listener of `metrics` failed") },
        noting,
        certifying,
        looking_after_keys,
        pushing,
        keeping,
        writing_down,
        publishing
    );
    following.abort();
    ended?;
    info!("ended");
    Ok(())
}

/// Serves at another address, where there is one.
async fn listen(
    address: Option<SocketAddr>,
    service: impl Service,
    certificates: Option<Certificates>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener =
        tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    info!(%address, tls = certificates.is_some(), "listening");
    Ok(pconf_daemon::serve(listener, service, certificates, shutdown).await?)
}

/// Where orders are taken. A token must not be readable on a network.
fn admin_address(config: &LeaderConfig) -> anyhow::Result<Option<SocketAddr>> {
    let address = config.admin.as_ref().map(|admin| admin.listen);
    if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
        let way_out = "listen on 127.0.0.1, or configure `tls` as well";
        anyhow::ensure!(config.tls.is_some(), "`admin` listens on {address}, where tokens could be read: {way_out}");
    }
    Ok(address)
}

/// Carries orders out in the running leader.
pub(crate) struct Carrier {
    folder: Folder,
    board: Arc<StatusBoard>,
    newest: watch::Receiver<Arc<Current>>,
    keys: Arc<KeyStore>,
    wish: mpsc::Sender<Wished>,
}

impl Carrier {
    /// Carries out what is asked for. It reads, renders and syncs: it never holds up an answer.
    pub(crate) async fn carry_out(self: &Arc<Self>, asked: Asked) -> Outcome {
        let Asked { order, actor } = asked;
        let asked = match order {
            Order::Apply(apply) => return self.wish(Wish::Apply(apply), actor).await,
            Order::Rollout(order) => return self.wish(Wish::Rollout(order), actor).await,
            Order::RolloutStatus => {
                let rollout = self.newest.borrow().rollout.clone();
                let rests = rollout.as_ref().is_none_or(|rollout| self.board.sees_rest(rollout));
                return Ok(commands::rollout::said(rollout.as_deref(), rests));
            }
            order => Asked { order, actor },
        };
        let carrier = Arc::clone(self);
        let current = Arc::clone(&self.newest.borrow());
        let publishes = match &asked.order {
            Order::History(HistoryCommand::Rollback { accept, .. }) => Some((*accept, asked.actor.clone())),
            _ => None,
        };
        let done = tokio::task::spawn_blocking(move || {
            let outcome = orders::serve(&carrier.folder, asked, || carrier.board.show(&current, &carrier.keys.now()));
            // What was done to keys holds before it is said to be done; what is wrong with them the publisher tells.
            carrier.keys.reread();
            outcome
        });
        match (done.await, publishes) {
            (Ok(Ok(said)), Some((accept, actor))) if said.json["publishes"] == true => {
                self.publish(said, accept, actor).await
            }
            (Ok(outcome), _) => outcome,
            (Err(_), _) => {
                Err(Failure::Failed(anyhow::anyhow!("the order broke down; the log says more")).into_refusal())
            }
        }
    }

    /// Has what an order saved published, whether or not that happens by itself, and tells which revision it is.
    async fn publish(&self, mut said: Said, accept: bool, actor: Actor) -> Outcome {
        let applied = self.wish(Wish::Apply(Apply { accept, ..Apply::default() }), actor).await;
        let applied = applied.map_err(|refusal| refusal.after(&said.text))?;
        let revision = self.newest.borrow().revision();
        if let Some(revision) = revision {
            said.text +=
                &format!("published as revision {revision}: `config-leader rollout status` tells how far it is\n");
        }
        said.json["revision"] = serde_json::json!(revision);
        said.json["rollout"] = applied.json["rollout"].clone();
        Ok(said)
    }

    /// Has the publisher do what only it can do.
    async fn wish(&self, wish: Wish, actor: Actor) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let is_heard = self.wish.send(Wished { wish, actor, answer }).await.is_ok();
        match outcome.await {
            Ok(outcome) if is_heard => outcome,
            _ => Err(Failure::Failed(anyhow::anyhow!("the leader is ending; nothing was done")).into_refusal()),
        }
    }
}
