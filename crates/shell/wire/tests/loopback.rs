//! What client and receiver promise each other, through real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set itself up should stop there")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use pconf_bundle::signature::{Cause, Direction};
use pconf_bundle::{Authorities, Code, EnrolmentKey, KeyId, Keys, Moment, Origin, Problem, UnixSeconds};
use pconf_daemon::{from_state, to_state};
use pconf_files::StateFolder;
use pconf_wire::{
    Ahead, Answer, CallError, Client, Clock, Payload, Peer, Peers, Received, Receiver, Reply, Timeouts, Trust, reply,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const LIMIT: usize = 64 * 1024;

fn keys(id: &str, seed: u8) -> Arc<Keys> {
    Arc::new(Keys::derive(id.parse().unwrap(), &EnrolmentKey::from([seed; 32])))
}

/// Knows `co1.1`.
struct OneMachine;

impl Peers for OneMachine {
    fn keys(&self, id: &KeyId) -> Option<Arc<Keys>> {
        (id.to_string() == "co1.1").then(|| keys("co1.1", 1))
    }
}

/// A receiver's state folder.
fn state() -> (TempDir, Arc<StateFolder>) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::open(&folder.path().join("state")).unwrap();
    (folder, Arc::new(state))
}

/// Serves `handler` behind a receiver that keeps its memory in `state`, at `listener`.
fn start<F>(
    listener: TcpListener,
    authorities: Authorities,
    (direction, clock): (Direction, Clock),
    state: &Arc<StateFolder>,
    handler: fn(Received) -> F,
) -> Arc<Receiver<OneMachine>>
where
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let ahead = Ahead::open(state).unwrap();
    let receiver = Arc::new(Receiver::new(direction, authorities, OneMachine, clock, LIMIT, ahead));
    let shared = Arc::clone(&receiver);
    let router = Router::new().fallback(move |ConnectInfo(from): ConnectInfo<SocketAddr>, request: Request| {
        let receiver = Arc::clone(&shared);
        async move { receiver.serve(request, from.ip(), handler).await }
    });
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    receiver
}

/// The machine's clock, `ahead` seconds ahead of it.
fn clock(ahead: i64) -> Clock {
    let system = Clock::system();
    Clock::new(move || {
        let now = system.now();
        Moment { wall: UnixSeconds(now.wall.0.checked_add_signed(ahead).unwrap()), ..now }
    })
}

/// A clock that started long ago, so that nothing is refused for being of an earlier life.
fn settled() -> Clock {
    let system = Clock::system();
    let first = Mutex::new(true);
    Clock::new(move || {
        let now = system.now();
        let started = std::mem::take(&mut *first.lock().unwrap());
        if started { Moment { wall: UnixSeconds(now.wall.0 - 20), ..now } } else { now }
    })
}

async fn listen() -> (TcpListener, Origin) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, origin)
}

/// Serves `handler` behind a receiver and returns where.
async fn serve_with<F>(direction: Direction, clock: Clock, handler: fn(Received) -> F) -> Origin
where
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let (listener, origin) = listen().await;
    let (_folder, state) = state();
    start(listener, [&origin].into_iter().collect(), (direction, clock), &state, handler);
    origin
}

async fn serve<F>(handler: fn(Received) -> F) -> Origin
where
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    serve_with(Direction::ToLeader, settled(), handler).await
}

fn client_with(direction: Direction, clock: Clock) -> Client {
    let timeouts =
        Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(5), whole: Duration::from_secs(20) };
    Client::new(direction, clock, timeouts, LIMIT, Trust::System).unwrap()
}

fn client() -> Client {
    client_with(Direction::ToLeader, Clock::system())
}

fn co1(origin: Origin) -> Peer {
    Peer::new(origin, keys("co1.1", 1))
}

/// Says what was asked: method, path, query, machine and body.
async fn echo(received: Received) -> Result<Reply, Problem> {
    let text = format!(
        "{} {} {:?} {} {}",
        received.method(),
        received.path(),
        received.head.uri.query(),
        received.machine(),
        String::from_utf8_lossy(&received.body)
    );
    Ok(reply(StatusCode::OK, Payload::new(text)))
}

fn shown(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
}

