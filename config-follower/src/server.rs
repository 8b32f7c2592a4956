//! What the follower answers: to the leader that there is something to look at, to monitors that it is alive.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{Authorities, Code, KeyId, Keys, Problem, routes};
use pconf_daemon::Version;
use pconf_names::RevisionId;
use pconf_wire::{Ahead, Clock, Payload, Peers, Received, Receiver, Reply, reply};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use crate::Config;
use crate::identity::Identity;
use crate::memory::{Fault, Memory, since};
use crate::metrics::{self, Counts, Position};

/// A notification is a number and a word.
const LONGEST_NOTIFICATION: usize = 4096;

/// Where the listener and the cycle meet.
pub(crate) struct Desk {
    receiver: Receiver<OurLeader>,
    /// Many words before the next cycle wake it once.
    wake: Notify,
    view: Mutex<View>,
    counts: Arc<Counts>,
}

/// The machine as it was after the last cycle.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    desired: Option<RevisionId>,
    on_disk: Option<RevisionId>,
    running: Option<RevisionId>,
    last_contact: Option<String>,
    last_error: Option<Fault>,
    #[serde(skip)]
    position: Position,
}

/// The leader's word. Its reason is for the leader's own log.
#[derive(Deserialize)]
struct Notification {
    revision: Option<RevisionId>,
}

/// The only one who may ask.
#[derive(Debug)]
struct OurLeader {
    identity: Arc<Identity>,
}

impl Peers for OurLeader {
    fn keys(&self, id: &KeyId) -> Option<Arc<Keys>> {
        self.identity.ring().find(id).cloned()
    }
}

impl Desk {
    /// A desk that answers at `address`, where it listens, and by the origins of `config`.
    pub(crate) fn open(
        config: &Config,
        address: Option<SocketAddr>,
        memory: &Memory,
        identity: Arc<Identity>,
        counts: Arc<Counts>,
    ) -> anyhow::Result<Arc<Self>> {
        let own = address.map(|address| format!("http://{address}").parse()).transpose()?;
        let authorities: Authorities = config.urls.iter().chain(&own).collect();
        let ahead = Ahead::open(&memory.folder())?;
        let leader = OurLeader { identity };
        let receiver =
            Receiver::new(Direction::ToFollower, authorities, leader, Clock::system(), LONGEST_NOTIFICATION, ahead);
        let desk = Self { receiver, wake: Notify::new(), view: Mutex::default(), counts };
        desk.show(memory, Position::default());
        Ok(Arc::new(desk))
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/__lbheartbeat__", get(|| async {}))
            .route("/__heartbeat__", get(heartbeat))
            .route("/__version__", get(|| async { Json(Version::of("config-follower", env!("CARGO_PKG_VERSION"))) }))
            .route(routes::NOTIFY, post(notify))
            .with_state(Arc::clone(self))
    }

    /// Waits until somebody says that there is something to look at. Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Shows what is remembered to those who ask.
    pub(crate) fn show(&self, memory: &Memory, position: Position) {
        let mut view = self.view();
        // The leader may have told of a newer one while the cycle was at the one before.
        let desired = view.desired.max(memory.status.desired);
        *view = View {
            desired,
            on_disk: memory.ledger.on_disk(),
            running: memory.ledger.running(),
            last_contact: memory.status.last_contact.clone(),
            last_error: memory.status.last_error.clone(),
            position: Position { desired, ..position },
        };
    }

    /// What monitors read.
    pub(crate) fn scrape(&self) -> String {
        let View { position, last_contact, .. } = self.view().clone();
        let silent = last_contact.as_deref().and_then(since).map(|silent| silent.as_secs_f64());
        metrics::scrape(&self.counts, &Position { silent, ..position })
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, request: &Received) -> Result<Reply, Problem> {
        let notification: Notification = serde_json::from_slice(&request.body)
            .map_err(|error| Problem::new(Code::BadRequest).with_detail(error.to_string()))?;
        let applied = {
            let mut view = self.view();
            view.desired = view.desired.max(notification.revision);
            view.running
        };
        self.wake.notify_one();
        let body = json!({ "accepted": notification.revision, "applied": applied }).to_string();
        let mut answer = reply(StatusCode::ACCEPTED, Payload::new(body));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer)
    }
}

async fn notify(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let answer = desk.receiver.serve(request, from.ip(), |received| std::future::ready(desk.hear(&received))).await;
    desk.counts.requests.answered(answer.status());
    answer
}

/// 200 when the last cycle went well, 500 when it did not; the body says what is known.
async fn heartbeat(State(desk): State<Arc<Desk>>) -> Response {
    let view = desk.view().clone();
    let status = if view.last_error.is_none() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, Json(view)).into_response()
}
