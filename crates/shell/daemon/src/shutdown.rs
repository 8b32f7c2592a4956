//! The wish to end, told to every part of a daemon at once. Each part ends after the step that it is in.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Knows whether the daemon shall end. Clones hear the same wish.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Makes the wish; dropping it makes it too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Asks every part to end.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// A wish that comes from the caller, as tests do.
    #[must_use]
    pub fn by_hand() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// A wish that comes with SIGTERM or SIGINT. Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the system refuses to hand over the signals.
    pub fn by_signals() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (trigger, shutdown) = Self::by_hand();
        tokio::spawn(async move {
            // Both are cancel-safe: a signal that was not received yet stays pending.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to end: finishing the step in progress");
            trigger.pull();
        });
        Ok(shutdown)
    }

    /// Whether the wish was made.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits for the wish. Cancel-safe.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone, which is a wish too.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_the_wish_and_a_dropped_trigger_is_one() {
        let (trigger, mut first) = Shutdown::by_hand();
        let second = first.clone();
        assert!(!second.is_requested());
        trigger.pull();
        first.requested().await;
        assert!(second.is_requested());

        let (trigger, mut shutdown) = Shutdown::by_hand();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