#[tokio::test]
async fn a_follower_asks_and_reports() -> anyhow::Result<()> {
    let leader = co1(serve(echo).await);
    let asked = client().get(&leader, "/conf/core?a=%2Fb", HeaderMap::new()).await?;
    assert_eq!(shown(&asked), (200, "GET /conf/core Some(\"a=%2Fb\") co1 ".to_owned()));
    let typed = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
    let reported = client().post(&leader, "/reports", typed, Bytes::from_static(b"all is well")).await?;
    assert_eq!(shown(&reported), (200, "POST /reports None co1 all is well".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_leader_notifies() -> anyhow::Result<()> {
    let origin = serve_with(Direction::ToFollower, settled(), echo).await;
    let leader = client_with(Direction::ToFollower, Clock::system());
    let answer = leader.post(&co1(origin), "/notify", HeaderMap::new(), Bytes::new()).await?;
    assert_eq!(shown(&answer), (200, "POST /notify None co1 ".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_follower_cannot_play_the_leader() {
    let origin = serve_with(Direction::ToFollower, settled(), echo).await;
    let outcome = client().post(&co1(origin), "/notify", HeaderMap::new(), Bytes::new()).await;
    assert!(matches!(outcome, Err(CallError::Stranger { .. })), "{outcome:?}");
}

#[tokio::test]
async fn not_modified_is_signed_and_empty() -> anyhow::Result<()> {
    async fn unchanged(received: Received) -> Result<Reply, Problem> {
        let mut answer = reply(StatusCode::NOT_MODIFIED, Payload::new("what a handler forgot to leave out"));
        if let Some(tag) = received.head.headers.get(IF_NONE_MATCH) {
            answer.headers_mut().insert(ETAG, tag.clone());
        }
        Ok(answer)
    }
    let leader = co1(serve(unchanged).await);
    let tag = HeaderValue::from_static("\"1.42-e3b0c44298fc1c14\"");
    let answer = client().get(&leader, "/conf/core", HeaderMap::from_iter([(IF_NONE_MATCH, tag)])).await?;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(answer.header(ETAG), Some("\"1.42-e3b0c44298fc1c14\""));

    let unasked = client().get(&leader, "/conf/core", HeaderMap::new()).await;
    assert!(matches!(unasked, Err(CallError::Unsigned { status: StatusCode::NOT_MODIFIED, .. })), "{unasked:?}");
    Ok(())
}

#[tokio::test]
async fn a_handlers_refusal_is_a_signed_problem() -> anyhow::Result<()> {
    async fn refuse(_: Received) -> Result<Reply, Problem> {
        Err(Problem::new(Code::RoleForbidden).with_detail("`co1` has the role `core`"))
    }
    let answer = client().get(&co1(serve(refuse).await), "/conf/web", HeaderMap::new()).await?;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.header(CONTENT_TYPE), Some("application/problem+json"));
    assert_eq!(answer.problem(), Some(Problem::new(Code::RoleForbidden).with_detail("`co1` has the role `core`")));
    Ok(())
}

#[tokio::test]
async fn clocks_an_hour_apart_agree_after_one_answer() -> anyhow::Result<()> {
    for ahead in [-3600, 3600] {
        let leader = co1(serve(echo).await);
        let client = client_with(Direction::ToLeader, clock(ahead));
        for _ in 0..2 {
            assert_eq!(client.get(&leader, "/conf/core", HeaderMap::new()).await?.status, StatusCode::OK);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_leader_that_has_just_started_is_asked_again_in_its_next_second() -> anyhow::Result<()> {
    let origin = serve_with(Direction::ToLeader, Clock::system(), echo).await;
    assert_eq!(client().get(&co1(origin), "/conf/core", HeaderMap::new()).await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_request_from_a_clock_ahead_is_remembered_before_it_is_answered() -> anyhow::Result<()> {
    let (listener, origin) = listen().await;
    let (_folder, state) = state();
    start(listener, [&origin].into_iter().collect(), (Direction::ToLeader, settled()), &state, echo);
    let client = client_with(Direction::ToLeader, clock(20));
    let leader = co1(origin);
    for _ in 0..3 {
        assert_eq!(client.get(&leader, "/conf/core", HeaderMap::new()).await?.status, StatusCode::OK);
    }
    let kept: BTreeMap<String, u64> = from_state(&state.read("ahead.json")?.context("nothing was kept")?)?;
    let now = Clock::system().now().wall.0;
    assert!(kept["co1.1"] + 5 >= now + 20, "{kept:?} covers what was created at {now} + 20");
    Ok(())
}

#[tokio::test]
async fn what_was_kept_by_an_earlier_life_is_refused_in_the_next_and_the_client_recovers() -> anyhow::Result<()> {
    let (listener, origin) = listen().await;
    let now = Clock::system().now().wall;
    // As an earlier life kept it for a request from two seconds ahead.
    let (_folder, state) = state();
    state.write("ahead.json", &to_state(&BTreeMap::from([("co1.1", now.0 + 2)]))?)?;
    start(listener, [&origin].into_iter().collect(), (Direction::ToLeader, settled()), &state, echo);
    let (client, leader) = (client_with(Direction::ToLeader, clock(1)), co1(origin));
    let refused = client.get(&leader, "/conf/core", HeaderMap::new()).await?;
    assert_eq!(refused.problem().map(|problem| problem.code), Some(Code::ClockSkew));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(client.get(&leader, "/conf/core", HeaderMap::new()).await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn all_strangers_get_the_same_answer() -> anyhow::Result<()> {
    let origin = serve(echo).await;
    let wrong_key = Peer::new(origin.clone(), keys("co1.1", 2));
    let unknown = Peer::new(origin.clone(), keys("co2.1", 1));
    for stranger in [wrong_key, unknown] {
        let outcome = client().get(&stranger, "/conf/core", HeaderMap::new()).await;
        assert!(matches!(outcome, Err(CallError::Stranger { .. })), "{outcome:?}");
    }
    let plain = reqwest::Client::builder().tls_certs_only([]).build()?;
    for path in ["/conf/core", "/nothing/here"] {
        let answer = plain.get(origin.url(path)).send().await?;
        let names: Vec<_> = answer.headers().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(
            names,
            ["content-type", "www-authenticate", "accept-signature", "x-request-id", "content-length", "date"]
        );
        assert_eq!(
            answer.text().await?,
            r#"{"type":"about:blank","title":"Unauthenticated","status":401,"code":"unauthenticated"}"#
        );
    }
    let head = plain.head(origin.url("/conf/core")).send().await?;
    assert_eq!((head.status(), head.headers()["allow"].to_str()?), (StatusCode::METHOD_NOT_ALLOWED, "GET, POST"));
    Ok(())
}

/// A request with these headers, as it travels.
fn plain(origin: &Origin, headers: &str) -> String {
    let (host, empty) = (origin.authority(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    format!(
        "GET /conf/core HTTP/1.1\r\nhost: {host}\r\ncontent-digest: sha-256=:{empty}:\r\n{headers}connection: close\r\n\r\n"
    )
}

/// The headers of a signature as we write it, by `id` and with a MAC that is nobody's.
fn forged(id: &str) -> String {
    let now = Clock::system().now().wall;
    let covered = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;
    let rest = r#"nonce="AAECAwQFBgcICQoLDA0ODw";alg="hmac-sha256";keyid=""#;
    let mac = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    format!(
        "signature-input: req={covered};created={now};expires={};{rest}{id}\";tag=\"pconf-v1\"\r\nsignature: req=:{mac}:\r\n",
        now.plus(60)
    )
}

/// An answer without what differs from answer to answer.
fn lasting(answer: &str) -> Vec<&str> {
    answer.lines().filter(|line| !line.starts_with("date: ") && !line.starts_with("x-request-id: ")).collect()
}

#[tokio::test]
async fn whatever_is_wrong_with_a_signature_the_answer_has_the_same_bytes() {
    let origin = serve(echo).await;
    let none = raw(address(&origin), plain(&origin, "").as_bytes()).await;
    assert!(none.starts_with("HTTP/1.1 401 ") && none.contains("x-request-id: "), "{none}");
    for (what, headers) in [
        ("a known machine, a wrong MAC", forged("co1.1")),
        ("another version of its key", forged("co1.2")),
        ("an unknown machine", forged("co9.1")),
        ("a key id that is none", forged("co9")),
        ("another algorithm", forged("co1.1").replace("hmac-sha256", "none")),
        ("another tag", forged("co1.1").replace("pconf-v1", "pconf-v2")),
        ("a component less", forged("co1.1").replace(" \"@query\"", "")),
        ("two labels", forged("co1.1").replace("signature: ", "signature: a=:AA==:, ")),
        ("no structured field", "signature-input: ((\r\nsignature: ((\r\n".to_owned()),
        ("one half", "signature: req=:AA==:\r\n".to_owned()),
        ("a present field that is not covered", forged("co1.1") + "prefer: wait=55\r\n"),
        ("a coding", forged("co1.1") + "content-encoding: gzip\r\n"),
    ] {
        let answer = raw(address(&origin), plain(&origin, &headers).as_bytes()).await;
        assert_eq!(lasting(&answer), lasting(&none), "{what}");
    }
}

#[tokio::test]
async fn who_sends_much_without_a_signature_is_limited_and_a_good_signature_never_is() -> anyhow::Result<()> {
    let origin = serve(echo).await;
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(raw(address(&origin), plain(&origin, &forged("co1.1")).as_bytes()).await);
    }
    let status = |answer: &String| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let (first, last) = (answers.first().unwrap(), answers.last().unwrap());
    assert_eq!((status(first), status(last)), ("401".to_owned(), "429".to_owned()));
    assert!(answers.iter().filter(|answer| status(answer) == "401").count() >= 20);
    assert!(last.contains("\r\nretry-after: 1\r\n"), "{last}");
    assert!(!last.contains("signature") && !last.contains("x-request-id"), "{last}");
    let body = r#"{"type":"about:blank","title":"Rate limited","status":429,"code":"rate_limited"}"#;
    assert!(last.ends_with(body), "{last}");
    let leader = co1(origin);
    for _ in 0..30 {
        assert_eq!(client().get(&leader, "/conf/core", HeaderMap::new()).await?.status, StatusCode::OK);
    }
    Ok(())
}

#[tokio::test]
async fn a_signed_refusal_tells_when_to_ask_again() -> anyhow::Result<()> {
    async fn refuse(received: Received) -> Result<Reply, Problem> {
        Err(match received.path() {
            "/approval" => Code::ApprovalPending,
            "/starting" => Code::Starting,
            "/spent" => Code::EnrolmentSpent,
            _ => Code::KeyRevoked,
        }
        .into())
    }
    let leader = co1(serve(refuse).await);
    for (path, code, status, retry) in [
        ("/approval", Code::ApprovalPending, StatusCode::FORBIDDEN, Some("5")),
        ("/starting", Code::Starting, StatusCode::SERVICE_UNAVAILABLE, Some("1")),
        ("/spent", Code::EnrolmentSpent, StatusCode::UNAUTHORIZED, None),
        ("/revoked", Code::KeyRevoked, StatusCode::FORBIDDEN, None),
    ] {
        let answer = client().get(&leader, path, HeaderMap::new()).await?;
        assert_eq!((answer.status, answer.header(RETRY_AFTER)), (status, retry));
        assert_eq!(answer.problem().map(|problem| problem.code), Some(code));
    }
    Ok(())
}

#[tokio::test]
async fn a_request_to_another_address_is_not_for_us() {
    let port = serve(echo).await.to_string().rsplit(':').next().unwrap().to_owned();
    let elsewhere = co1(format!("http://localhost:{port}").parse().unwrap());
    let outcome = client().get(&elsewhere, "/conf/core", HeaderMap::new()).await;
    assert!(matches!(outcome, Err(CallError::Stranger { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_receiver_moves_with_its_addresses() -> anyhow::Result<()> {
    let (listener, origin) = listen().await;
    let (_folder, state) = state();
    let receiver = start(listener, Authorities::default(), (Direction::ToLeader, settled()), &state, echo);
    let leader = co1(origin.clone());
    assert!(matches!(client().get(&leader, "/", HeaderMap::new()).await, Err(CallError::Stranger { .. })));
    receiver.answer_to([&origin].into_iter().collect());
    assert_eq!(client().get(&leader, "/", HeaderMap::new()).await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_body_has_its_limit_on_both_sides() -> anyhow::Result<()> {
    async fn long(_: Received) -> Result<Reply, Problem> {
        Ok(reply(StatusCode::OK, Payload::new(vec![b'x'; LIMIT + 1])))
    }
    let outcome = client().get(&co1(serve(long).await), "/conf/core", HeaderMap::new()).await;
    assert!(matches!(outcome, Err(CallError::TooLarge { limit: LIMIT, .. })), "{outcome:?}");

    let leader = co1(serve(echo).await);
    let body = Bytes::from(vec![b'x'; LIMIT + 1]);
    let answer = client().post(&leader, "/reports", HeaderMap::new(), body).await?;
    assert_eq!(answer.problem().map(|problem| problem.code), Some(Code::BodyTooLarge));
    Ok(())
}

#[tokio::test]
async fn an_unsigned_answer_of_any_status_is_no_answer() -> anyhow::Result<()> {
    async fn liar(request: Request) -> Response {
        let mut answer = Response::new(Body::from("{}"));
        *answer.status_mut() = request.uri().path()[1..].parse().unwrap();
        answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/200"));
        answer
    }
    let (listener, origin) = listen().await;
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(liar)).await });
    let leader = co1(origin);
    for status in [200, 204, 302, 304, 307, 404, 410, 503] {
        let outcome = client().get(&leader, &format!("/{status}"), HeaderMap::new()).await;
        assert!(
            matches!(&outcome, Err(CallError::Unsigned { status: answered, .. }) if answered.as_u16() == status),
            "{outcome:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_of_another_machine_or_question_is_no_answer() -> anyhow::Result<()> {
    // Passes every question on as co1's own new one, and the answer to that back.
    async fn cross(upstream: Origin, path: &'static str) -> Response {
        let answer = client().get(&co1(upstream), path, HeaderMap::new()).await.unwrap();
        let mut passed = Response::new(Body::from(answer.body));
        *passed.headers_mut() = answer.headers;
        passed
    }
    let upstream = serve(echo).await;
    let (listener, origin) = listen().await;
    let router = Router::new().fallback(move || cross(upstream.clone(), "/conf/core"));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let other_question = client().get(&co1(origin.clone()), "/conf/core", HeaderMap::new()).await;
    assert!(matches!(other_question, Err(CallError::Unsigned { .. })), "{other_question:?}");
    let other_machine = client().get(&Peer::new(origin, keys("co2.1", 2)), "/conf/core", HeaderMap::new()).await;
    assert!(matches!(other_machine, Err(CallError::Unsigned { .. })), "{other_machine:?}");
    Ok(())
}

/// Sends `request` as it is and returns all that comes back until the other side closes or is silent.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _silent = tokio::time::timeout(Duration::from_millis(300), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// What somebody on the way does to the bytes that pass.
#[derive(Clone, Copy)]
enum Tamper {
    Nothing,
    /// With the body of the first question.
    FirstQuestion,
    Answer(fn(Vec<u8>) -> Vec<u8>),
}

/// A wire-tap: passes bytes on to `upstream`, keeps what was asked last, and tampers.
async fn tap(upstream: Origin, tamper: Tamper) -> (Origin, Arc<Mutex<Vec<u8>>>) {
    let (listener, origin) = listen().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    tokio::spawn(async move {
        for connection in 0.. {
            let (mut inside, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 8192];
            let length = inside.read(&mut asked).await.unwrap();
            asked.truncate(length);
            ear.lock().unwrap().clone_from(&asked);
            if matches!(tamper, Tamper::FirstQuestion) && connection == 0 {
                *asked.last_mut().unwrap() ^= 1;
            }
            let answer = raw(address(&upstream), &asked).await.into_bytes();
            let answer = if let Tamper::Answer(change) = tamper { change(answer) } else { answer };
            inside.write_all(&answer).await.unwrap();
        }
    });
    (origin, heard)
}

fn address(origin: &Origin) -> SocketAddr {
    origin.authority().parse().unwrap()
}

/// A leader that answers to the tap's address too, as one behind a proxy does.
async fn tapped(tamper: Tamper) -> (Peer, SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let (listener, inner) = listen().await;
    let (outer, heard) = tap(inner.clone(), tamper).await;
    let authorities = [&inner, &outer].into_iter().collect();
    let (_folder, state) = state();
    start(listener, authorities, (Direction::ToLeader, settled()), &state, echo);
    (co1(outer), address(&inner), heard)
}

#[tokio::test]
async fn a_recorded_request_is_refused_and_never_handled_twice() -> anyhow::Result<()> {
    let (leader, inner, heard) = tapped(Tamper::Nothing).await;
    assert_eq!(client().get(&leader, "/conf/core", HeaderMap::new()).await?.status, StatusCode::OK);
    let recorded = heard.lock().unwrap().clone();
    let again = raw(inner, &recorded).await;
    assert!(again.starts_with("HTTP/1.1 401 "), "{again}");
    assert!(again.contains("\"code\":\"replayed\"") && again.contains("signature: res=:"), "{again}");
    let changed = String::from_utf8(recorded)?.replace("/conf/core", "/conf/cora");
    let answer = raw(inner, changed.as_bytes()).await;
    assert!(answer.contains("\"code\":\"unauthenticated\"") && !answer.contains("signature: res="), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_recorded_request_is_refused_in_the_next_life_too() -> anyhow::Result<()> {
    let (leader, _, heard) = tapped(Tamper::Nothing).await;
    assert_eq!(client().get(&leader, "/conf/core", HeaderMap::new()).await?.status, StatusCode::OK);
    let recorded = heard.lock().unwrap().clone();
    let (listener, next_life) = listen().await;
    let (_folder, state) = state();
    let authorities = [leader.origin()].into_iter().collect();
    start(listener, authorities, (Direction::ToLeader, Clock::system()), &state, echo);
    let answer = raw(address(&next_life), &recorded).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("\"code\":\"clock_skew\"") && answer.contains("signature: res=:"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_changed_or_cut_on_its_way_is_no_answer() {
    fn another_machine(answer: Vec<u8>) -> Vec<u8> {
        String::from_utf8(answer).unwrap().replace("co1 ", "co2 ").into_bytes()
    }
    fn cut(mut answer: Vec<u8>) -> Vec<u8> {
        answer.truncate(answer.len() - 3);
        answer
    }
    let (leader, ..) = tapped(Tamper::Answer(another_machine)).await;
    let outcome = client().get(&leader, "/conf/core", HeaderMap::new()).await;
    assert!(matches!(outcome, Err(CallError::Unsigned { source: Cause::Body, .. })), "{outcome:?}");

    let (leader, ..) = tapped(Tamper::Answer(cut)).await;
    let outcome = client().get(&leader, "/conf/core", HeaderMap::new()).await;
    assert!(matches!(outcome, Err(CallError::Interrupted { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_body_spoilt_on_its_way_is_sent_again() -> anyhow::Result<()> {
    let (leader, _, heard) = tapped(Tamper::FirstQuestion).await;
    let answer = client().post(&leader, "/reports", HeaderMap::new(), Bytes::from_static(b"all is well")).await?;
    assert_eq!(shown(&answer), (200, "POST /reports None co1 all is well".to_owned()));
    assert!(heard.lock().unwrap().ends_with(b"all is well"));
    Ok(())
}

#[tokio::test]
async fn what_is_not_http_as_we_speak_it_is_refused_outright() {
    let origin = serve(echo).await;
    let host = origin.authority();
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET http://{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n"), "400"),
        (format!("GET /conf/../conf/core HTTP/1.1\r\nhost: {host}\r\n\r\n"), "400"),
        (format!("GET /conf%2Fcore HTTP/1.1\r\nhost: {host}\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"), "400"),
        (format!("GET / HTTP/1.1\r\nhost: {host}\r\n{}\r\n", "a: b\r\n".repeat(64)), "431"),
        (format!("GET / HTTP/1.1\r\nhost: {host}\r\na: {}\r\n\r\n", "b".repeat(17_000)), "431"),
        (format!("TRACE / HTTP/1.1\r\nhost: {host}\r\n\r\n"), "405"),
        (format!("DELETE / HTTP/1.1\r\nhost: {host}\r\n\r\n"), "401"),
    ] {
        let answer = raw(address(&origin), request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
    }
}

#[tokio::test]
async fn a_leader_that_is_not_there_is_named() {
    let (listener, origin) = listen().await;
    drop(listener);
    let outcome = client().get(&co1(origin.clone()), "/conf/core", HeaderMap::new()).await;
    assert_eq!(outcome.err().map(|error| error.to_string()), Some(format!("cannot reach `{origin}/conf/core`")));
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up() {
    let (listener, origin) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _question = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-drip: ").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, read: 5 * second, whole: second };
    let hasty = Client::new(Direction::ToLeader, Clock::system(), timeouts, LIMIT, Trust::System).unwrap();
    let asked = co1(origin.clone());
    let outcome = tokio::time::timeout(3 * second, hasty.get(&asked, "/conf/core", HeaderMap::new())).await.unwrap();
    assert!(
        matches!(&outcome, Err(CallError::TimedOut { url, seconds: 1 }) if *url == origin.url("/conf/core")),
        "{outcome:?}"
    );
}
