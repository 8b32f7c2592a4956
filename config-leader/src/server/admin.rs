//! Orders over the network: the same as on the command line, for whoever has a token of the right scope.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use pconf_bundle::{Code, Problem, routes};
use pconf_daemon::Chain;
use pconf_wire::{Clock, Failures, Verdict};
use serde::Serialize;
use tracing::{info, warn};

use crate::audit::{self, Change};
use crate::commands::plan::PlanOrder;
use crate::folder::Folder;
use crate::orders::{Actor, Asked, Order};
use crate::server::Carrier;
use crate::tokens::{self, Token};

/// An order names a few things, or carries one secret.
const LONGEST_ORDER: usize = 1 << 20;
/// Wrong tokens come in floods: the audit log is told of one in so long.
const RECORD_EVERY: Duration = Duration::from_secs(10);

/// Where orders arrive.
pub(crate) struct Counter {
    folder: Folder,
    carrier: Arc<Carrier>,
    clock: Clock,
    failures: Mutex<Failures>,
    /// When a wrong token was last recorded, by uptime.
    recorded: Mutex<Option<Duration>>,
}

/// Why an order is not carried out.
enum Refusal {
    /// No good token. Whatever is wrong with it, the answer is one.
    Stranger,
    /// As [`Refusal::Stranger`], once too often.
    Limited,
    /// A good token, for less, or an order that is none.
    Problem(Problem),
}

impl Counter {
    pub(crate) fn new(folder: Folder, carrier: Arc<Carrier>) -> Arc<Self> {
        let (failures, recorded) = (Mutex::default(), Mutex::default());
        Arc::new(Self { folder, carrier, clock: Clock::system(), failures, recorded })
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/orders", post(order))
            .route("/plan", post(plan))
            .fallback(stranger)
            .with_state(Arc::clone(self))
    }

    /// Who sends this request.
    async fn token(self: &Arc<Self>, headers: &HeaderMap, from: IpAddr) -> Result<Token, Refusal> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let text = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
        let (counter, now) = (Arc::clone(self), self.clock.now().wall);
        let recognised = tokio::task::spawn_blocking(move || tokens::recognise(&counter.folder, &text, now)).await;
        match recognised {
            Ok(Ok(Some(token))) => Ok(token),
            Ok(Ok(None)) => Err(self.refuse(from).await),
            Ok(Err(error)) => {
                warn!(error = %Chain(error.as_ref()), "tokens cannot be read");
                Err(Refusal::Problem(Code::Internal.into()))
            }
            Err(_) => Err(Refusal::Problem(Code::Internal.into())),
        }
    }

    async fn refuse(self: &Arc<Self>, from: IpAddr) -> Refusal {
        let uptime = self.clock.now().uptime;
        let verdict = self.failures.lock().unwrap_or_else(PoisonError::into_inner).count(from, uptime);
        match verdict {
            Verdict::Answer => info!(%from, "an order without a good token was refused"),
            Verdict::LimitFromNow => warn!(%from, "orders without a good token are answered with 429 for a while"),
            Verdict::Limit => return Refusal::Limited,
        }
        let is_due = {
            let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = recorded.is_none_or(|last| uptime >= last + RECORD_EVERY);
            if is_due {
                *recorded = Some(uptime);
            }
            is_due
        };
        if is_due {
            let counter = Arc::clone(self);
            let record = move || {
                let nobody = Actor::Stranger { from };
                audit::append(&counter.folder, &nobody, "token.refused", "orders", Change::default())
            };
            if let Ok(Err(error)) = tokio::task::spawn_blocking(record).await {
                warn!(error = %Chain(error.as_ref()), "the audit log does not tell of a wrong token");
            }
        }
        if verdict == Verdict::Answer { Refusal::Stranger } else { Refusal::Limited }
    }
}

async fn order(
    State(counter): State<Arc<Counter>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    carry_out(&counter, from.ip(), request).await.unwrap_or_else(Refusal::into_response)
}

async fn carry_out(counter: &Arc<Counter>, from: IpAddr, request: Request<Body>) -> Result<Response, Refusal> {
    let (token, body) = heard(counter, from, request).await?;
    let order: Order = serde_json::from_slice(&body)
        .map_err(|error| Refusal::Problem(Problem::new(Code::BadRequest).with_detail(error.to_string())))?;
    obey(counter, token, order).await
}

/// `POST /plan`: the body is the text of a platform.json, or empty for the one that is saved.
async fn plan(
    State(counter): State<Arc<Counter>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let planned = async {
        let (token, body) = heard(&counter, from.ip(), request).await?;
        let text = String::from_utf8(body.to_vec())
            .map_err(|error| Refusal::Problem(Problem::new(Code::BadRequest).with_detail(error.to_string())))?;
        let text = Some(text).filter(|text| !text.trim().is_empty());
        obey(&counter, token, Order::Plan(PlanOrder { text, ..PlanOrder::default() })).await
    };
    planned.await.unwrap_or_else(Refusal::into_response)
}

/// Who asks, and what.
async fn heard(counter: &Arc<Counter>, from: IpAddr, request: Request<Body>) -> Result<(Token, Bytes), Refusal> {
    let (head, body) = request.into_parts();
    let token = counter.token(&head.headers, from).await?;
    let body = axum::body::to_bytes(body, LONGEST_ORDER).await;
    Ok((token, body.map_err(|_| Refusal::Problem(Code::BodyTooLarge.into()))?))
}

async fn obey(counter: &Arc<Counter>, token: Token, order: Order) -> Result<Response, Refusal> {
    let needed = order.scope();
    if !token.scope.covers(needed) {
        let detail = format!("this takes a token of the scope `{needed}`, `{}` has `{}`", token.name, token.scope);
        return Err(Refusal::Problem(Problem::new(Code::RoleForbidden).with_detail(detail)));
    }
    let asked = Asked { order, actor: Actor::Token { name: token.name } };
    Ok(match counter.carrier.carry_out(asked).await {
        Ok(said) => json(StatusCode::OK, &said),
        Err(refusal) => json(StatusCode::UNPROCESSABLE_ENTITY, &refusal),
    })
}

/// Whatever else is asked: nothing is told to those who have no token.
async fn stranger(
    State(counter): State<Arc<Counter>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let (head, _) = request.into_parts();
    match counter.token(&head.headers, from.ip()).await {
        Ok(_) => Refusal::Problem(Code::NotFound.into()).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Refusal {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Stranger => Code::Unauthenticated.into(),
            Self::Limited => Code::RateLimited.into(),
            Self::Problem(problem) => problem,
        };
        let mut answer = Response::new(Body::from(problem.to_body()));
        *answer.status_mut() = problem.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(routes::PROBLEM));
        if problem.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = problem.code.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        answer
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // What was said is text and JSON already.
    let mut answer = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
