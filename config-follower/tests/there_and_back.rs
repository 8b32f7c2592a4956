//! Revisions that are not taken, or not kept: refused by an application, held as a slip, undone, gone back from by hand.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use common::{TestMachine, bundle, files};
use pconf_bundle::{Bundle, ComposeFile, Masks, Verdict};
use pconf_names::RevisionId;
use scripted_engine::Script;
use serde_json::{Value, json};

const SECRET: &str = "correct-horse-battery";

fn set(number: u64, core: &str) -> Bundle {
    let mut set = bundle(number, &[("core/conf/core.yml", core), ("hfs/conf/hfs.yml", "hfs"), ("pryv.yml", "compose")]);
    let rules = [json!({ "match": "core", "check": { "run": ["core", "--check"] } })];
    set.services.extend(rules.map(|rule| serde_json::from_value(rule).unwrap()));
    set.masks = Masks::new([SECRET.to_owned()]);
    set
}

fn revision(number: u64) -> RevisionId {
    RevisionId { epoch: 1, number }
}

/// A machine that runs revision 1; what was done to its containers until then is forgotten.
async fn converged() -> TestMachine {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    machine.container("hfs", "hfs");
    machine.leader.publish(set(1, "one"));
    let (code, said, _) = machine.run(&["once"]).await;
    assert_eq!((code, said.lines().next()), (0, Some("running 1.1")));
    machine.engine.forget_calls();
    machine
}

fn verdict(machine: &TestMachine) -> Verdict {
    machine.leader.last_report().verdict
}

/// What is on disk and runs, and what is refused.
async fn standing(machine: &TestMachine) -> [Value; 3] {
    let (_, status) = machine.ask(&["status"]).await;
    [&status["onDisk"], &status["running"], &status["refused"]["revision"]].map(Value::clone)
}

#[tokio::test]
async fn what_an_application_does_not_like_touches_nothing_and_is_tried_again_by_retry_alone() {
    let machine = converged().await;
    let before = files(&machine.root());
    let output = format!("core.yml:1: `bad` with {SECRET}");
    machine.engine.script("core", [Script::CommandFailsIf { contains: "bad".to_owned(), output }]);
    machine.leader.publish(set(2, "bad"));
    let reason = "`core` does not take its new files: it ended with code 1: core.yml:1: `bad` with ••••; nothing was \
                  touched";
    let refused = (3, String::new(), format!("error: 1.2 is refused: {reason}\n"));
    assert_eq!(machine.run(&["once"]).await, refused);
    let told = Verdict::Refused { revision: revision(2), running: Some(revision(1)), reason: reason.to_owned() };
    assert_eq!(verdict(&machine), told);
    assert_eq!(machine.engine.calls(), ["try core core --check"]);
    // Every run is a follower of its own, so this outlives it.
    for _ in 0..2 {
        assert_eq!(machine.run(&["once"]).await, refused);
    }
    assert_eq!(machine.engine.calls(), ["try core core --check"]);
    assert_eq!(machine.run(&["retry"]).await, refused);
    assert_eq!(machine.engine.calls(), ["try core core --check"; 2]);
    assert_eq!((machine.read("core/conf/core.yml").as_str(), files(&machine.root())), ("one", before));
    assert_eq!(machine.engine.names(), ["core", "hfs"]);
    assert_eq!(standing(&machine).await, [json!("1.1"), json!("1.1"), json!("1.2")]);

    machine.leader.publish(set(3, "good"));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!(standing(&machine).await, [json!("1.3"), json!("1.3"), Value::Null]);
}

#[tokio::test]
async fn a_revision_that_its_operator_went_back_from_stays_away_until_retry_or_a_newer_one() {
    let machine = converged().await;
    let (code, _, said) = machine.run(&["rollback"]).await;
    assert_eq!((code, said.contains("there is no earlier revision to go back to")), (1, true), "{said}");
    machine.leader.publish(set(2, "two"));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    machine.engine.forget_calls();

    let (code, said, _) = machine.run(&["rollback"]).await;
    let headline = "rolled back: 1.2 is not taken, 1.1 runs: its operator went back from it";
    assert_eq!((code, said.lines().next()), (0, Some(headline)));
    assert_eq!((machine.read("core/conf/core.yml").as_str(), machine.engine.restarts()), ("one", vec!["core".into()]));
    let reason = "its operator went back from it".to_owned();
    let told = Verdict::RolledBack { revision: revision(2), running: revision(1), reason };
    assert_eq!(verdict(&machine), told);
    assert_eq!(machine.run(&["once"]).await.0, 3);
    assert_eq!((machine.engine.restarts().len(), verdict(&machine)), (1, told));
    assert_eq!(standing(&machine).await, [json!("1.1"), json!("1.1"), json!("1.2")]);

    assert_eq!(machine.run(&["retry"]).await.0, 0);
    assert_eq!((machine.read("core/conf/core.yml").as_str(), machine.engine.restarts().len()), ("two", 2));
    assert_eq!(machine.run(&["rollback"]).await.0, 0);
    machine.leader.publish(set(3, "three"));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!(standing(&machine).await, [json!("1.3"), json!("1.3"), Value::Null]);
}

