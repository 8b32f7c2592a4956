//! The whole daemon, started as `main` starts it, on a machine without containers.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{TestMachine, bundle, keys, keys_of};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use pconf_bundle::signature::Direction;
use pconf_bundle::{Bundle, Control, Keys, NextKey, Origin, routes};
use pconf_daemon::{Shutdown, Trigger};
use pconf_wire::{Answer, CallError, Client, Clock, Peer, Timeouts, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

fn start(machine: &TestMachine) -> (SocketAddr, Trigger, JoinHandle<anyhow::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = Shutdown::by_hand();
    let config = machine.config();
    let running = tokio::task::spawn_local(config_follower::run(config, listener, shutdown));
    (address, trigger, running)
}

async fn notify(address: SocketAddr, revision: &str) -> Answer {
    notify_with(&keys(), address, revision).await.unwrap()
}

async fn notify_with(keys: &Arc<Keys>, address: SocketAddr, revision: &str) -> Result<Answer, CallError> {
    let timeouts =
        Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(5), whole: Duration::from_secs(20) };
    let client = Client::new(Direction::ToFollower, Clock::system(), timeouts, 4096, Trust::System).unwrap();
    let origin: Origin = format!("http://{address}").parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = Bytes::from(format!("{{\"revision\":\"{revision}\",\"reason\":\"publish\"}}"));
    client.post(&Peer::new(origin, Arc::clone(keys)), routes::NOTIFY, headers, body).await
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to pass that {what}");
}

#[tokio::test]
async fn it_pulls_at_start_and_when_it_is_told_to_and_ends_when_asked() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let machine = TestMachine::new().await;
            machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
            let (address, trigger, running) = start(&machine);
            let file = machine.root().join("core/conf/core.yml");
            eventually("the first file is written", || std::fs::read(&file).is_ok()).await;
            eventually("it was reported", || machine.leader.change(|served| served.reports.len()) == 1).await;

            machine.leader.publish(bundle(2, &[("core/conf/core.yml", "two")]));
            let answer = notify(address, "1.2").await;
            assert_eq!(answer.status, 202);
            assert_eq!(answer.body, r#"{"accepted":"1.2","applied":"1.1"}"#);
            eventually("the second file is written", || std::fs::read_to_string(&file).unwrap() == "two").await;
            eventually("it was reported", || machine.leader.change(|served| served.reports.len()) == 2).await;

            assert!(ask(address, "GET /__lbheartbeat__").await.starts_with("HTTP/1.1 200"));
            // A cycle ends after its report was taken.
            let is_told = async {
                while !ask(address, "GET /__heartbeat__").await.contains("\"running\":\"1.2\"") {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), is_told).await.unwrap();
            let heartbeat = ask(address, "GET /__heartbeat__").await;
            assert!(heartbeat.starts_with("HTTP/1.1 200"), "{heartbeat}");
            assert!(ask(address, "GET /__version__").await.contains("\"source\":\"config-follower\""));
            let unsigned = ask(address, "POST /notify").await;
            assert!(unsigned.starts_with("HTTP/1.1 401"), "{unsigned}");

            let second = config_follower::Memory::open(&machine.config().state).unwrap_err().to_string();
            assert!(second.contains("in use by another process"), "{second}");
            trigger.pull();
            running.await.unwrap().unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_leader_that_is_down_at_start_is_waited_for_and_the_heartbeat_says_so() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let machine = TestMachine::new().await;
            machine.leader.change(|served| served.fault = Some(http::StatusCode::BAD_GATEWAY));
            let (address, trigger, running) = start(&machine);
            let status = machine.config().state.join("status.json");
            eventually("the fault is known", || {
                std::fs::read_to_string(&status).is_ok_and(|text| text.contains("502"))
            })
            .await;
            let heartbeat = ask(address, "GET /__heartbeat__").await;
            assert!(heartbeat.starts_with("HTTP/1.1 500") && heartbeat.contains("502"), "{heartbeat}");
            machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
            machine.leader.change(|served| served.fault = None);
            let file = machine.root().join("core/conf/core.yml");
            eventually("the file is written", || std::fs::read(&file).is_ok()).await;
            trigger.pull();
            running.await.unwrap().unwrap();
        })
        .await;
}

#[tokio::test]
async fn the_leader_is_heard_by_each_of_our_live_keys() {
    const NEXT: &str = "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    tokio::task::LocalSet::new()
        .run_until(async {
            let machine = TestMachine::new().await;
            let next_key = Some(NextKey { version: 2, key: NEXT.parse().unwrap() });
            let control = Some(Control { serial: 1, next_key, authorities: None });
            machine.leader.publish(Bundle { control, ..bundle(1, &[("core/conf/core.yml", "one")]) });
            machine.leader.change(|served| served.keys.insert("co1.2".to_owned(), keys_of(2, NEXT)));
            let (address, trigger, running) = start(&machine);
            eventually("the next key is in use", || {
                machine.leader.change(|served| served.asked.contains(&"co1.2".to_owned()))
            })
            .await;
            for keys in [keys(), keys_of(2, NEXT)] {
                assert_eq!(notify_with(&keys, address, "1.1").await.unwrap().status, 202);
            }
            let stranger = notify_with(&keys_of(3, NEXT), address, "1.1").await;
            assert!(matches!(stranger, Err(CallError::Stranger { .. })), "{stranger:?}");
            trigger.pull();
            running.await.unwrap().unwrap();
        })
        .await;
}
