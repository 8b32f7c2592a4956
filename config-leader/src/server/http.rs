//! The leader's answers: extract, decide with one call, answer. Followers are verified before any of this.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use pconf_bundle::signature::Direction;
use pconf_bundle::{
    Authorities, Code, Control, KeyId, Keys, NextKey, Origin, Problem, open_report, open_snapshot, preferred_wait,
    routes,
};
use pconf_daemon::{Chain, Guest, Later, Seat, Service, Version};
use pconf_files::StateFolder;
use pconf_names::{MachineName, RevisionId, RoleName};
use pconf_wire::{Ahead, Answering, Payload, Peers, Received, Receiver, Reply, reply};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::audit::{self, Change};
use crate::config::LeaderConfig;
use crate::enrol::{Welcome, enrol};
use crate::folder::Folder;
use crate::keys::{Held, KeyStore, State as KeyState};
use crate::orders::Actor;
use crate::server::current::{Addresses, Current, Served};
use crate::server::latest::Latest;
use crate::server::status::{self, StatusBoard};
use crate::server::waiting::{Ended, WaitingRoom};
use crate::snapshots::{self, Told};

/// A report names files and containers of one machine.
const LONGEST_REPORT: usize = 1 << 20;
/// How long a machine that joins waits for the platform in which it was just declared.
const DECLARED_WITHIN: Duration = Duration::from_secs(2);

/// How long a machine waits for the disk on which it is noted that it takes a revision.
const NOTED_WITHIN: Duration = Duration::from_secs(5);

/// Where requests arrive.
pub(crate) struct Desk {
    receiver: Receiver<Followers>,
    newest: watch::Receiver<Arc<Current>>,
    keys: Arc<KeyStore>,
    board: Arc<StatusBoard>,
    /// When each machine last reported, and when it last told what it decides by.
    latest: Latest,
    told: Latest,
    snapshots: StateFolder,
    room: Arc<WaitingRoom>,
    folder: Folder,
    /// The certificate of the leader's own authority, where it does TLS.
    authority: Option<String>,
}

/// Where everybody comes in.
#[derive(Clone)]
struct Entrance {
    desk: Arc<Desk>,
    dockerflow: Router,
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// To enrol.
    Joining,
    /// For everything, and it is used for the first time.
    Unproven,
    /// For everything.
    Proven,
}

/// The followers' keys as they are now.
struct Followers {
    keys: Arc<KeyStore>,
}

impl Desk {
    pub(crate) fn open(
        folder: &Folder,
        newest: watch::Receiver<Arc<Current>>,
        keys: Arc<KeyStore>,
        board: Arc<StatusBoard>,
        state: &Arc<StateFolder>,
        authority: Option<String>,
        room: Arc<WaitingRoom>,
    ) -> anyhow::Result<Arc<Self>> {
        let tls = folder.config().tls.as_ref();
        let authorities =
            authorities(folder.config(), &newest.borrow(), tls.map(|tls| tls.names.as_slice()).unwrap_or_default())?;
        let followers = Followers { keys: Arc::clone(&keys) };
        let ahead = Ahead::open(state)?;
        let receiver =
            Receiver::new(Direction::ToLeader, authorities, followers, keys.clock().clone(), LONGEST_REPORT, ahead);
        let (latest, told) = (Latest::default(), Latest::default());
        let snapshots = snapshots::open(folder)?;
        let folder = folder.clone();
        Ok(Arc::new(Self { receiver, newest, keys, board, latest, told, snapshots, room, folder, authority }))
    }

    /// Dockerflow for whoever asks, everything else for followers.
    pub(crate) fn service(self: &Arc<Self>) -> impl Service {
        let dockerflow = Router::new()
            .route("/__lbheartbeat__", get(|| async {}))
            .route("/__heartbeat__", get(heartbeat))
            .route("/__version__", get(|| async { Json(Version::of("config-leader", env!("CARGO_PKG_VERSION"))) }))
            .with_state(Arc::clone(self));
        Entrance { desk: Arc::clone(self), dockerflow }
    }

