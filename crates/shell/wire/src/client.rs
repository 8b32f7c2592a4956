//! The asking side: an answer is believed only when it was signed for exactly this question.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pconf_bundle::signature::{Asked, Cause, Direction, sign_request};
use pconf_bundle::{Code, ContentDigest, Keys, Origin, Problem, UnixSeconds};
use reqwest::Url;
use tracing::warn;

use crate::clock::Clock;
use crate::random::{self, RandomnessError};
use crate::transport::{Timeouts, Transport, Trust, TrustError};

/// What is taken for a difference of clocks that the window forgives, in seconds.
const FORGIVEN: u64 = 30;

/// Asks in one direction.
#[derive(Debug)]
pub struct Client {
    direction: Direction,
    clock: Clock,
    transport: Transport,
    longest_body: usize,
    whole: Duration,
}

/// Somebody to ask: where, and with which keys.
#[derive(Debug)]
pub struct Peer {
    origin: Origin,
    keys: Arc<Keys>,
    /// How far its clock is ahead of ours, in seconds, as it told in a signed answer.
    ahead: AtomicI64,
    /// How far it was ahead of ours when it last answered; `i64::MIN` before that.
    measured: AtomicI64,
}

/// A verified answer of any status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Only `content-type`, `etag`, `retry-after` and `conf-revision` are covered by the signature.
    pub headers: HeaderMap,
    /// The signed bytes.
    pub body: Bytes,
    created: UnixSeconds,
}

/// A question that got no answer to believe. Nothing may be concluded from it but that it is to be asked again, later.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL cannot be made.
    #[error("`{0}` is not a URL")]
    Url(String),
    /// Nothing can be signed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// No TLS client can be made.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A header of the question cannot be signed.
    #[error("cannot sign the request to `{url}`")]
    Unsignable {
        /// What was asked.
        url: String,
        /// Why.
        source: Cause,
    },
    /// No connection, or no answer.
    #[error("cannot reach `{url}`")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An unsigned `401`, which is what a receiver gives to strangers.
    #[error(
        "`{url}` does not accept the signature of the key `{key}`: compare the key, its version, and the addresses that \
         the other side is configured to answer to; its log says more"
    )]
    Stranger {
        /// What was asked.
        url: String,
        /// With which key.
        key: String,
    },
    /// An answer of any other kind that was not signed for this question.
    #[error(
        "`{url}` answered {status} without a valid signature: something else answers there, or a proxy changes what \
         passes through it"
    )]
    Unsigned {
        /// What was asked.
        url: String,
        /// What was answered.
        status: StatusCode,
        /// What is wrong with the signature.
        source: Cause,
    },
    /// The answer ended early.
    #[error("the answer of `{url}` broke off")]
    Interrupted {
        /// What was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer takes longer than [`Timeouts::whole`].
    #[error(
        "`{url}` has not answered completely within {seconds} seconds: is the network slow, or the other side busy?"
    )]
    TimedOut {
        /// What was asked.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The answer does not end.
    #[error("the answer of `{url}` is longer than {limit} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
        /// How much is taken.
        limit: usize,
    },
}

impl Peer {
    /// Somebody at `origin` who shares `keys`.
    #[must_use]
    pub fn new(origin: Origin, keys: Arc<Keys>) -> Self {
        Self { origin, keys, ahead: AtomicI64::new(0), measured: AtomicI64::new(i64::MIN) }
    }

