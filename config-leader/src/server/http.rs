//! The leader's answers: extract, decide with one call, answer. Followers are verified before any of this.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, FORWARDED, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{Authorities, Code, KeyId, Keys, Origin, Problem, open_report, routes};
use pconf_daemon::{Chain, Version};
use pconf_files::StateFolder;
use pconf_names::{RevisionId, RoleName};
use pconf_wire::{Ahead, Payload, Peers, Received, Receiver, Reply, reply};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::LeaderConfig;
use crate::keys::{KeyStore, State as KeyState};
use crate::server::current::{Current, Served};
use crate::server::latest::Latest;
use crate::server::status::StatusBoard;

/// A report names files and containers of one machine.
const LONGEST_REPORT: usize = 1 << 20;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where requests arrive.
pub(crate) struct Desk {
    receiver: Receiver<Followers>,
    newest: watch::Receiver<Arc<Current>>,
    keys: Arc<KeyStore>,
    board: Arc<StatusBoard>,
    latest: Latest,
}

/// The followers' keys as they are now.
struct Followers {
    keys: Arc<KeyStore>,
}

impl Desk {
    pub(crate) fn open(
        config: &LeaderConfig,
        newest: watch::Receiver<Arc<Current>>,
        keys: Arc<KeyStore>,
        board: Arc<StatusBoard>,
        state: &Arc<StateFolder>,
    ) -> anyhow::Result<Arc<Self>> {
        let authorities = authorities(config, &newest.borrow())?;
        let followers = Followers { keys: Arc::clone(&keys) };
        let ahead = Ahead::open(state)?;
        let receiver =
            Receiver::new(Direction::ToLeader, authorities, followers, keys.clock().clone(), LONGEST_REPORT, ahead);
        Ok(Arc::new(Self { receiver, newest, keys, board, latest: Latest::default() }))
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/__lbheartbeat__", get(|| async {}))
            .route("/__heartbeat__", get(heartbeat))
            .route("/__version__", get(|| async { Json(Version::of("config-leader", env!("CARGO_PKG_VERSION"))) }))
            .fallback(follower)
            .with_state(Arc::clone(self))
    }

    /// Answers to the addresses that the platform derives, whenever they change.
    pub(crate) async fn follow(&self, config: &LeaderConfig) {
        let mut newest = self.newest.clone();
        while newest.changed().await.is_ok() {
            match authorities(config, &newest.borrow_and_update()) {
                Ok(authorities) => self.receiver.answer_to(authorities),
                Err(error) => warn!(error = %Chain(error.as_ref()), "the addresses of the leader stay as they were"),
            }
        }
    }

    async fn answer(&self, request: &Received) -> Result<Reply, Problem> {
        let is_unproven = self.judge(request)?;
        if is_unproven {
            self.prove(request).await;
        }
        let current = Arc::clone(&self.newest.borrow());
        let Some(published) = &current.published else { return Err(Code::Starting.into()) };
        let machine = request.machine();
        let Some(served) = published.machines.get(machine) else {
            // One that has just been declared is in no revision yet.
            if is_unproven || current.addresses.contains_key(machine) {
                return Err(Code::Starting.into());
            }
            let detail = format!("`{machine}` is no machine of this platform");
            return Err(Problem::new(Code::KeyRevoked).with_detail(detail));
        };
        self.board.contact(machine);
        match (request.path(), request.method()) {
            (routes::REPORTS, &Method::POST) => self.report(request),
            (routes::REPORTS, _) => Err(Code::MethodNotAllowed.into()),
            (path, method) => match (routes::role_of(path), method) {
                (Some(role), &Method::GET) => configuration(request, &role, published.revision, served),
                (Some(_), _) => Err(Code::MethodNotAllowed.into()),
                (None, _) => Err(Code::NotFound.into()),
            },
        }
    }

    /// Refuses a key that is good for nothing here; `true` for one that is used for the first time.
    fn judge(&self, request: &Received) -> Result<bool, Problem> {
        let id = request.key_id();
        let held = self.keys.of(&id.machine);
        match held.as_ref().and_then(|held| held.ring.get(id.version)).map(|key| &key.state) {
            Some(KeyState::Next(_)) => Ok(true),
            Some(KeyState::Active | KeyState::Retiring(_)) => Ok(false),
            Some(KeyState::Enrolling(_) | KeyState::Spent(_)) => {
                let detail = format!("the key `{id}` is good for `{}` only", "/enroll");
                Err(Problem::new(Code::RoleForbidden).with_detail(detail))
            }
            // It was dropped since the signature was verified, or revoked.
            Some(KeyState::Revoked) | None => {
                Err(Problem::new(Code::KeyRevoked).with_detail(format!("the key `{id}` is revoked")))
            }
        }
    }

