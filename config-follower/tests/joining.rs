//! One line makes a machine a follower; whatever is cut off on the way goes on from there.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use common::{KEY, TestMachine, bundle, files, keys_of};
use pconf_bundle::{Code, Enrolled, JoinString, UnixSeconds};
use serde_json::{Value, json};

const TOKEN: &str = "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// The line of a leader that knows it.
fn invited(machine: &TestMachine, name: &str, version: u32) -> String {
    let line = JoinString {
        leader: machine.origin.clone(),
        pin: None,
        machine: name.parse().unwrap(),
        role: "core".parse().unwrap(),
        version,
        token: TOKEN.parse().unwrap(),
        expires: UnixSeconds(1_800_003_600),
    };
    let keys = Arc::new(line.keys());
    machine.leader.change(|served| served.keys.insert(keys.id().to_string(), keys));
    line.to_string()
}

fn answers(machine: &TestMachine, enrolled: Result<(u32, &str), Code>) {
    let enrolled = enrolled.map(|(version, key)| Enrolled {
        version,
        key: key.parse().unwrap(),
        authorities: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
        root: Some(machine.root().display().to_string()),
        urls: vec!["http://10.0.0.5:6000".to_owned()],
        leader: None,
    });
    machine.leader.change(|served| served.enrolled = Some(enrolled));
}

fn config(machine: &TestMachine) -> PathBuf {
    machine.folder.path().join("config-follower.json")
}

/// Joins; the line comes by standard input.
async fn join(machine: &TestMachine, line: &str, options: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_config-follower"));
    command.args(["join", "-", "--config"]).arg(config(machine)).args(options).env("RUST_LOG", "trace");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let line = format!("{line}\n");
    // The leader answers on this thread meanwhile.
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn one_line_is_all_there_is() {
    let machine = TestMachine::new().await;
    let line = invited(&machine, "co1", 1);
    answers(&machine, Ok((2, KEY)));
    let (code, said, log) = join(&machine, &line, &["--docker", "none"]).await;
    assert_eq!(code, 0, "{log}");
    assert!(said.starts_with(&format!("co1 (core) follows {}; its files go below", machine.origin)), "{said}");
    assert!(said.contains("config-follower run --config"), "{said}");
    for secret in [&line[7..], TOKEN, KEY] {
        assert!(!said.contains(secret) && !log.contains(secret), "{said}{log}");
    }
    assert_eq!(
        read(config(&machine)),
        json!({
            "leader": machine.origin.to_string(), "machine": "co1", "role": "core", "root": machine.root(), "docker": null,
            "urls": ["http://10.0.0.5:6000"]
        })
    );
    assert_eq!(
        read(machine.identity_file()),
        json!({ "version": 1, "machine": "co1", "keys": [{ "version": 2, "key": KEY, "state": "active" }] })
    );
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(config(&machine)), mode(machine.identity_file())), (0o644, 0o600));
    let there = ["config-follower.json", "state/authorities.pem", "state/identity.json", "state/lock"];
    assert_eq!(files(machine.folder.path()), there);

    machine.leader.change(|served| served.keys.insert("co1.2".to_owned(), keys_of(2, KEY)));
    machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one")]));
    assert_eq!(machine.run(&["once"]).await.0, 0);
}

#[tokio::test]
async fn whoever_is_cut_off_asks_the_same_again() {
    let machine = TestMachine::new().await;
    let line = invited(&machine, "co1", 1);
    // The answer is lost: the configuration cannot be written.
    answers(&machine, Ok((2, KEY)));
    let state = machine.config().state;
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(machine.identity_file()).unwrap();
    assert_ne!(join(&machine, &line, &[]).await.0, 0);
    fs::remove_dir(machine.identity_file()).unwrap();
    fs::create_dir(state.join("authorities.pem")).unwrap();
    assert_ne!(join(&machine, &line, &[]).await.0, 0);
    assert!(!machine.identity_file().exists(), "it is the last to come");
    fs::remove_dir(state.join("authorities.pem")).unwrap();
    assert_eq!(join(&machine, &line, &[]).await.0, 0);
    let asked = machine.leader.change(|served| std::mem::take(&mut served.enrolments));
    assert_eq!((asked.len(), &asked[0]), (2, &asked[1]), "the same question");

    // The crash before the very last step: nothing is asked any more, for nothing would be answered.
    let (line_is, secret) = (pconf_names::Digest::of(line.as_bytes()), vec![7; 32]);
    let joining = json!({ "version": 1, "line": line_is, "enrolment": asked[0], "secret": secret });
    fs::write(state.join("joining.json"), joining.to_string()).unwrap();
    machine.leader.change(|served| served.keys.clear());
    let (code, said, log) = join(&machine, &line, &[]).await;
    assert_eq!((code, said.contains("co1 (core) follows")), (0, true), "{log}");
    assert!(!state.join("joining.json").exists());
    // Used once more, the line is worth nothing, and what is there stays.
    let identity = fs::read(machine.identity_file()).unwrap();
    let (code, _, log) = join(&machine, &line, &[]).await;
    assert_eq!((code, log.contains("it was used already, it ended")), (1, true), "{log}");
    assert_eq!(fs::read(machine.identity_file()).unwrap(), identity);
}

