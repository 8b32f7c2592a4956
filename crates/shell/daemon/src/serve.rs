//! Serving a router on a listener that is bound already, until asked to end.

use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::Shutdown;

/// How long requests in progress may go on after the wish to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `shutdown`; requests in progress get five seconds to finish.
///
/// # Errors
///
/// When the listener fails for good.
pub async fn serve(listener: TcpListener, router: Router, mut shutdown: Shutdown) -> std::io::Result<()> {
    let mut limit = shutdown.clone();
    // Small answers must not wait for the acknowledgement of the ones before.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move { shutdown.requested().await });
    // Neither arm loses anything: both end the serving.
    tokio::select! {
        served = served.into_future() => served,
        () = async {
            limit.requested().await;
            tokio::time::sleep(GRACE).await;
        } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_request_in_progress_is_answered_after_the_wish_to_end() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Shutdown::by_hand();
        let trigger = std::sync::Arc::new(trigger);
        let pulled = std::sync::Arc::clone(&trigger);
        let slow = get(move || async move {
            pulled.pull();
            tokio::task::yield_now().await;
            "done"
        });
        let serving = tokio::spawn(serve(listener, Router::new().route("/", slow), shutdown));
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        assert!(answer.ends_with("done"), "{answer}");
        serving.await??;
        assert!(TcpStream::connect(address).await.is_err());
        Ok(())
    }
}