    /// A key is used for the first time: what was before it ends. Where the disk does not take it, the next request says so
    /// again; nobody waits for it.
    async fn prove(&self, request: &Received) {
        let (keys, id) = (Arc::clone(&self.keys), request.key_id().clone());
        let proving = tokio::task::spawn_blocking(move || {
            keys.change(&id.machine, |ring| {
                ring.prove(id.version, keys.clock().now().wall);
                Ok(())
            })
        });
        match proving.await.context("the keeper of keys broke down").flatten() {
            Ok(()) => info!(key = %request.key_id(), "a key is used for the first time: the one before it ends"),
            Err(error) => {
                warn!(key = %request.key_id(), error = %Chain(error.as_ref()), "cannot keep that a key is used");
            }
        }
    }

    fn report(&self, request: &Received) -> Result<Reply, Problem> {
        if request.header(CONTENT_TYPE) != Some(routes::SEALED_REPORT) {
            let detail = format!("reports are taken as `{}` only", routes::SEALED_REPORT);
            return Err(Problem::new(Code::BadRequest).with_detail(detail));
        }
        if !self.latest.admits(request.machine(), request.created()) {
            info!(machine = %request.machine(), "a report came after a newer one and is not heard");
            return Err(Problem::clock_skew(self.keys.clock().now().wall));
        }
        let report = open_report(request.keys(), &request.body).map_err(|error| {
            warn!(machine = %request.machine(), error = %Chain(&error), "a report cannot be opened");
            Problem::new(Code::BadRequest)
        })?;
        info!(machine = %request.machine(), verdict = %report.verdict, "report");
        self.board.report(request.machine(), report);
        Ok(reply(StatusCode::NO_CONTENT, Payload::empty()))
    }
}

/// The bundle of a machine, or the word that it has it already.
fn configuration(request: &Received, role: &RoleName, revision: RevisionId, served: &Served) -> Result<Reply, Problem> {
    if served.role != *role {
        let detail = format!("`{}` has the role `{}`", request.machine(), served.role);
        return Err(Problem::new(Code::RoleForbidden).with_detail(detail));
    }
    if request.header(ACCEPT) != Some(routes::SEALED_BUNDLE) {
        let detail = format!("bundles are served as `{}` only", routes::SEALED_BUNDLE);
        return Err(Problem::new(Code::NotAcceptable).with_detail(detail));
    }
    let sealed = served.sealed(request.keys()).map_err(|error| internal(&error))?;
    let is_known = request.head.headers.get(IF_NONE_MATCH) == Some(&sealed.tag);
    let mut answer = if is_known {
        reply(StatusCode::NOT_MODIFIED, Payload::empty())
    } else {
        reply(StatusCode::OK, sealed.payload.clone())
    };
    let headers = answer.headers_mut();
    headers.insert(ETAG, sealed.tag.clone());
    if !is_known {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_BUNDLE));
        let revision = HeaderValue::from_str(&revision.to_string()).map_err(|error| internal(&error))?;
        headers.insert(routes::CONF_REVISION, revision);
    }
    Ok(answer)
}

/// A follower's request, or that of an admin on this machine who asks for the status.
async fn follower(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    // A proxy on this machine forwards what comes from elsewhere: that is nobody's local request.
    let is_forwarded = request.headers().contains_key(FORWARDED_FOR) || request.headers().contains_key(FORWARDED);
    if request.uri().path() == "/status" && from.ip().is_loopback() && !is_forwarded {
        return match *request.method() {
            Method::GET => Json(desk.board.show(&desk.newest.borrow())).into_response(),
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        };
    }
    let for_handler = Arc::clone(&desk);
    desk.receiver.serve(request, from.ip(), |received| async move { for_handler.answer(&received).await }).await
}

/// Dockerflow: 200 while followers can be served; the checks tell what an operator should look at.
async fn heartbeat(State(desk): State<Arc<Desk>>) -> Response {
    let current = Arc::clone(&desk.newest.borrow());
    let serves = current.published.is_some();
    let inputs = if current.problems.is_empty() { "ok" } else { "warning" };
    let status = if serves { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let (overall, published) = if serves { (inputs, "ok") } else { ("error", "error") };
    (status, Json(json!({ "status": overall, "checks": { "published": published, "inputs": inputs } }))).into_response()
}

/// Every origin by which a follower may call: configured, derived by the platform, and the address listened on.
fn authorities(config: &LeaderConfig, current: &Current) -> anyhow::Result<Authorities> {
    let own = config.listen;
    let own = if own.ip().is_unspecified() {
        ["127.0.0.1", "[::1]", "localhost"].map(|host| format!("http://{host}:{}", own.port())).to_vec()
    } else {
        vec![format!("http://{own}")]
    };
    let derived = current.addresses.values().filter_map(|addresses| addresses.leader.as_deref());
    let origins = own.iter().chain(&config.urls).map(String::as_str).chain(derived);
    let origins = origins.map(|url| url.parse::<Origin>().context("an address of the leader cannot be used"));
    Ok(origins.collect::<anyhow::Result<Vec<_>>>()?.iter().collect())
}

fn internal(error: &dyn std::error::Error) -> Problem {
    warn!(error = %Chain(error), "a request could not be answered");
    Code::Internal.into()
}

impl Peers for Followers {
    fn keys(&self, id: &KeyId) -> Option<Arc<Keys>> {
        self.keys.find(id)
    }
}
