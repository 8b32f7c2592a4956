//! A machine that the leader's word does not reach waits at the leader: news come as fast, and nothing else is forgotten.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{TestMachine, bundle};
use config_follower::Config;
use http::StatusCode;
use pconf_bundle::Code;
use pconf_daemon::{Shutdown, Trigger};
use serde_json::json;
use tokio::task::{JoinHandle, LocalSet};

/// A follower that waits and listens nowhere.
fn start(machine: &TestMachine, poll: Duration) -> (Trigger, JoinHandle<anyhow::Result<()>>) {
    let (trigger, shutdown) = Shutdown::by_hand();
    let config = Config { waits: true, listen: None, poll, ..machine.config() };
    (trigger, tokio::task::spawn_local(config_follower::run(config, None, shutdown)))
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

fn holds(file: &Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|content| content == text)
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_revision_arrives_without_a_word_of_the_leader_and_without_a_port() {
    let test = async {
        let machine = TestMachine::new().await;
        machine.leader.change(|served| served.lets_wait = true);
        machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
        let (trigger, running) = start(&machine, HOUR);
        let file = machine.root().join("core/conf/core.yml");
        eventually("it waits", || machine.leader.change(|served| served.waits.len()) == 1).await;
        assert!(holds(&file, "one"));
        machine.leader.publish(bundle(2, &[("core/conf/core.yml", "two")]));
        eventually("the second file is written", || holds(&file, "two")).await;
        eventually("it waits again", || machine.leader.change(|served| served.waits.len()) == 2).await;
        // The second revision came as the answer to the wait, and was not asked for again.
        machine.leader.change(|served| {
            let bundles = served.pulls.iter().filter(|status| **status == StatusCode::OK).count();
            assert_eq!((bundles, &*served.waits), (2, &[55, 55][..]));
        });
        trigger.pull();
        running.await.unwrap().unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_wish_is_granted_while_it_waits_and_what_drifts_is_put_right() {
    let test = async {
        let machine = TestMachine::new().await;
        machine.leader.change(|served| served.lets_wait = true);
        machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
        let (trigger, running) = start(&machine, Duration::from_secs(3));
        let file = machine.root().join("core/conf/core.yml");
        eventually("it waits", || machine.leader.change(|served| served.waits.len()) == 1).await;
        machine.configuration(&json!({ "listen": null }));
        assert_eq!(machine.run(&["once"]).await.0, 0);
        std::fs::write(&file, "somebody's").unwrap();
        // Sooner than hints are listened to.
        let changed = Instant::now();
        eventually("the file is put right", || holds(&file, "one")).await;
        assert!(changed.elapsed() < Duration::from_secs(5), "{:?}", changed.elapsed());
        trigger.pull();
        running.await.unwrap().unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_leader_that_lets_nobody_wait_is_not_asked_in_a_hurry() {
    let test = async {
        let machine = TestMachine::new().await;
        machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
        let (trigger, running) = start(&machine, HOUR);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let asked = machine.leader.change(|served| served.asked.len());
        assert!((3..12).contains(&asked), "it was asked {asked} times");
        trigger.pull();
        running.await.unwrap().unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_leader_that_is_overloaded_is_left_alone_as_long_as_it_wants() {
    let test = async {
        let machine = TestMachine::new().await;
        machine.leader.change(|served| served.refusal = Some(Code::Overloaded));
        let (trigger, running) = start(&machine, HOUR);
        eventually("it has asked", || machine.leader.change(|served| served.asked.len()) == 1).await;
        machine.leader.change(|served| served.refusal = None);
        machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
        let refused = Instant::now();
        let file = machine.root().join("core/conf/core.yml");
        eventually("it has asked again", || holds(&file, "one")).await;
        assert!(refused.elapsed() >= Duration::from_secs(5), "{:?}", refused.elapsed());
        trigger.pull();
        running.await.unwrap().unwrap();
    };
    LocalSet::new().run_until(test).await;
}