    /// A follower's request.
    async fn follower(self: &Arc<Self>, request: Request<Incoming>, guest: Guest) -> Response {
        let from = guest.from.ip();
        let answered = |received| async move { self.answer(received, guest).await };
        let answer = self.receiver.serve(request, from, answered).await;
        let board = Arc::clone(&self.board);
        Later::inspect(answer, move |answer| board.counts().requests.answered(answer.status()))
    }

    /// Answers to the addresses that the platform derives and to the names that its certificate is for, whenever they change.
    pub(crate) async fn follow(&self, mut names: watch::Receiver<Vec<String>>) {
        let mut newest = self.newest.clone();
        loop {
            // Cancel-safe: both are looked at whichever has changed.
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                changed = names.changed() => if changed.is_err() { return },
            }
            let known = authorities(self.folder.config(), &newest.borrow_and_update(), &names.borrow_and_update());
            match known {
                Ok(authorities) => self.receiver.answer_to(authorities),
                Err(error) => warn!(error = %Chain(error.as_ref()), "the addresses of the leader stay as they were"),
            }
        }
    }

    /// What a request's key is good for, and all keys of its machine; an error where it is not good for this request.
    fn judge(&self, id: &KeyId, joins: bool) -> Result<(Standing, Arc<Held>), Problem> {
        let held = self.keys.of(&id.machine).ok_or_else(|| revoked(id))?;
        Ok((judge(id, joins, &held)?, held))
    }

    async fn answer(self: &Arc<Self>, request: Received, guest: Guest) -> Result<Answering, Problem> {
        let (standing, mut held) = self.judge(request.key_id(), request.path() == routes::ENROLL)?;
        match standing {
            Standing::Joining => return self.enrol(request, guest.from.ip()).await.map(Answering::Now),
            Standing::Unproven => {
                self.prove(&request).await;
                // Its first use has changed it.
                held = self.keys.of(request.machine()).unwrap_or(held);
            }
            Standing::Proven => {}
        }
        let current = Arc::clone(&self.newest.borrow());
        let machine = request.machine();
        let served = part(&current, machine, standing)?;
        self.board.contact(machine);
        match (request.path(), request.method()) {
            (routes::REPORTS, &Method::POST) => self.report(&request).await.map(Answering::Now),
            (routes::SNAPSHOTS, &Method::POST) => self.snapshot(request).await.map(Answering::Now),
            (routes::REPORTS | routes::SNAPSHOTS, _) => Err(Code::MethodNotAllowed.into()),
            (path, method) => match (routes::role_of(path), method) {
                (Some(role), &Method::GET) => {
                    let asked = Asked::of(&request, role);
                    let answer = self.configuration(&asked, served, &held).await?;
                    let wait = request.header(routes::PREFER).and_then(preferred_wait);
                    match wait.filter(|_| answer.status() == StatusCode::NOT_MODIFIED) {
                        None => Ok(answer.into()),
                        Some(limit) => {
                            let (desk, deadline) = (Arc::clone(self), Instant::now() + limit);
                            let coming =
                                async move { desk.await_configuration(asked, current, deadline, guest.seat).await };
                            Ok(Answering::Later(Box::pin(coming)))
                        }
                    }
                }
                (Some(_), _) => Err(Code::MethodNotAllowed.into()),
                (None, _) => Err(Code::NotFound.into()),
            },
        }
    }

    /// Waits until it is on the disk that the machine takes the revision, where a rollout counts on that.
    async fn noted(&self, machine: &MachineName, revision: RevisionId) -> Result<(), Problem> {
        let is_noted = |current: &Arc<Current>| {
            let rollout = current.rollout.as_ref().filter(|rollout| rollout.goal == revision);
            rollout.is_none_or(|rollout| !rollout.has_to_note(machine))
        };
        let mut newest = self.newest.clone();
        match tokio::time::timeout(NOTED_WITHIN, newest.wait_for(is_noted)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Code::Overloaded.into()),
        }
    }

    /// The bundle of a machine, or the word that it has it already.
    async fn configuration(&self, asked: &Asked, served: &Served, held: &Held) -> Result<Reply, Problem> {
        let answer = self.told(asked, served, held)?;
        if answer.status() == StatusCode::OK {
            self.board.fetched(asked.machine(), served.revision());
            self.noted(asked.machine(), served.revision()).await?;
        }
        Ok(answer)
    }

    /// The bundle of a machine as soon as there is another one than it has, or at the end of its time.
    async fn await_configuration(
        &self,
        asked: Asked,
        mut current: Arc<Current>,
        deadline: Instant,
        seat: Seat,
    ) -> Result<Reply, Problem> {
        let mut waiter = self.room.enter(asked.machine(), &seat).ok_or(Code::Overloaded)?;
        loop {
            let ended = waiter.wait(current, deadline).await;
            let turn = self.room.turn().await;
            current = Arc::clone(&self.newest.borrow());
            // Much may have happened to the key meanwhile.
            let (standing, held) = self.judge(asked.keys.id(), false)?;
            let served = part(&current, asked.machine(), standing)?;
            let mut answer = self.configuration(&asked, served, &held).await?;
            match ended {
                Ended::News if answer.status() == StatusCode::NOT_MODIFIED => {}
                Ended::News | Ended::Over => {
                    // Until it is written.
                    answer.extensions_mut().insert(turn);
                    return Ok(answer);
                }
                Ended::Replaced => {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    return Ok(answer);
                }
            }
        }
    }

    /// The bundle of a machine, or the word that it has it already.
    fn told(&self, asked: &Asked, served: &Served, held: &Held) -> Result<Reply, Problem> {
        if *served.role() != asked.role {
            let detail = format!("`{}` has the role `{}`", asked.machine(), served.role());
            return Err(Problem::new(Code::RoleForbidden).with_detail(detail));
        }
        if !asked.accepts_sealed {
            let detail = format!("bundles are served as `{}` only", routes::SEALED_BUNDLE);
            return Err(Problem::new(Code::NotAcceptable).with_detail(detail));
        }
        let serial = self.has_control(held).then(|| held.ring.serial());
        let told = served.told(&asked.keys, serial, || self.control(held), asked.known.as_ref());
        let (tag, sealed) = told.map_err(|error| internal(&error))?;
        let mut answer = match sealed {
            None => reply(StatusCode::NOT_MODIFIED, Payload::empty()),
            Some(payload) => reply(StatusCode::OK, payload),
        };
        if answer.status() == StatusCode::OK {
            let revision = HeaderValue::from_str(&served.revision().to_string()).map_err(|error| internal(&error))?;
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_BUNDLE));
            headers.insert(routes::CONF_REVISION, revision);
        }
        answer.headers_mut().insert(ETAG, tag);
        Ok(answer)
    }

    /// Whether there is anything to tell a machine about its connection.
    fn has_control(&self, held: &Held) -> bool {
        self.authority.is_some() || held.ring.announced().is_some()
    }

    /// What a machine is told about its connection; nothing where there is nothing to say.
    fn control(&self, held: &Held) -> Option<Control> {
        let next_key = held.ring.announced().map(|key| NextKey { version: key.version, key: key.key.clone() });
        let control = Control { serial: held.ring.serial(), next_key, authorities: self.authority.clone() };
        self.has_control(held).then_some(control)
    }

    /// Hands out a key to a machine that joins.
    async fn enrol(self: &Arc<Self>, request: Received, from: IpAddr) -> Result<Reply, Problem> {
        if *request.method() != Method::POST {
            return Err(Code::MethodNotAllowed.into());
        }
        let Addresses { follower, root, .. } = self.addresses(request.machine()).await?;
        let welcome = Welcome { authorities: self.authority.clone(), root, urls: follower.into_iter().collect() };
        let desk = Arc::clone(self);
        let enrolling = tokio::task::spawn_blocking(move || {
            let alarm = || desk.alarm(request.key_id(), from);
            let enrolled = enrol(&desk.folder, &desk.keys, &request, from, welcome, alarm);
            if let (Ok(_), Err(error)) = (&enrolled, snapshots::forget(&desk.folder, request.machine())) {
                warn!(error = %Chain(error.as_ref()), "what the machine before this one told is still there");
            }
            enrolled
        });
        enrolling.await.unwrap_or_else(|_| Err(Code::Internal.into()))
    }

    /// What is known of a machine that was perhaps declared a moment ago. Without it a follower would not know where its files
    /// go.
    async fn addresses(&self, machine: &MachineName) -> Result<Addresses, Problem> {
        let mut newest = self.newest.clone();
        let declared = newest.wait_for(|current| current.addresses.contains_key(machine));
        let current = match tokio::time::timeout(DECLARED_WITHIN, declared).await {
            Ok(Ok(current)) => Arc::clone(&current),
            _ => return Err(Code::Starting.into()),
        };
        Ok(current.addresses.get(machine).cloned().unwrap_or_default())
    }

    /// Somebody uses a string that somebody else has used. Told once: whoever does it again has nothing new to say.
    fn alarm(&self, id: &KeyId, from: IpAddr) {
        if !self.board.alarm(id, from) {
            return;
        }
        warn!(key = %id, %from, "somebody else has used this string to join: is the machine that did it the right one?");
        let nobody = Actor::Stranger { from };
        if let Err(error) =
            audit::append(&self.folder, &nobody, "machine.enrol-again", &id.to_string(), Change::default())
        {
            warn!(error = %Chain(error.as_ref()), "the audit log does not tell of an alarm");
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

    async fn report(&self, request: &Received) -> Result<Reply, Problem> {
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
        self.board.report(request.machine(), report).await;
        Ok(reply(StatusCode::NO_CONTENT, Payload::empty()))
    }

    /// What a machine decides by, for those who plan.
    async fn snapshot(self: &Arc<Self>, request: Received) -> Result<Reply, Problem> {
        if request.header(CONTENT_TYPE) != Some(routes::SEALED_SNAPSHOT) {
            let detail = format!("snapshots are taken as `{}` only", routes::SEALED_SNAPSHOT);
            return Err(Problem::new(Code::BadRequest).with_detail(detail));
        }
        if !self.told.admits(request.machine(), request.created()) {
            info!(machine = %request.machine(), "a snapshot came after a newer one and is not heard");
            return Err(Problem::clock_skew(self.keys.clock().now().wall));
        }
        let desk = Arc::clone(self);
        let keeping = tokio::task::spawn_blocking(move || {
            let machine = request.machine();
            let snapshot = open_snapshot(request.keys(), &request.body).map_err(|error| {
                warn!(%machine, error = %Chain(&error), "a snapshot cannot be opened");
                Problem::new(Code::BadRequest)
            })?;
            let snapshot = serde_json::from_slice(&snapshot).map_err(|error| {
                warn!(%machine, %error, "a snapshot is not understood: are both sides of one version?");
                Problem::new(Code::BadRequest)
            })?;
            let told = Told { at: status::now(), snapshot };
            snapshots::keep(&desk.snapshots, machine, &told).map_err(|error| {
                warn!(%machine, error = %Chain(error.as_ref()), "what a machine told cannot be kept");
                Problem::new(Code::Internal)
            })
        });
        keeping.await.unwrap_or_else(|_| Err(Code::Internal.into()))?;
        Ok(reply(StatusCode::NO_CONTENT, Payload::empty()))
    }
}

/// A question for a bundle, apart from the request that it came with: a header's value would keep all of its buffer.
struct Asked {
    role: RoleName,
    keys: Arc<Keys>,
    accepts_sealed: bool,
    known: Option<HeaderValue>,
}

impl Asked {
    fn of(request: &Received, role: RoleName) -> Self {
        let known = request.head.headers.get(IF_NONE_MATCH);
        Self {
            role,
            keys: Arc::clone(request.keys()),
            accepts_sealed: request.header(ACCEPT) == Some(routes::SEALED_BUNDLE),
            known: known.and_then(|tag| HeaderValue::from_bytes(tag.as_bytes()).ok()),
        }
    }

    fn machine(&self) -> &MachineName {
        &self.keys.id().machine
    }
}

/// What a machine is told.
fn part<'a>(current: &'a Current, machine: &MachineName, standing: Standing) -> Result<&'a Served, Problem> {
    let Some(published) = &current.published else { return Err(Code::Starting.into()) };
    match current.machines.get(machine) {
        Some(served) => Ok(served),
        // One that has just been declared is in no revision yet.
        None if published.machines.contains_key(machine)
            || standing == Standing::Unproven
            || current.addresses.contains_key(machine) =>
        {
            Err(Code::Starting.into())
        }
        None => {
            let detail = format!("`{machine}` is no machine of this platform");
            Err(Problem::new(Code::KeyRevoked).with_detail(detail))
        }
    }
}

