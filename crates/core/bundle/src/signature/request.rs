//! Requests: signed by the side that asks, verified by the side that answers, in an order that is cheap and safe.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, IF_NONE_MATCH, TRANSFER_ENCODING};
use http::{Method, StatusCode, request::Parts};
use zeroize::Zeroizing;

use super::Direction;
use super::authenticator::{ReceivedMac, sign, signature_input};
use super::base::Base;
use super::cause::Cause;
use super::components::{CONTENT_DIGEST, Target, content_digest, once};
use super::parameters::{Nonce, RequestParameters, ResponseParameters};
use super::replay::ReplayGuard;
use crate::authority::{Authorities, Origin};
use crate::digest_field::ContentDigest;
use crate::keys::{KeyId, Keys, mac_key};
use crate::problem::Code;
use crate::time::{Moment, UnixSeconds};

/// The life that a request is given, in seconds.
const LIFE: u64 = 60;
/// The largest head that is looked at: bytes of names and values, and fields.
const LARGEST_HEAD: (usize, usize) = (16 * 1024, 64);

/// Why a request is refused before anybody is known to have signed it. The answer to it cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP as we speak it, and why.
    Malformed(&'static str),
    /// `HEAD`, `CONNECT` and `TRACE` have no place here.
    MethodNotAllowed,
    /// More than 16 KiB or 64 fields.
    HeadTooLarge,
    /// No signature that is accepted. The cause is for the log alone.
    Unauthenticated(Cause),
}

/// Why a request is refused although its signature is good. The answer is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Its time is not the receiver's.
    ClockSkew,
    /// It was accepted before.
    Replayed,
    /// Too many requests are remembered.
    Overloaded,
    /// Its body is not the signed one.
    DigestMismatch,
}

/// A rejected request, still good to sign an answer to.
#[derive(Debug)]
pub struct Rejected {
    /// What the answer is bound to.
    pub question: Question,
    /// Why.
    pub rejection: Rejection,
}

/// What is asked of whom, apart from the headers.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Not `HEAD`, `CONNECT` or `TRACE`.
    pub method: &'a Method,
    /// Where.
    pub origin: &'a Origin,
    /// Raw, from its leading slash on.
    pub path: &'a str,
    /// Raw, without the question mark.
    pub query: Option<&'a str>,
    /// The digest of the body, of no bytes when there is none.
    pub body: ContentDigest,
}

/// A request that its sender keeps until the answer has come: the answer has to be bound to it.
#[derive(Debug)]
pub struct SentRequest {
    pub(super) exchange: Exchange,
    pub(super) names_a_version: bool,
}

/// A received request whose signature is good: what an answer to it is bound to.
#[derive(Debug)]
pub struct Question {
    exchange: Box<Exchange>,
    /// By the clock of the one who asks.
    created: UnixSeconds,
}

/// What both sides know of one question.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) keys: Arc<Keys>,
    pub(super) direction: Direction,
    pub(super) target: Target,
    /// The MAC's text `:…:`.
    pub(super) signature: String,
}

/// A head whose MAC is good; nothing is known yet about its time.
#[derive(Debug)]
pub struct AuthenticHead {
    question: Question,
    parameters: RequestParameters,
    digest: ContentDigest,
}

/// A head that was signed by a known key, lately, and is seen for the first time.
#[derive(Debug)]
pub struct VerifiedHead {
    question: Question,
    digest: ContentDigest,
    /// When it was created, if that lay ahead of the receiver's clock: to be persisted before it is answered.
    pub ahead: Option<UnixSeconds>,
}

/// A whole request as its sender signed it.
#[derive(Debug)]
pub struct VerifiedRequest<B> {
    /// What the answer is bound to.
    pub question: Question,
    /// The signed bytes.
    pub body: B,
}

/// Signs a request for `origin`. Everything that changes what the receiver does has to be in `headers` before; adds
/// `Content-Digest` and the signature.
///
/// # Errors
///
/// A covered header is there twice or is not ASCII.
pub fn sign_request(
    keys: Arc<Keys>,
    direction: Direction,
    asked: &Asked<'_>,
    headers: &mut HeaderMap,
    created: UnixSeconds,
    nonce: Nonce,
) -> Result<SentRequest, Cause> {
    let target = Target::new(asked.method.clone(), asked.origin.authority(), asked.path, asked.query);
    let digest = asked.body.to_text();
    let base = Base::of_request(&target, &digest, headers)?;
    let names_a_version = headers.contains_key(IF_NONE_MATCH);
    let parameters = RequestParameters { created, expires: created.plus(LIFE), nonce, key_id: keys.id().clone() };
    headers.insert(CONTENT_DIGEST, crate::header_value(digest));
    let signature = sign(headers, "req", base, &parameters.to_text(), keys.mac(direction));
    Ok(SentRequest { exchange: Exchange { keys, direction, target, signature }, names_a_version })
}

/// Verifies the signature over a head. `keys` finds the keys of a known id.
///
/// # Errors
///
/// See [`Refusal`].
pub fn verify_head(
    parts: &Parts,
    direction: Direction,
    authorities: &Authorities,
    keys: impl FnOnce(&KeyId) -> Option<Arc<Keys>>,
) -> Result<AuthenticHead, Refusal> {
    well_formed(parts)?;
    authentic(parts, direction, authorities, keys).map_err(Refusal::Unauthenticated)
}

