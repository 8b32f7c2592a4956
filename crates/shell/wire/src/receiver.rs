//! The answering side: what reaches a handler was verified, and what leaves it is signed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use pconf_bundle::signature::{
    Direction, Question, Refusal, Rejection, ReplayGuard, ReplayLimits, VerifiedHead, VerifiedRequest, verify_head,
};
use pconf_bundle::{Authorities, Code, KeyId, Keys, Problem, UnixSeconds};
use pconf_daemon::Later;
use pconf_names::MachineName;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::ahead::Ahead;
use crate::clock::Clock;
use crate::failures::{Failures, Verdict};
use crate::payload::{Answering, Payload, Reply, problem};
use crate::refusal::{limit, refuse};

/// How long the body of a verified head may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a receiver has to know of those who may ask.
pub trait Peers: Send + Sync + 'static {
    /// The keys of a known id. A revoked machine's are found too: it gets a signed refusal from its handler.
    fn keys(&self, id: &KeyId) -> Option<Arc<Keys>>;
}

/// Verifies requests and signs answers. One per listener and direction, shared by all its connections.
pub struct Receiver<P> {
    direction: Direction,
    authorities: RwLock<Authorities>,
    peers: P,
    clock: Clock,
    longest_body: usize,
    replays: Mutex<ReplayGuard>,
    ahead: Ahead,
    failures: Mutex<Failures>,
}

/// A verified request.
#[derive(Debug)]
pub struct Received {
    /// Method, path, query and headers. Only what the signature covers may change what is done: method, path, query,
    /// `accept`, `content-type`, `if-none-match`, `prefer`.
    pub head: Parts,
    /// The signed bytes.
    pub body: Bytes,
    question: Arc<Question>,
}

impl Received {
    /// Who asks.
    #[must_use]
    pub fn machine(&self) -> &MachineName {
        &self.question.key_id().machine
    }

