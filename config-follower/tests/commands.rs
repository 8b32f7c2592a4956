//! The program as an operator types it: what it says, and its exit codes.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::os::unix::fs::{PermissionsExt as _, symlink};

use common::{KEY, TestMachine, bundle, files};
use serde_json::{Value, json};

#[tokio::test]
async fn a_configuration_that_others_can_change_or_that_is_wrong_ends_with_2() {
    let machine = TestMachine::new().await;
    let config = machine.configuration(&json!({}));
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o664)).unwrap();
    let (code, _, said) = machine.run(&["status"]).await;
    assert_eq!((code, said.contains("run `chmod go-w")), (2, true), "{said}");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(machine.run(&["status"]).await.0, 0);
    std::fs::write(&config, "{ \"leader\": \"https://lead\", \"mashine\": \"co1\" }").unwrap();
    let (code, _, said) = machine.run(&["once"]).await;
    assert_eq!((code, said.contains("unknown field `mashine`")), (2, true), "{said}");
}

#[tokio::test]
async fn an_identity_that_others_can_read_or_that_is_not_there_ends_with_2_and_the_way_out() {
    let machine = TestMachine::new().await;
    let config = machine.configuration(&json!({}));
    let refused = async |way_out: &str| {
        let (code, _, said) = machine.run(&["once"]).await;
        assert_eq!((code, said.contains(way_out), said.contains(KEY)), (2, true, false), "{said}");
    };
    std::fs::set_permissions(machine.identity_file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    refused("run `chmod 600").await;
    std::fs::remove_file(machine.identity_file()).unwrap();
    refused("`config-follower join`").await;
    machine.write_identity(&json!(KEY));
    refused("is damaged").await;
    machine.write_identity(&json!([{ "version": 1, "key": KEY, "state": "active" }]));
    let other = std::fs::read_to_string(&config).unwrap().replace("\"co1\"", "\"co2\"");
    std::fs::write(&config, other).unwrap();
    refused("is the identity of `co1` and this machine is called `co2`").await;
}

#[tokio::test]
async fn plan_touches_nothing_and_once_does_it() {
    let machine = TestMachine::new().await;
    machine.configuration(&json!({}));
    machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
    let (code, plan, _) = machine.run(&["plan"]).await;
    assert_eq!((code, plan.contains("  create   core/conf/core.yml\n")), (0, true), "{plan}");
    assert_eq!(machine.run(&["plan", "--detailed-exitcode"]).await.0, 5);
    assert_eq!(files(machine.folder.path()), ["config-follower.json", "state/identity.json"]);

    assert_eq!(machine.run(&["once"]).await, (0, "running 1.1\n".to_owned(), String::new()));
    assert_eq!(machine.read("core/conf/core.yml"), "one");
    // What an earlier cycle did is no news.
    let status = machine.config().state.join("status.json");
    let restarted = r#""services": [{"name": "core", "outcome": "restarted", "reason": "core/conf/core.yml"}]"#;
    let text = std::fs::read_to_string(&status).unwrap();
    assert!(text.contains(r#""services": []"#), "{text}");
    std::fs::write(status, text.replace(r#""services": []"#, restarted)).unwrap();
    assert_eq!(machine.run(&["once"]).await, (0, "running 1.1\n".to_owned(), String::new()));
    let nothing = (0, "revision 1.1: nothing to do\n".to_owned(), String::new());
    assert_eq!(machine.run(&["plan", "--detailed-exitcode"]).await, nothing);
    let (code, plan, _) = machine.run(&["plan", "--output", "json"]).await;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((code, &plan["revision"], &plan["steps"]), (0, &"1.1".into(), &json!([])));
}

#[tokio::test]
async fn failures_end_with_1_and_refusals_with_3_and_status_remembers_both() {
    let machine = TestMachine::new().await;
    machine.configuration(&json!({}));
    let (code, _, said) = machine.run(&["once"]).await;
    assert_eq!((code, said.contains("it has published nothing yet")), (1, true), "{said}");

    std::fs::create_dir(machine.root()).unwrap();
    symlink("/etc", machine.root().join("core")).unwrap();
    machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
    let refused = "error: 1.1 is refused: `core` is a symbolic link; move it away; nothing was touched\n";
    assert_eq!(machine.run(&["once"]).await, (3, String::new(), refused.to_owned()));

    let (code, status, _) = machine.run(&["status"]).await;
    let shown: Vec<&str> = status.lines().collect();
    assert_eq!(
        (code, &shown[..4]),
        (0, &["machine    co1 (core)", "desired    1.1", "on disk    -", "running    -"][..])
    );
    assert!(shown[5].ends_with("`core` is a symbolic link; move it away; nothing was touched"), "{status}");
    let (_, status, _) = machine.run(&["status", "--output", "json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["desired"], &status["running"]), (&"1.1".into(), &Value::Null));
}