    /// Where.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// With which keys.
    #[must_use]
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// How far its clock is ahead of ours, in seconds, by its last signed answer.
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        Some(self.measured.load(Ordering::Relaxed)).filter(|skew| *skew != i64::MIN)
    }

    /// The time that its clock should show when ours shows `now`.
    fn time(&self, now: UnixSeconds) -> UnixSeconds {
        UnixSeconds(now.0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    /// Takes over its time. Returns how far off we had been, in seconds.
    fn correct(&self, now: UnixSeconds, theirs: UnixSeconds) -> u64 {
        let before = self.time(now);
        let ahead = i64::try_from(i128::from(theirs.0) - i128::from(now.0)).unwrap_or_default();
        self.ahead.store(ahead, Ordering::Relaxed);
        before.0.abs_diff(theirs.0)
    }
}

impl Answer {
    /// What went wrong, when the answer says so in a form known here.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        if self.status.is_success() { None } else { Problem::parse(&self.body) }
    }

    /// A covered header as text.
    #[must_use]
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Client {
    /// A client that asks in `direction` and takes answers of at most `longest_body` bytes. `trust` is for `https`.
    pub fn new(
        direction: Direction,
        clock: Clock,
        timeouts: Timeouts,
        longest_body: usize,
        trust: Trust,
    ) -> Result<Self, TrustError> {
        Ok(Self { direction, clock, transport: Transport::new(timeouts, trust)?, longest_body, whole: timeouts.whole })
    }

    /// Asks for `path` (with its query, if any).
    pub async fn get(&self, peer: &Peer, path: &str, headers: HeaderMap) -> Result<Answer, CallError> {
        self.call(peer, Method::GET, path, headers, Bytes::new(), self.whole).await
    }

    /// The same with so much time for the whole answer, for a question that asks the other side to wait.
    pub async fn get_within(
        &self,
        peer: &Peer,
        path: &str,
        headers: HeaderMap,
        whole: Duration,
    ) -> Result<Answer, CallError> {
        self.call(peer, Method::GET, path, headers, Bytes::new(), whole).await
    }

    /// Sends `body` to `path`. `headers` says of which type it is.
    pub async fn post(&self, peer: &Peer, path: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, CallError> {
        self.call(peer, Method::POST, path, headers, body, self.whole).await
    }

    /// Asks, and once again for each reason that asking again can cure.
    async fn call(
        &self,
        peer: &Peer,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        whole: Duration,
    ) -> Result<Answer, CallError> {
        let mut cured = Vec::new();
        loop {
            let answer = self.ask(peer, &method, path, headers.clone(), body.clone(), whole).await?;
            match answer.problem().map(|problem| problem.code) {
                Some(code @ (Code::ClockSkew | Code::Replayed | Code::DigestMismatch)) if !cured.contains(&code) => {
                    if code == Code::ClockSkew {
                        self.take_over_time(peer, answer.created).await;
                    }
                    cured.push(code);
                }
                _ => return Ok(answer),
            }
        }
    }

    async fn take_over_time(&self, peer: &Peer, theirs: UnixSeconds) {
        let off = peer.correct(self.clock.now().wall, theirs);
        if off > FORGIVEN {
            warn!(peer = %peer.origin, seconds = off, "this clock and the other side's differ: is time synchronised on both?");
            return;
        }
        // The clocks agree, so the other side has just started: what is dated in its first second could be a replay of
        // something from before. The next second is soon.
        for _ in 0..25 {
            if peer.time(self.clock.now().wall) > theirs {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ask(
        &self,
        peer: &Peer,
        method: &Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        whole: Duration,
    ) -> Result<Answer, CallError> {
        let asked = tokio::time::timeout(whole, self.ask_unhurried(peer, method, path, headers, body)).await;
        asked.unwrap_or_else(|_| Err(CallError::TimedOut { url: peer.origin.url(path), seconds: whole.as_secs() }))
    }

    async fn ask_unhurried(
        &self,
        peer: &Peer,
        method: &Method,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        let text = peer.origin.url(path);
        let url = Url::parse(&text).map_err(|_| CallError::Url(text.clone()))?;
        // The HTTP library would add these after the signature was made.
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let host = HeaderValue::from_str(&peer.origin.authority()).map_err(|_| CallError::Url(text.clone()))?;
        headers.insert(HOST, host);

        let created = peer.time(self.clock.now().wall);
        let asked = Asked {
            method,
            origin: &peer.origin,
            path: url.path(),
            query: url.query(),
            body: ContentDigest::of(&body),
        };
        let keys = Arc::clone(&peer.keys);
        let sent = sign_request(keys, self.direction, &asked, &mut headers, created, random::nonce()?)
            .map_err(|source| CallError::Unsignable { url: text.clone(), source })?;

        let mut request = reqwest::Request::new(method.clone(), url);
        *request.headers_mut() = headers;
        if *method == Method::POST {
            *request.body_mut() = Some(body.into());
        }
        let response = self.transport.to(&peer.origin)?.execute(request).await;
        let response =
            response.map_err(|source| CallError::Unreachable { url: text.clone(), source: source.without_url() })?;

        let status = response.status();
        let unsigned = |source| match (status, source) {
            (StatusCode::UNAUTHORIZED, Cause::Missing(_)) => {
                CallError::Stranger { url: text.clone(), key: peer.keys.id().to_string() }
            }
            (status, source) => CallError::Unsigned { url: text.clone(), status, source },
        };
        let verified = sent.verify_head(status, response.headers()).map_err(unsigned)?;
        let ahead = i128::from(verified.created.0) - i128::from(self.clock.now().wall.0);
        peer.measured.store(i64::try_from(ahead).unwrap_or_default(), Ordering::Relaxed);
        let headers = response.headers().clone();
        let body = verified.with_body(self.read(response, &text).await?).map_err(unsigned)?;
        Ok(Answer { status, headers, body: body.into(), created: verified.created })
    }

    async fn read(&self, mut response: reqwest::Response, url: &str) -> Result<Vec<u8>, CallError> {
        let too_large = || CallError::TooLarge { url: url.to_owned(), limit: self.longest_body };
        let announced = response.content_length().map_or(Ok(0), usize::try_from).map_err(|_| too_large())?;
        if announced > self.longest_body {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(announced);
        loop {
            let part = response.chunk().await;
            match part.map_err(|source| CallError::Interrupted { url: url.to_owned(), source: source.without_url() })? {
                Some(part) if body.len() + part.len() > self.longest_body => return Err(too_large()),
                Some(part) => body.extend_from_slice(&part),
                None => return Ok(body),
            }
        }
    }
}