fn well_formed(parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let (most_bytes, most_fields) = LARGEST_HEAD;
    if bytes + parts.uri.path().len() + parts.uri.query().map_or(0, str::len) > most_bytes
        || headers.len() > most_fields
    {
        return Err(Refusal::HeadTooLarge);
    }
    if [Method::HEAD, Method::CONNECT, Method::TRACE].contains(&parts.method) {
        return Err(Refusal::MethodNotAllowed);
    }
    let count = |name: HeaderName| headers.get_all(name).iter().count();
    if parts.uri.authority().is_some() || !parts.uri.path().starts_with('/') {
        return Err(Refusal::Malformed("the request target is not a path"));
    }
    if count(HOST) != 1 {
        return Err(Refusal::Malformed("there is not exactly one `Host`"));
    }
    if count(CONTENT_LENGTH) + count(TRANSFER_ENCODING) > 1 {
        return Err(Refusal::Malformed("the body has several lengths"));
    }
    if parts.uri.path().split('/').any(climbs) {
        return Err(Refusal::Malformed("the path has a `.` or `..` segment or an escaped slash"));
    }
    Ok(())
}

fn climbs(segment: &str) -> bool {
    if !segment.contains(['.', '%']) {
        return false;
    }
    let segment = segment.to_ascii_lowercase();
    segment.contains("%2f") || matches!(segment.replace("%2e", ".").as_str(), "." | "..")
}

/// What a request of an unknown key is verified with.
static NOBODY: LazyLock<hmac::Key> = LazyLock::new(|| mac_key(&Zeroizing::new([0; 32])));

fn authentic(
    parts: &Parts,
    direction: Direction,
    authorities: &Authorities,
    keys: impl FnOnce(&KeyId) -> Option<Arc<Keys>>,
) -> Result<AuthenticHead, Cause> {
    static HOST_NAME: HeaderName = HOST;
    let headers = &parts.headers;
    let input = signature_input(headers)?;
    let received = ReceivedMac::read(headers, "req")?;
    let host = once(headers, &HOST_NAME)?.unwrap_or_default();
    let authority = authorities.canonical(host).ok_or_else(|| Cause::Authority(host.to_owned()))?;
    let target = Target::new(parts.method.clone(), authority.to_owned(), parts.uri.path(), parts.uri.query());
    let (digest, digest_text) = content_digest(headers)?;
    let base = Base::of_request(&target, digest_text, headers)?;
    let (parameters, signed) = RequestParameters::parse(input, base.covered())?;
    let Some(keys) = keys(&parameters.key_id) else {
        // An unknown key costs what a known one does: the time of the refusal tells nothing. The outcome is not looked at.
        let _good_or_bad = received.verify(base, signed, &NOBODY, &parameters.key_id);
        return Err(Cause::UnknownKey(parameters.key_id));
    };
    received.verify(base, signed, keys.mac(direction), &parameters.key_id)?;
    let exchange = Exchange { keys, direction, target, signature: received.text };
    let question = Question { exchange: Box::new(exchange), created: parameters.created };
    Ok(AuthenticHead { question, parameters, digest })
}

impl AuthenticHead {
    /// Checks that the request is fresh and seen for the first time, and remembers it.
    ///
    /// # Errors
    ///
    /// Its time, its nonce, or too many of them.
    pub fn admit(self, replays: &mut ReplayGuard, now: Moment) -> Result<VerifiedHead, Rejected> {
        match replays.admit(now, &self.parameters) {
            Ok(ahead) => Ok(VerifiedHead {
                question: self.question,
                digest: self.digest,
                ahead: ahead.then_some(self.parameters.created),
            }),
            Err(rejection) => Err(Rejected { question: self.question, rejection }),
        }
    }
}

impl VerifiedHead {
    /// Checks that `body` is the one that was signed.
    ///
    /// # Errors
    ///
    /// It is another.
    pub fn with_body<B: AsRef<[u8]>>(self, body: B) -> Result<VerifiedRequest<B>, Rejected> {
        if self.digest.matches(body.as_ref()) {
            Ok(VerifiedRequest { question: self.question, body })
        } else {
            Err(Rejected { question: self.question, rejection: Rejection::DigestMismatch })
        }
    }

    /// Gives up on the body: what an answer that says so is bound to.
    #[must_use]
    pub fn without_body(self) -> Question {
        self.question
    }

    /// Whose key signed it.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        self.question.key_id()
    }
}

impl Question {
    /// Whose key signed it.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        self.exchange.keys.id()
    }

    /// When it was asked, by the clock of the one who asks.
    #[must_use]
    pub fn created(&self) -> UnixSeconds {
        self.created
    }

    /// The keys that the question was signed with; the answer is sealed with the same.
    #[must_use]
    pub fn keys(&self) -> &Arc<Keys> {
        &self.exchange.keys
    }

    /// Signs the answer. `headers` has to be complete; adds `Content-Digest` and the signature. `digest` is that of the
    /// body as it leaves, of no bytes for `204` and `304`.
    ///
    /// # Errors
    ///
    /// A covered header is there twice or is not ASCII.
    pub fn sign_response(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        digest: ContentDigest,
        created: UnixSeconds,
    ) -> Result<(), Cause> {
        let Exchange { keys, direction, target, signature } = &*self.exchange;
        let digest = digest.to_text();
        let base = Base::of_response(status, &digest, headers, target, signature)?;
        let parameters = ResponseParameters { created, key_id: keys.id().clone() };
        headers.insert(CONTENT_DIGEST, crate::header_value(digest));
        sign(headers, "res", base, &parameters.to_text(), keys.mac(direction.of_the_answer()));
        Ok(())
    }
}

impl Rejection {
    /// The code of the answer.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::ClockSkew => Code::ClockSkew,
            Self::Replayed => Code::Replayed,
            Self::Overloaded => Code::Overloaded,
            Self::DigestMismatch => Code::DigestMismatch,
        }
    }
}
