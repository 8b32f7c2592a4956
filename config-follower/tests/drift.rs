//! What is no longer as it was left: told, put right, or nobody's business, as its operator wants it.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use common::{TestMachine, bundle};
use pconf_bundle::{Drift, Verdict};
use pconf_names::RevisionId;
use scripted_engine::State;
use serde_json::{Value, json};

const FILE: &str = "core/conf/core.yml";

/// A machine that runs revision 1, with this policy; then somebody edits a file and stops a container.
async fn drifted(policy: &str) -> TestMachine {
    let machine = TestMachine::new().await;
    machine.configuration(&json!({ "drift": policy }));
    machine.container("core", "core/conf");
    machine.container("hfs", "hfs");
    machine.leader.publish(bundle(1, &[(FILE, "one"), ("hfs/conf/hfs.yml", "hfs")]));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    std::fs::write(machine.root().join(FILE), "two").unwrap();
    std::fs::write(machine.root().join("core/conf/theirs"), "theirs").unwrap();
    machine.engine.set_state("hfs", State::Exited(0));
    machine.engine.forget_calls();
    machine
}

fn told(machine: &TestMachine) -> Vec<(String, String)> {
    let drift = machine.leader.last_report().drift;
    drift.into_iter().map(|Drift { what, how, .. }| (what, how)).collect()
}

#[tokio::test]
async fn by_default_it_is_told_with_its_beginning_and_nothing_is_touched() {
    let machine = drifted("report").await;
    // Seen at once, before any cycle.
    let (code, seen) = machine.ask(&["drift"]).await;
    let found =
        json!([{ "what": FILE, "how": "changed", "since": null }, { "what": "hfs", "how": "stopped", "since": null }]);
    assert_eq!((code, &seen["drift"]), (5, &found));
    let (_, status) = machine.ask(&["status"]).await;
    let gap = json!("files are not as they were left: see `config-follower drift`");
    assert_eq!((&status["onDisk"], &status["running"], &status["gap"]), (&Value::Null, &json!("1.1"), &gap));

    assert_eq!(machine.run(&["once"]).await.0, 0);
    let drift = machine.leader.last_report().drift;
    assert_eq!(told(&machine), [(FILE.into(), "changed".into()), ("hfs".into(), "stopped".into())]);
    assert_eq!(machine.leader.last_report().verdict, Verdict::Running { revision: RevisionId { epoch: 1, number: 1 } });
    let reports = machine.leader.change(|served| served.reports.len());
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(machine.run(&["once"]).await.0, 0);
    let (_, status) = machine.ask(&["status"]).await;
    assert_eq!(status["drift"], json!(drift), "its beginning does not move");
    assert_eq!(machine.leader.change(|served| served.reports.len()), reports, "it is told once");
    assert_eq!((machine.read(FILE).as_str(), machine.engine.calls()), ("two", Vec::new()));

    std::fs::write(machine.root().join(FILE), "one").unwrap();
    machine.engine.set_state("hfs", State::Running);
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!(told(&machine), []);
    assert_eq!(machine.run(&["drift"]).await, (0, "everything is as it was left\n".to_owned(), String::new()));
}

#[tokio::test]
async fn where_it_is_put_right_files_come_back_and_stopped_containers_and_neighbours_stay() {
    let machine = drifted("repair").await;
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!((machine.read(FILE).as_str(), machine.read("core/conf/theirs").as_str()), ("one", "theirs"));
    assert_eq!(machine.engine.calls(), ["restart core"]);
    assert_eq!(machine.engine.state("hfs"), Some(State::Exited(0)));
    let written: Vec<String> = machine.leader.last_report().written.iter().map(ToString::to_string).collect();
    assert_eq!(written, [FILE]);
}

#[tokio::test]
async fn where_it_is_ignored_nobody_looks() {
    let machine = drifted("ignore").await;
    let asked = machine.engine.all_calls().len();
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!((told(&machine), machine.read(FILE).as_str()), (Vec::new(), "two"));
    // But for what the leader is told after a start.
    assert_eq!(machine.engine.all_calls()[asked..], ["list config-follower.check-of", "list", "look core", "look hfs"]);
}