/// What a request's key is good for; an error where it is not good for this request.
fn judge(id: &KeyId, joins: bool, held: &Held) -> Result<Standing, Problem> {
    let forbidden = |detail: String| Err(Problem::new(Code::RoleForbidden).with_detail(detail));
    match held.ring.get(id.version).map(|key| &key.state) {
        Some(KeyState::Enrolling(_) | KeyState::Spent(_)) if joins => Ok(Standing::Joining),
        Some(KeyState::Enrolling(_) | KeyState::Spent(_)) => {
            forbidden(format!("the key `{id}` is good for `{}` only", routes::ENROLL))
        }
        Some(KeyState::Next(_) | KeyState::Active | KeyState::Retiring(_)) if joins => {
            forbidden(format!("`{}` has enrolled already", id.machine))
        }
        Some(KeyState::Next(_)) => Ok(Standing::Unproven),
        Some(KeyState::Active | KeyState::Retiring(_)) => Ok(Standing::Proven),
        // Revoked, or dropped since the signature was verified.
        Some(KeyState::Revoked) | None => Err(revoked(id)),
    }
}

fn revoked(id: &KeyId) -> Problem {
    Problem::new(Code::KeyRevoked).with_detail(format!("the key `{id}` is revoked"))
}

impl Service for Entrance {
    async fn answer(&self, request: Request<Incoming>, guest: Guest) -> Response {
        if request.uri().path().starts_with("/__") {
            return self.dockerflow.answer(request, guest).await;
        }
        self.desk.follower(request, guest).await
    }
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
fn authorities(config: &LeaderConfig, current: &Current, names: &[String]) -> anyhow::Result<Authorities> {
    let own = config.listen;
    let own = if own.ip().is_unspecified() {
        ["127.0.0.1", "[::1]", "localhost"].map(|host| format!("http://{host}:{}", own.port())).to_vec()
    } else {
        vec![format!("http://{own}")]
    };
    let derived = current.addresses.values().filter_map(|addresses| addresses.leader.as_deref());
    let origins = own.iter().chain(&config.urls).map(String::as_str).chain(derived);
    let origins = origins.map(|url| url.parse::<Origin>().context("an address of the leader cannot be used"));
    let through_tls = config.tls.as_ref().map(|tls| tls.origins(names)).transpose()?.unwrap_or_default();
    Ok(origins.collect::<anyhow::Result<Vec<_>>>()?.iter().chain(&through_tls).collect())
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