#[tokio::test]
async fn a_suspended_follower_touches_nothing_and_says_why() {
    let machine = converged().await;
    machine.leader.publish(set(2, "two"));
    let suspended = (0, "suspended: a new disk\n".to_owned(), String::new());
    assert_eq!(machine.run(&["suspend", "--reason", "a new disk"]).await, suspended);
    assert_eq!(machine.run(&["once"]).await, suspended);
    let told = Verdict::Suspended { running: Some(revision(1)), reason: "a new disk".to_owned() };
    assert_eq!((verdict(&machine), machine.engine.calls()), (told, Vec::new()));
    assert_eq!(machine.read("core/conf/core.yml"), "one");
    let (_, status) = machine.ask(&["status"]).await;
    assert_eq!((&status["desired"], &status["gap"]), (&json!("1.2"), &json!("suspended: a new disk")));

    assert_eq!(machine.run(&["resume"]).await.0, 0);
    assert_eq!((machine.read("core/conf/core.yml").as_str(), machine.engine.restarts()), ("two", vec!["core".into()]));
    assert_eq!(verdict(&machine), Verdict::Running { revision: revision(2) });
}

#[tokio::test]
async fn what_looks_like_a_slip_waits_for_a_word_here_or_at_the_leader() {
    let machine = converged().await;
    machine.leader.publish(set(2, ""));
    let (code, _, said) = machine.run(&["once"]).await;
    assert_eq!((code, said.contains("1.2 looks like a slip")), (3, true), "{said}");
    assert_eq!((machine.read("core/conf/core.yml").as_str(), machine.engine.calls()), ("one", Vec::new()));
    assert_eq!(machine.run(&["once", "--accept"]).await.0, 0);
    assert_eq!(machine.read("core/conf/core.yml"), "");

    let thinner = |accepted| {
        let mut thinner = set(3, "three");
        thinner.files.truncate(1);
        Bundle { accepted, ..thinner }
    };
    machine.leader.publish(thinner(false));
    assert_eq!(machine.run(&["once"]).await.0, 3);
    machine.leader.publish(thinner(true));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!(files(&machine.root()), ["core/conf/core.yml"]);
}

#[tokio::test]
async fn a_way_back_that_fails_too_is_unfinished_and_a_newer_revision_overtakes_it() {
    let machine = converged().await;
    machine.engine.script("core", [Script::CannotStart("no space left on device".to_owned())]);
    machine.leader.publish(set(2, "two"));
    for _ in 0..2 {
        let (code, _, said) = machine.run(&["once"]).await;
        assert_eq!((code, said.contains("1.2 broke this machine (`core`: ")), (1, true), "{said}");
        assert!(said.contains("and going back to 1.1 does not work out yet: `core`: "), "{said}");
        let told = verdict(&machine);
        assert!(matches!(told, Verdict::Unfinished { revision: on, .. } if on == revision(1)), "{told:?}");
        assert_eq!(machine.read("core/conf/core.yml"), "one");
        let (_, status) = machine.ask(&["status"]).await;
        assert_eq!(status["standing"][0]["running"], Value::Null, "{status:#}");
    }
    machine.engine.script("core", []);
    machine.leader.publish(set(3, "three"));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!(verdict(&machine), Verdict::Running { revision: revision(3) });
    assert_eq!(standing(&machine).await, [json!("1.3"), json!("1.3"), Value::Null]);
}

#[tokio::test]
async fn where_there_is_no_engine_a_compose_file_is_a_file() {
    let machine = TestMachine::new().await;
    machine.configuration(&json!({ "docker": null }));
    let compose = "services:\n  core:\n    image: core\n";
    let compose_file = ComposeFile { file: "pryv.yml".parse().unwrap(), project: "pryvio".to_owned() };
    machine.leader.publish(Bundle { compose: vec![compose_file], ..bundle(1, &[("pryv.yml", compose)]) });
    assert_eq!(machine.run(&["once"]).await, (0, "running 1.1\n".to_owned(), String::new()));
}
