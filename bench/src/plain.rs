//! The yardstick of trust: axum as it comes, which gives the same answer to whoever asks.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use promises::{Answer, Daemon, Program, eventually, get};
use tempfile::TempDir;

/// The first argument of this program when it is to be the yardstick.
pub(crate) const ARGUMENT: &str = "plain-axum";

/// A running axum, in a process of its own.
pub(crate) struct Plain {
    _folder: TempDir,
    pub(crate) daemon: Daemon,
    pub(crate) address: SocketAddr,
}

impl Plain {
    /// One that gives that answer.
    pub(crate) fn answering(answer: &Answer, address: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| is_ours(name)).collect();
        let head = serde_json::json!({ "status": answer.status, "headers": headers });
        fs::write(folder.path().join("head"), head.to_string())?;
        fs::write(folder.path().join("body"), &answer.body)?;
        let program = Program::named(&std::env::current_exe()?.display().to_string());
        let program = program.arg(ARGUMENT).arg(address.to_string()).arg(folder.path());
        let daemon = Daemon::start(program, &folder.path().join("log"))?;
        eventually("plain axum answers", || Ok(get(address, "/").ok()))?;
        Ok(Self { _folder: folder, daemon, address })
    }
}

/// What the server adds by itself would be there twice.
fn is_ours(name: &str) -> bool {
    !["date", "content-length", "connection"].contains(&name)
}

/// Is the yardstick, until it is killed. It has as many threads as the leader.
pub(crate) fn serve(address: &str, folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let head: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("head"))?)?;
    let status = StatusCode::from_u16(head["status"].as_u64().context("a status")?.try_into()?)?;
    let pairs: Vec<(String, String)> = serde_json::from_value(head["headers"].clone())?;
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?);
    }
    let body = Bytes::from(fs::read(folder.join("body"))?);
    let router = Router::new().fallback(move || {
        let (headers, body) = (headers.clone(), body.clone());
        async move { (status, headers, body).into_response() }
    });
    let threads = thread::available_parallelism().map_or(2, |count| count.get().min(4));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        Ok(axum::serve(listener, router).await?)
    })
}
