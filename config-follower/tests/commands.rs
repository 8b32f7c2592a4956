//! The program as an operator types it: what it says, and its exit codes.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use common::{KEY, TestMachine, bundle, files};

/// Writes the machine's configuration file and returns its path.
fn configuration(machine: &TestMachine, mode: u32) -> PathBuf {
    let path = machine.folder.path().join("config-follower.json");
    let (leader, root) = (&machine.origin, machine.root());
    let text = serde_json::json!({
        "leader": leader.to_string(), "machine": "co1", "role": "core", "key": KEY, "root": root, "docker": null
    });
    std::fs::write(&path, text.to_string()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// Runs a command; its exit code, results and complaints.
async fn run(config: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_config-follower"));
    command.arg("--config").arg(config).args(arguments).env("NO_COLOR", "1").env_remove("RUST_LOG");
    // The leader answers on this thread meanwhile.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_configuration_that_others_can_read_or_that_is_wrong_ends_with_2() {
    let machine = TestMachine::new().await;
    let config = configuration(&machine, 0o640);
    let (code, _, said) = run(&config, &["status"]).await;
    assert_eq!((code, said.contains("run `chmod 600")), (Some(2), true), "{said}");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&config, "{ \"leader\": \"https://lead\", \"mashine\": \"co1\" }").unwrap();
    let (code, _, said) = run(&config, &["once"]).await;
    assert_eq!((code, said.contains("unknown field `mashine`")), (Some(2), true), "{said}");
    assert!(!said.contains(KEY));
}

#[tokio::test]
async fn plan_touches_nothing_and_once_does_it() {
    let machine = TestMachine::new().await;
    let config = configuration(&machine, 0o600);
    machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
    let (code, plan, _) = run(&config, &["plan"]).await;
    assert_eq!((code, plan.contains("  create   core/conf/core.yml\n")), (Some(0), true), "{plan}");
    assert_eq!(run(&config, &["plan", "--detailed-exitcode"]).await.0, Some(5));
    assert_eq!(files(machine.folder.path()), ["config-follower.json"]);

    assert_eq!(run(&config, &["once"]).await, (Some(0), "running 1.1\n".to_owned(), String::new()));
    assert_eq!(machine.read("core/conf/core.yml"), "one");
    // What an earlier cycle did is no news.
    let status = machine.config().state.join("status.json");
    let restarted = r#""services": [{"name": "core", "outcome": "restarted", "reason": "core/conf/core.yml"}]"#;
    let text = std::fs::read_to_string(&status).unwrap();
    assert!(text.contains(r#""services": []"#), "{text}");
    std::fs::write(status, text.replace(r#""services": []"#, restarted)).unwrap();
    assert_eq!(run(&config, &["once"]).await, (Some(0), "running 1.1\n".to_owned(), String::new()));
    let nothing = (Some(0), "revision 1.1: nothing to do\n".to_owned(), String::new());
    assert_eq!(run(&config, &["plan", "--detailed-exitcode"]).await, nothing);
    let (code, plan, _) = run(&config, &["plan", "--output", "json"]).await;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((code, &plan["revision"], &plan["steps"]), (Some(0), &"1.1".into(), &serde_json::json!([])));
}

#[tokio::test]
async fn failures_end_with_1_and_refusals_with_3_and_status_remembers_both() {
    let machine = TestMachine::new().await;
    let config = configuration(&machine, 0o600);
    let (code, _, said) = run(&config, &["once"]).await;
    assert_eq!((code, said.contains("it has published nothing yet")), (Some(1), true), "{said}");

    std::fs::create_dir(machine.root()).unwrap();
    symlink("/etc", machine.root().join("core")).unwrap();
    machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
    let refused = "error: 1.1 is refused: `core` is a symbolic link; move it away; nothing was touched\n";
    assert_eq!(run(&config, &["once"]).await, (Some(3), String::new(), refused.to_owned()));

    let (code, status, _) = run(&config, &["status"]).await;
    let shown: Vec<&str> = status.lines().collect();
    assert_eq!(
        (code, &shown[..4]),
        (Some(0), &["machine    co1 (core)", "desired    1.1", "on disk    -", "running    -"][..])
    );
    assert!(shown[5].ends_with("`core` is a symbolic link; move it away; nothing was touched"), "{status}");
    let (_, status, _) = run(&config, &["status", "--output", "json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["desired"], &status["running"]), (&"1.1".into(), &serde_json::Value::Null));
}
