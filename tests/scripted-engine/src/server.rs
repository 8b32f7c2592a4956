//! Requests in, answers out, and what fate has in between.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use crate::Shared;
use crate::answer::Answer;
use crate::call::Call;
use crate::compose::Requests;
use crate::fate::Fate;

/// The connection breaks.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the script breaks the connection")
    }
}

impl std::error::Error for Broken {}

/// Serves until the end is wished.
pub(crate) async fn serve(
    listener: std::os::unix::net::UnixListener,
    compose: Requests,
    shared: Arc<Shared>,
    end: oneshot::Receiver<()>,
) {
    let Ok(listener) = UnixListener::from_std(listener) else { return };
    let work = async {
        tokio::spawn(compose.serve(Arc::clone(&shared)));
        while let Ok((stream, _)) = listener.accept().await {
            if shared.inner().is_down {
                continue;
            }
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A connection that broke is the client's to notice.
            tokio::spawn(async move { drop(connection.with_upgrades().await) });
        }
    };
    tokio::select! {
        () = work => {}
        // Cancel-safe: whatever is open breaks off, as with an engine that ends.
        _ = end => {}
    }
}

async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let call = Call::read(&head.method, head.uri.path(), head.uri.query().unwrap_or_default(), &body);
    let answer = meet_fate(&shared, call, crate::Inner::carry_out).await?;
    Ok(respond(answer, upgrade).await)
}

/// Counts a call, carries it out if fate allows, and remembers it if it changed something.
pub(crate) async fn meet_fate(
    shared: &Shared,
    call: Call,
    carry_out: impl FnOnce(&mut crate::Inner, Call) -> Answer,
) -> Result<Answer, Broken> {
    if shared.inner().is_down {
        return Err(Broken);
    }
    if let Call::Version = call {
        return Ok(carry_out(&mut shared.inner(), call));
    }
    let (nth, what, is_change) = {
        let mut inner = shared.inner();
        let (what, is_change) = call.describe(&inner);
        inner.all.push(what.clone());
        (inner.all.len(), what, is_change)
    };
    let fate = shared.hook().fate(nth, &what);
    let serve = || {
        let mut inner = shared.inner();
        if is_change {
            inner.changes.push(what.clone());
        }
        carry_out(&mut inner, call)
    };
    match fate {
        Fate::Serve => match serve() {
            Answer::Never => std::future::pending().await,
            answer => Ok(answer),
        },
        Fate::Refuse => Ok(Answer::Json(500, json!({ "message": "scripted failure" }))),
        Fate::Hang => std::future::pending().await,
        Fate::Break => Err(Broken),
        Fate::BreakAfter => {
            serve();
            Err(Broken)
        }
        Fate::ServeThen(then) => {
            serve();
            then();
            Err(Broken)
        }
    }
}

async fn respond(answer: Answer, upgrade: OnUpgrade) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    match answer {
        Answer::Json(status, body) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
            if !body.is_null() {
                *response.body_mut() = Full::from(body.to_string());
            }
        }
        Answer::Bytes(bytes) => *response.body_mut() = Full::from(bytes),
        Answer::Stream(output) => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(CONNECTION, hyper::header::HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert(UPGRADE, hyper::header::HeaderValue::from_static("tcp"));
            tokio::spawn(stream(upgrade, output));
        }
        Answer::Never => std::future::pending().await,
    }
    response
}

async fn stream(upgrade: OnUpgrade, output: Option<Vec<u8>>) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut stream = TokioIo::new(upgraded);
    match output {
        // Whoever does not read to the end is served all the same.
        Some(output) => drop(stream.write_all(&output).await),
        None => std::future::pending().await,
    }
    drop(stream.shutdown().await);
}
