//! Serving on a listener that is bound already, with or without TLS, until asked to end. Who connects and says nothing, or only half
//! of it, costs a place for some seconds and no more.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::Response;
use http::header::CONNECTION;
use http::{Method, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use crate::Shutdown;
use crate::later::{Coming, Later};
use crate::rewound::Rewound;
use crate::service::{Guest, Seat, Service};

/// How long requests in progress may go on after the wish to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long a TLS handshake or a head may take to arrive, and how long a connection may be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is silent before HTTP is left until its other side goes on.
const QUIET: Duration = Duration::from_millis(100);
/// The same after an answer that came later: whoever waited for it has something to do now.
const AT_ONCE: Duration = Duration::from_millis(1);
/// What is read or written of a connection at a time, and so the memory that it takes at most. A longer head is refused unseen; what
/// is too long for the protocol, and shorter than this, is refused with a reason.
const BUFFER: usize = 32 << 10;
/// So many connections are served at a time, besides those with a [`Seat`] elsewhere; more wait in the system's queue.
const CONNECTIONS: usize = 1024;
/// How long that queue is: all followers of a leader come back to it at once. The system may allow fewer.
const QUEUE: i32 = 4096;
/// How long is waited when the system has no resources for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener with TLS shows, as it is now: certificates change while it listens.
pub type Certificates = watch::Receiver<Arc<ServerConfig>>;

/// Serves until `shutdown`; requests in progress get five seconds to finish. With `certificates`, every connection begins
/// with a TLS handshake by what they are at that moment.
///
/// # Errors
///
/// None now: what the system refuses to accept is tried again.
pub async fn serve(
    listener: TcpListener,
    service: impl Service,
    certificates: Option<Certificates>,
    mut shutdown: Shutdown,
) -> std::io::Result<()> {
    // It listens already: said again, this changes the length of the queue alone (listen(2)).
    rustix::net::listen(&listener, QUEUE)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        // Cancel-safe: a connection that is not accepted yet stays in the system's queue.
        let (stream, from, place) = tokio::select! {
            () = shutdown.requested() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        // Small answers must not wait for the acknowledgement of the ones before.
        let _ = stream.set_nodelay(true);
        let guest = Guest { from, seat: Seat::new(place) };
        let talk = Talk { service: service.clone(), guest, ending: shutdown.clone() };
        let config = certificates.as_ref().map(|now| Arc::clone(&now.borrow()));
        match config {
            None => connections.spawn(talk.over(stream)),
            Some(config) => connections.spawn(async move {
                // Boxed: what a handshake takes is not held for as long as the connection lasts.
                if let Some(stream) = Box::pin(shake_hands(stream, config, talk.ending.clone())).await {
                    talk.over(stream).await;
                }
            }),
        };
    }
    drop(listener);
    connections.close();
    let _unfinished = tokio::time::timeout(GRACE, connections.wait()).await;
    Ok(())
}

/// A connection through TLS. Who does not know us, or takes too long to say so, is let go without a word.
async fn shake_hands(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    mut ending: Shutdown,
) -> Option<TlsStream<TcpStream>> {
    let handshake = tokio::time::timeout(HEAD_TIMEOUT, TlsAcceptor::from(config).accept(stream));
    // Cancel-safe: what is dropped is a connection that nothing was asked on.
    tokio::select! {
        () = ending.requested() => None,
        shaken = handshake => shaken.ok()?.ok(),
    }
}

/// One connection's part of the service.
struct Talk<A> {
    service: A,
    guest: Guest,
    ending: Shutdown,
}

/// Why HTTP was left. What was read too early is read again when it is taken up.
enum Left<S> {
    /// The connection is over.
    Over,
    /// The other side said nothing for a while, or not all of it; whether a request was answered before that.
    Silent(Rewound<S>, bool),
    /// The answer to a request comes later.
    Waiting(Rewound<S>, Coming),
}

/// A request has to wait: HTTP is left, and taken up again for its answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer comes later")]
struct HasToWait;

impl<A: Service> Talk<A> {
    async fn over(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut stream = Rewound { early: Vec::new(), stream };
        let (mut deadline, mut ending) = (Instant::now() + HEAD_TIMEOUT, self.ending.clone());
        loop {
            // Cancel-safe, all of them: the connection is over.
            tokio::select! {
                goes_on = goes_on(&mut stream) => if !goes_on { return },
                () = tokio::time::sleep_until(deadline) => return,
                () = ending.requested() => return,
            }
            // Boxed: nothing of HTTP is held while somebody waits or is silent.
            let mut left = Box::pin(self.speak_http(stream, None, QUIET)).await;
            while let Left::Waiting(mut waiting, coming) = left {
                // Cancel-safe: who has gone is not answered.
                let answer = tokio::select! {
                    answer = coming => answer,
                    () = gone(&mut waiting) => return,
                };
                // In place of the request that was read already: this is what HTTP takes for the one that is answered.
                waiting.early.splice(..0, *b"GET / HTTP/1.1\r\n\r\n");
                left = Box::pin(self.speak_http(waiting, Some(answer), AT_ONCE)).await;
            }
            let Left::Silent(silent, has_answered) = left else { return };
            stream = silent;
            if has_answered {
                deadline = Instant::now() + HEAD_TIMEOUT;
            }
        }
    }

    /// Answers until there is nothing to do, or to say for so long. The first request is answered with `first`, where there is
    /// one.
    async fn speak_http<S>(&self, stream: Rewound<S>, first: Option<Response>, quiet: Duration) -> Left<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (first, later, has_answered) = (Mutex::new(first), Mutex::new(None), AtomicBool::new(false));
        let service = service_fn(|request: http::Request<Incoming>| {
            let (first, later) = (held(&first).take(), &later);
            has_answered.store(true, Ordering::Relaxed);
            let lasts = lasts(&request);
            async move {
                let mut answer = match first {
                    Some(first) => first,
                    None => self.service.answer(request, self.guest.clone()).await,
                };
                match Later::take(&mut answer) {
                    None => Ok(answer),
                    Some(coming) if !lasts => Ok(coming.await),
                    Some(coming) => {
                        *held(later) = Some(coming);
                        // What was answered before goes out first.
                        tokio::task::yield_now().await;
                        Err(HasToWait)
                    }
                }
            }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(quiet)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let mut ending = self.ending.clone();
        let ended = tokio::select! {
            biased;
            ended = &mut connection => ended,
            () = ending.requested() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        let coming = held(&later).take();
        let left = connection.into_parts();
        let Rewound { mut early, stream } = left.io.into_inner();
        early.splice(..0, left.read_buf);
        let stream = Rewound { early, stream };
        match (coming, ended) {
            (Some(coming), _) => Left::Waiting(stream, coming),
            // All that was answered is on its way by then.
            (None, Err(error)) if error.is_timeout() => Left::Silent(stream, has_answered.load(Ordering::Relaxed)),
            // How a connection ends concerns its other side only.
            (None, _) => Left::Over,
        }
    }
}

/// Whether the connection goes on after this request as if it had been a plain `GET`.
fn lasts(request: &http::Request<Incoming>) -> bool {
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && !request.headers().contains_key(CONNECTION)
}

/// Ends when the other side has gone. What it sends instead is kept for later. Cancel-safe.
async fn gone(stream: &mut Rewound<impl AsyncRead + Unpin>) {
    if goes_on(stream).await {
        std::future::pending::<()>().await;
    }
}

/// Waits until the other side goes on, which is kept for later, or has gone: `false`. Cancel-safe.
async fn goes_on(stream: &mut Rewound<impl AsyncRead + Unpin>) -> bool {
    let mut byte = [0];
    let goes_on = matches!(stream.stream.read(&mut byte).await, Ok(1..));
    if goes_on {
        stream.early.extend(byte);
    }
    goes_on
}

pub(crate) fn held<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next connection, as soon as there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from, place),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::response::IntoResponse as _;
    use axum::routing::get;
    use tokio::io::AsyncWriteExt as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{TlsConnector, client};

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
        let serving = tokio::spawn(serve(listener, Router::new().route("/", slow), None, shutdown));
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        assert!(answer.ends_with("done"), "{answer}");
        serving.await??;
        assert!(TcpStream::connect(address).await.is_err());
        Ok(())
    }

    /// What comes back for `request` until the other side closes.
    async fn ask(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
        let mut client = TcpStream::connect(address).await?;
        client.write_all(request).await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn half_a_head_and_silence_are_closed() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (_trigger, shutdown) = Shutdown::by_hand();
        tokio::spawn(serve(listener, Router::new(), None, shutdown));
        let within = HEAD_TIMEOUT + Duration::from_secs(2);
        let both = async { tokio::join!(ask(address, b"GET / HTTP/1.1\r\nhost:"), ask(address, b"")) };
        let (half, silent) = tokio::time::timeout(within, both).await?;
        assert_eq!((half?, silent?), (String::new(), String::new()));
        Ok(())
    }

    #[tokio::test]
    async fn who_is_silent_for_a_while_goes_on_where_he_was() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (_trigger, shutdown) = Shutdown::by_hand();
        tokio::spawn(serve(listener, Router::new().route("/", get(async || "here")), None, shutdown));
        let mut client = TcpStream::connect(address).await?;
        let mut answers = Vec::new();
        for part in
            ["", "GET / HTTP/1.1\r\nho", "st: x\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\n", "connection: close\r\n\r\n"]
        {
            // The silence that this is about.
            tokio::time::sleep(2 * QUIET).await;
            client.write_all(part.as_bytes()).await?;
        }
        client.read_to_end(&mut answers).await?;
        assert_eq!(String::from_utf8(answers)?.matches("\r\n\r\nhere").count(), 2);
        Ok(())
    }

    #[tokio::test]
    async fn handlers_know_who_asks() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (_trigger, shutdown) = Shutdown::by_hand();
        let who = get(|ConnectInfo(from): ConnectInfo<SocketAddr>| async move { from.ip().to_string() });
        tokio::spawn(serve(listener, Router::new().route("/", who), None, shutdown));
        let answer = ask(address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
        Ok(())
    }

    #[tokio::test]
    async fn a_silent_connection_does_not_hold_up_the_end() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Shutdown::by_hand();
        let serving = tokio::spawn(serve(listener, Router::new(), None, shutdown));
        let mut idle = TcpStream::connect(address).await?;
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let _answer = idle.read(&mut [0; 1024]).await?;
        trigger.pull();
        tokio::time::timeout(Duration::from_secs(2), serving).await???;
        Ok(())
    }

    /// A server that answers `/now` at once, and `/later` when somebody speaks or at its end. Who waits holds a receiver.
    async fn with_patience(shutdown: Shutdown) -> std::io::Result<(SocketAddr, watch::Sender<&'static str>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (speak, spoken) = watch::channel("");
        let ending = shutdown.clone();
        let later = get(move || {
            let (mut spoken, mut ending) = (spoken.clone(), ending.clone());
            let coming = async move {
                let word = tokio::select! {
                    word = spoken.wait_for(|word| !word.is_empty()) => word.map_or("", |word| *word),
                    () = ending.requested() => "ended",
                };
                word.into_response()
            };
            std::future::ready(Later::answer(coming))
        });
        let router = Router::new().route("/now", get(async || "now")).route("/later", later);
        tokio::spawn(serve(listener, router, None, shutdown));
        Ok((address, speak))
    }

    /// Waits until so many more wait than nobody.
    async fn until_waiting(speak: &watch::Sender<&'static str>, more: usize) {
        while speak.receiver_count() != 1 + more {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn who_waits_is_answered_in_turn_on_the_connection_that_goes_on() -> Result<(), Box<dyn std::error::Error>> {
        let (_trigger, shutdown) = Shutdown::by_hand();
        let (address, speak) = with_patience(shutdown).await?;
        let mut client = TcpStream::connect(address).await?;
        client
            .write_all(b"GET /now HTTP/1.1\r\nhost: x\r\n\r\nGET /later HTTP/1.1\r\nhost: x\r\n\r\nGET /now HTT")
            .await?;
        until_waiting(&speak, 1).await;
        client.write_all(b"P/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
        speak.send_replace("word");
        let mut answers = String::new();
        client.read_to_string(&mut answers).await?;
        let bodies: Vec<&str> =
            answers.split("HTTP/1.1 200 OK\r\n").filter_map(|answer| answer.split("\r\n\r\n").nth(1)).collect();
        assert_eq!(bodies, ["now", "word", "now"], "{answers}");
        Ok(())
    }

    #[tokio::test]
    async fn who_has_gone_is_not_waited_for() -> Result<(), Box<dyn std::error::Error>> {
        let (_trigger, shutdown) = Shutdown::by_hand();
        let (address, speak) = with_patience(shutdown).await?;
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        until_waiting(&speak, 1).await;
        drop(client);
        until_waiting(&speak, 0).await;
        Ok(())
    }

    #[tokio::test]
    async fn who_waits_is_answered_at_the_end_and_on_a_connection_that_does_not_last()
    -> Result<(), Box<dyn std::error::Error>> {
        let (trigger, shutdown) = Shutdown::by_hand();
        let (address, speak) = with_patience(shutdown).await?;
        let asks = |request: &'static [u8]| tokio::spawn(ask(address, request));
        let both = [asks(b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n"), asks(b"GET /later HTTP/1.0\r\n\r\n")];
        until_waiting(&speak, 2).await;
        trigger.pull();
        for answer in both {
            let answer = answer.await??;
            assert!(answer.contains(" 200 OK") && answer.ends_with("ended"), "{answer}");
        }
        Ok(())
    }

    /// A certificate for this host, as a server shows it and as its bytes.
    fn certificate() -> Result<(Arc<ServerConfig>, CertificateDer<'static>), Box<dyn std::error::Error>> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let shown = made.cert.der().clone();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![shown.clone()], key)?;
        Ok((Arc::new(config), shown))
    }

    /// A connection through TLS by somebody who trusts exactly `shown`.
    async fn connect(
        address: SocketAddr,
        shown: &CertificateDer<'static>,
    ) -> Result<client::TlsStream<TcpStream>, Box<dyn std::error::Error>> {
        let mut trusted = RootCertStore::empty();
        trusted.add(shown.clone())?;
        let config = ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
        let host = ServerName::IpAddress(address.ip().into());
        Ok(TlsConnector::from(Arc::new(config)).connect(host, TcpStream::connect(address).await?).await?)
    }

    /// The answer to one request more on that connection.
    async fn once_more(stream: &mut client::TlsStream<TcpStream>) -> std::io::Result<String> {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = vec![0; 1024];
        let length = stream.read(&mut answer).await?;
        answer.truncate(length);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[tokio::test]
    async fn a_changed_certificate_is_shown_to_the_next_and_disturbs_nobody() -> Result<(), Box<dyn std::error::Error>>
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Shutdown::by_hand();
        let ((first, shown), (second, shown_next)) = (certificate()?, certificate()?);
        let (renew, certificates) = watch::channel(first);
        let who = get(|ConnectInfo(from): ConnectInfo<SocketAddr>| async move { from.ip().to_string() });
        let serving = tokio::spawn(serve(listener, Router::new().route("/", who), Some(certificates), shutdown));

        let mut open = connect(address, &shown).await?;
        assert!(once_more(&mut open).await?.ends_with("127.0.0.1"));
        renew.send(second)?;
        assert!(connect(address, &shown).await.is_err(), "the old certificate is no longer shown");
        let mut next = connect(address, &shown_next).await?;
        for stream in [&mut open, &mut next] {
            let answer = once_more(stream).await?;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("127.0.0.1"), "{answer}");
        }

        // Who has not even shaken hands does not hold up the end, nor do those who are silent.
        let _silent = TcpStream::connect(address).await?;
        trigger.pull();
        tokio::time::timeout(Duration::from_secs(2), serving).await???;
        Ok(())
    }

    #[tokio::test]
    async fn a_handshake_has_its_time_and_plain_http_is_none() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (_trigger, shutdown) = Shutdown::by_hand();
        let (_renew, certificates) = watch::channel(certificate()?.0);
        tokio::spawn(serve(listener, Router::new(), Some(certificates), shutdown));
        let mut plain = TcpStream::connect(address).await?;
        plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = Vec::new();
        let _closed_or_reset = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        let within = HEAD_TIMEOUT + Duration::from_secs(2);
        assert_eq!(tokio::time::timeout(within, ask(address, b"")).await??, "");
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_for_a_place() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let places = Arc::new(Semaphore::new(1));
        let _waiting = (TcpStream::connect(address).await?, TcpStream::connect(address).await?);
        let (.., place) = accept(&listener, &places).await;
        let little = Duration::from_millis(50);
        assert!(tokio::time::timeout(little, accept(&listener, &places)).await.is_err());
        drop(place);
        let _accepted = tokio::time::timeout(little, accept(&listener, &places)).await?;
        Ok(())
    }
}