    /// Whose key signed it.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        self.question.key_id()
    }

    /// When it was asked, by the clock of the one who asks; to the second.
    #[must_use]
    pub fn created(&self) -> UnixSeconds {
        self.question.created()
    }

    /// The keys that it was signed with; what is sealed for the answer is sealed with the same.
    #[must_use]
    pub fn keys(&self) -> &Arc<Keys> {
        self.question.keys()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The path as it was signed.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// A covered header as text.
    #[must_use]
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl<P: Peers> Receiver<P> {
    /// A receiver for requests in `direction` to `authorities`, with bodies of at most `longest_body` bytes. `ahead` is
    /// of this receiver's program, through all its lives.
    #[must_use]
    pub fn new(
        direction: Direction,
        authorities: Authorities,
        peers: P,
        clock: Clock,
        longest_body: usize,
        ahead: Ahead,
    ) -> Self {
        let replays = Mutex::new(ReplayGuard::new(ReplayLimits::default(), clock.now(), ahead.floors()));
        let (authorities, failures) = (RwLock::new(authorities), Mutex::default());
        Self { direction, authorities, peers, clock, longest_body, replays, ahead, failures }
    }

    /// Answers to these authorities from now on.
    pub fn answer_to(&self, authorities: Authorities) {
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = authorities;
    }

    /// Answers one request that came from `from`: verified before `handler` sees it, signed after. Whoever sends much
    /// without a valid signature is answered with `429` for a while; a valid one is never limited.
    pub async fn serve<B, H, F, A>(&self, request: Request<B>, from: IpAddr, handler: H) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
        H: FnOnce(Received) -> F,
        F: Future<Output = Result<A, Problem>>,
        A: Into<Answering>,
    {
        let received = match self.receive(request, from).await {
            Ok(received) => received,
            Err(refused) => return refused,
        };
        let question = Arc::clone(&received.question);
        let answer = match handler(received).await.map(Into::into) {
            Ok(Answering::Now(answer)) => answer,
            Ok(Answering::Later(coming)) => {
                let clock = self.clock.clone();
                return Later::answer(async move {
                    let answer = coming.await.unwrap_or_else(|fault| problem(&fault));
                    sign(&question, answer, clock.now().wall)
                });
            }
            Err(fault) => problem(&fault),
        };
        sign(&question, answer, self.clock.now().wall)
    }

    /// Verifies a request: head, then body.
    async fn receive<B>(&self, request: Request<B>, from: IpAddr) -> Result<Received, Response<Body>>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
    {
        let (head, body) = request.into_parts();
        let verified = self.verify(&head, from).map_err(|refused| *refused)?;
        let body = match read(body, self.longest_body).await {
            Ok(body) => body,
            Err(code) => return Err(sign(&verified.without_body(), problem(&code.into()), self.clock.now().wall)),
        };
        match verified.with_body(body) {
            Ok(VerifiedRequest { question, body }) => Ok(Received { head, body, question: Arc::new(question) }),
            Err(rejected) => Err(self.reject(&rejected.question, rejected.rejection)),
        }
    }

    fn verify(&self, head: &Parts, from: IpAddr) -> Result<VerifiedHead, Box<Response<Body>>> {
        let authentic = {
            let authorities = self.authorities.read().unwrap_or_else(PoisonError::into_inner);
            verify_head(head, self.direction, &authorities, |id| self.peers.keys(id))
        };
        let authentic = authentic.map_err(|refusal| Box::new(self.refuse(&refusal, from)))?;
        let admitted = {
            let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
            authentic.admit(&mut replays, self.clock.now())
        };
        let verified = admitted.map_err(|rejected| Box::new(self.reject(&rejected.question, rejected.rejection)))?;
        match verified.ahead.map(|at| self.ahead.remember(verified.key_id(), at)) {
            None | Some(Ok(())) => Ok(verified),
            Some(Err(fault)) => {
                error!(key = %verified.key_id(), error = %fault, "cannot keep that a request came from a clock ahead of ours");
                Err(Box::new(sign(&verified.without_body(), problem(&Code::Internal.into()), self.clock.now().wall)))
            }
        }
    }

    /// Answers what nobody is known to have signed.
    fn refuse(&self, refusal: &Refusal, from: IpAddr) -> Response<Body> {
        let verdict = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.count(from, self.clock.now().uptime)
        };
        match verdict {
            Verdict::Answer => return refuse(refusal),
            Verdict::LimitFromNow => {
                warn!(%from, "requests without a valid signature are answered with 429 for a while");
            }
            Verdict::Limit => {}
        }
        limit()
    }

    fn reject(&self, question: &Question, rejection: Rejection) -> Response<Body> {
        info!(key = %question.key_id(), ?rejection, "signed request rejected");
        let now = self.clock.now().wall;
        let fault = match rejection {
            Rejection::ClockSkew => Problem::clock_skew(now),
            Rejection::Replayed | Rejection::Overloaded | Rejection::DigestMismatch => rejection.code().into(),
        };
        sign(question, problem(&fault), now)
    }
}

/// The whole body, of at most that many bytes.
async fn read(body: impl HttpBody<Data = Bytes, Error: Into<BoxError>>, longest: usize) -> Result<Bytes, Code> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, longest).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => Err(Code::BodyTooLarge),
        Ok(Err(_)) | Err(_) => Err(Code::BadRequest),
    }
}

/// Signs an answer; hashes nothing, the payload knows its digest.
fn sign(question: &Question, answer: Reply, now: UnixSeconds) -> Response<Body> {
    let (mut head, payload) = answer.into_parts();
    let has_no_body = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let (bytes, digest) = if has_no_body { Payload::empty() } else { payload }.into_parts();
    match question.sign_response(head.status, &mut head.headers, digest, now) {
        Ok(()) => Response::from_parts(head, Body::from(bytes)),
        Err(cause) => {
            error!(error = %cause, "an answer could not be signed");
            unsigned_internal()
        }
    }
}

/// Only a handler that sets a covered header twice gets here; the other side takes it for a failure of transport.
fn unsigned_internal() -> Response<Body> {
    problem(&Code::Internal.into()).map(|payload| Body::from(payload.into_parts().0))
}

impl<P> std::fmt::Debug for Receiver<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("direction", &self.direction)
            .field("authorities", &self.authorities)
            .finish_non_exhaustive()
    }
}
