//! The follower as a daemon: a listener that can wake it, and one cycle after the other.

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Context as _;
use pconf_containers::{Containers, Docker};
use pconf_daemon::{Shutdown, serve_control, serve_metrics};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::info;

use crate::config::Config;
use crate::cycle::Follower;
use crate::hints::Hints;
use crate::identity::Identity;
use crate::leader::Leader;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::news::News;
use crate::server::Desk;
use crate::wish::{Errand, Wish, hand_in, socket};

/// Follows the leader until `shutdown`: the whole daemon. Without a listener nobody reaches it.
///
/// # Errors
///
/// When the state folder is in use or damaged, or the listener fails for good. A leader, disk or engine that fails is no
/// error: the last good files stay, and it is tried again.
pub async fn run(config: Config, listener: impl Into<Option<TcpListener>>, shutdown: Shutdown) -> anyhow::Result<()> {
    let listener = listener.into();
    let memory = Memory::open(&config.state)?;
    let address = listener.as_ref().map(TcpListener::local_addr).transpose().context("the listener has no address")?;
    let identity = Identity::open(memory.folder(), &config.ring)?;
    info!(address = address.map(tracing::field::display), machine = %config.ring.machine(), leader = %config.leader, running = memory.ledger.running().map(tracing::field::display), "following");

    let machine = Machine::new(&config.root, config.docker.as_deref().map(Docker::at));
    let follower = Follower::new(Leader::new(&config, Arc::clone(&identity))?, machine, memory, &config);
    let desk = Desk::open(&config, address, follower.memory(), identity, Arc::clone(&follower.counts))?;
    let shown = Arc::clone(&desk);
    let measured = serve_metrics(config.metrics.as_ref(), move || shown.scrape(), shutdown.clone());
    let serving = serve(listener, Arc::clone(&desk), shutdown.clone());
    let (errands, to_do) = mpsc::channel(1);
    let socket = socket(&config.state);
    let controlled = serve_control(&socket, shutdown.clone(), move |wish| hand_in(errands.clone(), wish));
    let following = follow(follower, &config, &desk, to_do, shutdown);
    tokio::try_join!(
        serving,
        async { measured.await.context("the listener of `metrics` failed") },
        async { controlled.await.context("the socket for commands failed") },
        async {
            Box::pin(following).await;
            Ok(())
        }
    )?;
    info!("ended");
    Ok(())
}

/// Answers whoever reaches this machine.
async fn serve(listener: Option<TcpListener>, desk: Arc<Desk>, shutdown: Shutdown) -> anyhow::Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    listener.set_nonblocking(true).context("cannot use the listener")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot use the listener")?;
    pconf_daemon::serve(listener, desk.router(), None, shutdown).await.context("the listener failed")
}

/// One cycle after the other; a word of the leader during a cycle is followed by another one at once.
async fn follow<C: Containers>(
    mut follower: Follower<C>,
    config: &Config,
    desk: &Desk,
    mut to_do: mpsc::Receiver<Errand>,
    mut shutdown: Shutdown,
) {
    let mut hints = Hints::new(config);
    let mut errand: Option<Errand> = None;
    let mut is_alert = false;
    let mut heard: Option<News> = None;
    while !shutdown.is_requested() {
        if std::mem::take(&mut is_alert) {
            follower.look_closely();
        }
        match (errand.take(), heard.take()) {
            (Some((wish, answer)), _) => {
                // Whoever asked may have gone away.
                let _ = answer.send(follower.grant(wish, &mut shutdown).await);
            }
            (None, Some(news)) => drop(follower.cycle_on(news, &mut shutdown).await),
            (None, None) => drop(follower.cycle(&mut shutdown).await),
        }
        desk.show(follower.memory(), follower.position());
        hints.attend(&config.root, &follower.memory().ledger);
        // Without randomness all followers of a platform come together, which is better than none.
        let chance = getrandom::u32().unwrap_or(u32::MAX / 2);
        let pause = follower.pause(config.poll, chance);
        let due = Instant::now() + pause;
        let news =
            async { if config.waits { follower.news(pause, chance).await } else { std::future::pending().await } };
        let mut news = std::pin::pin!(news);
        let hint = hints.heard(&follower.machine);
        let mut hint = std::pin::pin!(hint);
        loop {
            // All are cancel-safe: a word that is not taken here wakes the next wait, a wish stays in its channel, and news are
            // asked for again.
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                asked = to_do.recv() => match asked {
                    // Who only asks does not put off the next cycle.
                    Some((Wish::Tell, answer)) => {
                        let _ = answer.send(follower.tell_all());
                        continue;
                    }
                    asked => errand = asked,
                },
                news = &mut news => heard = Some(news),
                () = desk.woken() => is_alert = true,
                // What is found is told, and the leader may want to be left alone.
                () = &mut hint, if follower.respite.is_none() => is_alert = true,
                () = shutdown.requested() => {}
            }
            break;
        }
    }
}