#[tokio::test]
async fn a_machine_that_joins_again_goes_on_where_it_was() {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    machine.leader.publish(bundle(1, &[("core/conf/core.yml", "1")]));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    let before = fs::read(config(&machine)).unwrap();

    let line = invited(&machine, "co1", 2);
    // Refused, everything stays as it was.
    let identity = fs::read(machine.identity_file()).unwrap();
    answers(&machine, Err(Code::EnrolmentSpent));
    let (code, _, log) = join(&machine, &line, &[]).await;
    assert_eq!((code, log.contains("`config-leader machine revoke co1`")), (1, true), "{log}");
    assert_eq!(fs::read(machine.identity_file()).unwrap(), identity);

    answers(&machine, Ok((3, TOKEN)));
    machine.leader.change(|served| {
        served.keys.remove("co1.1");
        served.keys.insert("co1.3".to_owned(), keys_of(3, TOKEN));
    });
    assert_eq!(join(&machine, &line, &[]).await.0, 0);
    assert_eq!(fs::read(config(&machine)).unwrap(), before);
    assert_eq!(machine.run(&["once"]).await.0, 0);
    // What it had kept opens with the new key: files that are gone come back without the leader.
    fs::remove_file(machine.root().join("core/conf/core.yml")).unwrap();
    machine.leader.change(|served| served.fault = Some(http::StatusCode::INTERNAL_SERVER_ERROR));
    machine.configuration(&json!({ "drift": "repair" }));
    machine.run(&["once"]).await;
    assert_eq!(machine.read("core/conf/core.yml"), "1");
}

#[tokio::test]
async fn what_would_end_badly_is_refused_before_anything_is_asked() {
    let machine = TestMachine::new().await;
    let refused = async |line: &str, options: &[&str], way_out: &str| {
        let (code, _, log) = join(&machine, line, options).await;
        assert!(code != 0 && log.contains(way_out), "{code} {log}");
    };
    refused("pconf1:AAAA", &[], "copy it again").await;
    refused("hello", &[], "`config-leader machine add`").await;

    machine.configuration(&json!({}));
    refused(&invited(&machine, "co2", 1), &[], "is the configuration of `co1` (core), and the line invites `co2`")
        .await;
    let ours = invited(&machine, "co1", 2);
    refused(&ours, &["--docker", "none"], "change it by hand instead").await;
    let running = pconf_files::StateFolder::open(&machine.config().state).unwrap();
    refused(&ours, &[], "in use by another process").await;
    drop(running);
    fs::remove_file(config(&machine)).unwrap();
    refused(&invited(&machine, "co2", 1), &[], "two machines never share a key").await;
    machine.leader.change(|served| assert!(served.enrolments.is_empty() && served.asked.is_empty()));
}

#[tokio::test]
async fn approval_is_waited_for() {
    let machine = TestMachine::new().await;
    let line = invited(&machine, "co1", 1);
    answers(&machine, Err(Code::ApprovalPending));
    let leader = machine.leader.clone();
    let approved = async {
        while leader.change(|served| served.asked.is_empty()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        answers(&machine, Ok((2, KEY)));
    };
    let ((code, _, log), ()) = tokio::join!(join(&machine, &line, &[]), approved);
    assert_eq!((code, log.contains("`config-leader machine approve co1`")), (0, true), "{log}");
}
