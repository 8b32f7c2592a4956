//! A key follows the other, and no crash, no lost answer and no stranger in between leaves the machine without one.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{KEY, TestMachine, bundle, files, keys, keys_of};
use config_follower::Outcome;
use pconf_bundle::{Bundle, Control, NextKey};
use pconf_daemon::Shutdown;
use pconf_names::RevisionId;
use scripted_engine::Script;
use serde_json::{Value, json};

const SECOND: &str = "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const THIRD: &str = "CBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const FILE: &str = "core/conf/core.yml";

/// The set of that number, with a key to go on with.
fn handing_out(number: u64, serial: u64, next: Option<(u32, &str)>) -> Bundle {
    let next_key = next.map(|(version, key)| NextKey { version, key: key.parse().unwrap() });
    let control = Some(Control { serial, next_key, authorities: None });
    Bundle { control, ..bundle(number, &[(FILE, &format!("{number}"))]) }
}

fn revision(number: u64) -> RevisionId {
    RevisionId { epoch: 1, number }
}

/// The keys in the identity on the disk, with their states.
fn identity(machine: &TestMachine) -> Vec<String> {
    let written: Value = serde_json::from_slice(&fs::read(machine.identity_file()).unwrap()).unwrap();
    let keys = written["keys"].as_array().unwrap();
    keys.iter().map(|key| format!("{} {}", key["version"], key["state"].as_str().unwrap())).collect()
}

/// With which keys the leader was asked since it was last looked at, right ones only.
fn asked(machine: &TestMachine) -> Vec<String> {
    machine.leader.change(|served| std::mem::take(&mut served.asked))
}

fn knows(machine: &TestMachine, known: &[(u32, &str)]) {
    let known = known.iter().map(|(version, key)| (format!("co1.{version}"), keys_of(*version, key)));
    machine.leader.change(|served| served.keys = known.collect());
}

/// One that runs revision 1 with its first key.
async fn machine() -> TestMachine {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    machine.leader.publish(bundle(1, &[(FILE, "1")]));
    machine.configuration(&json!({}));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    assert_eq!(asked(&machine), ["co1.1", "co1.1"]);
    machine
}

async fn cycle(machine: &TestMachine) -> Outcome {
    let (_trigger, mut shutdown) = Shutdown::by_hand();
    machine.follower().cycle(&mut shutdown).await
}

#[tokio::test]
async fn a_new_key_reaches_a_machine_for_which_nothing_else_is_new() {
    let machine = machine().await;
    knows(&machine, &[(1, KEY), (2, SECOND)]);
    let (_trigger, mut shutdown) = Shutdown::by_hand();
    let mut follower = machine.follower();
    // After this there is nothing to tell.
    assert_eq!(follower.cycle(&mut shutdown).await, Outcome::Unchanged);
    assert_eq!(asked(&machine), ["co1.1"]);
    machine.leader.publish(handing_out(1, 1, Some((2, SECOND))));
    let (state, root) = (contents(&machine), machine.read(FILE));
    let calls = machine.engine.calls();

    assert_eq!(follower.cycle(&mut shutdown).await, Outcome::Unchanged);
    assert_eq!(identity(&machine), ["1 active", "2 next"]);
    // Nothing else was written, and nothing was done.
    let mut now = contents(&machine);
    now.insert("identity.json".to_owned(), state["identity.json"].clone());
    assert_eq!((now, machine.read(FILE), machine.engine.calls()), (state, root, calls));

    assert_eq!(follower.cycle(&mut shutdown).await, Outcome::Unchanged);
    assert_eq!(identity(&machine), ["2 active", "1 retiring"]);
    // The leader has nothing more to say, and is not asked for the whole bundle again.
    assert_eq!(machine.leader.change(|served| served.pulls.clone()), [200, 304, 200, 304]);
    assert_eq!(asked(&machine), ["co1.1", "co1.2"]);
}

#[tokio::test]
async fn a_key_that_the_leader_does_not_know_costs_one_question_more_and_changes_nothing() {
    let machine = machine().await;
    let ring = json!([
        { "version": 1, "key": KEY, "state": "active" }, { "version": 2, "key": SECOND, "state": "next" }
    ]);
    machine.write_identity(&ring);
    for number in [2, 3] {
        machine.leader.publish(bundle(number, &[(FILE, &format!("{number}"))]));
        assert_eq!(cycle(&machine).await, Outcome::Running { revision: revision(number) });
        assert_eq!(identity(&machine), ["1 active", "2 next"]);
        assert_eq!(asked(&machine), ["co1.1", "co1.1"]);
    }
    // A leader that knows neither is asked twice, and what is told is of the key that it should know.
    knows(&machine, &[]);
    let Outcome::NoGoal { reason } = cycle(&machine).await else { panic!("it is known") };
    assert!(reason.contains("`co1.2`"), "{reason}");
    assert_eq!(identity(&machine), ["1 active", "2 next"]);
}

#[tokio::test]
async fn a_new_key_that_comes_with_a_new_revision_is_kept_before_anything_of_it() {
    let machine = machine().await;
    knows(&machine, &[(1, KEY), (2, SECOND)]);
    machine.leader.publish(handing_out(2, 1, Some((2, SECOND))));
    assert_eq!(cycle(&machine).await, Outcome::Running { revision: revision(2) });
    // The report of that very cycle was signed with it.
    assert_eq!(asked(&machine), ["co1.1", "co1.2"]);
    assert_eq!(identity(&machine), ["2 active", "1 retiring"]);

    // One that cannot be kept: nothing of the revision is done.
    let state = machine.config().state;
    machine.leader.publish(handing_out(3, 2, Some((3, THIRD))));
    fs::remove_file(machine.identity_file()).unwrap();
    machine.write_identity(&json!([{ "version": 2, "key": SECOND, "state": "active" }]));
    let mut follower = machine.follower();
    fs::remove_file(machine.identity_file()).unwrap();
    fs::create_dir(machine.identity_file()).unwrap();
    let (_trigger, mut shutdown) = Shutdown::by_hand();
    let outcome = follower.cycle(&mut shutdown).await;
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert_eq!(machine.read(FILE), "2");
    assert!(!state.join("bundle-1.3.sealed").exists());
}

#[tokio::test]
async fn the_machine_can_go_back_across_rotations() {
    let machine = machine().await;
    knows(&machine, &[(1, KEY), (2, SECOND), (3, THIRD)]);
    machine.engine.script("core", [Script::DiesIf { contains: "broken".to_owned() }]);
    machine.leader.publish(handing_out(1, 1, Some((2, SECOND))));
    cycle(&machine).await;
    cycle(&machine).await;
    assert_eq!(identity(&machine), ["2 active", "1 retiring"]);
    // The second rotation ends the first key: what it had sealed is sealed anew.
    machine.leader.publish(handing_out(1, 2, Some((3, THIRD))));
    cycle(&machine).await;
    // What it tells after a start it tells with the new key.
    assert_eq!(identity(&machine), ["3 active", "2 retiring"]);
    machine.leader.publish(bundle(2, &[(FILE, "broken")]));
    let outcome = cycle(&machine).await;
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    assert_eq!(machine.read(FILE), "1");
}

#[tokio::test]
async fn a_key_goes_when_its_time_is_over() {
    let machine = machine().await;
    knows(&machine, &[(2, SECOND)]);
    for (until, left) in [(u64::MAX, &["2 active", "1 retiring"][..]), (1, &["2 active"])] {
        machine.write_identity(&json!([
            { "version": 2, "key": SECOND, "state": "active" },
            { "version": 1, "key": KEY, "state": "retiring", "until": until }
        ]));
        assert_eq!(cycle(&machine).await, Outcome::Unchanged);
        assert_eq!(identity(&machine), left);
    }
    // What the key that went had sealed opens with the one that stays: something of it is missing and comes back.
    fs::remove_file(machine.root().join(FILE)).unwrap();
    assert_eq!(cycle(&machine).await, Outcome::Running { revision: revision(1) });
    assert_eq!(machine.read(FILE), "1");
}

/// Where a crash can leave the machine, whatever the leader has heard by then: it goes on with no step but its own.
#[tokio::test]
async fn a_crash_at_any_step_of_a_rotation_leads_to_the_same_end() {
    let key =
        |version: u32, key: &str, state: &str| json!({ "version": version, "key": key, "state": state, "until": 1 });
    let no_until = |mut key: Value| {
        key.as_object_mut().unwrap().remove("until");
        key
    };
    let first = no_until(key(1, KEY, "active"));
    let next = no_until(key(2, SECOND, "next"));
    let second = no_until(key(2, SECOND, "active"));
    let rings = [
        json!([first]),
        json!([first, next]),
        json!([second, { "version": 1, "key": KEY, "state": "retiring", "until": u64::MAX }]),
        json!([second, key(1, KEY, "retiring")]),
        json!([second]),
    ];
    for (step, ring) in rings.iter().enumerate() {
        // By then the bundle is sealed with the first key, or sealed anew already.
        for is_sealed_anew in [false, true] {
            if (step < 2 && is_sealed_anew) || (step == 4 && !is_sealed_anew) {
                continue;
            }
            let machine = machine().await;
            let sealed = machine.config().state.join("bundle-1.1.sealed");
            if is_sealed_anew {
                let bundle = bundle(1, &[(FILE, "1")]);
                let again = pconf_bundle::seal_bundle(&keys_of(2, SECOND), &bundle, [9; 24]);
                fs::write(&sealed, again.bytes).unwrap();
            }
            machine.write_identity(ring);
            // The first key is known until the leader has heard the second.
            knows(&machine, if step < 2 { &[(1, KEY), (2, SECOND)] } else { &[(2, SECOND)] });
            machine.leader.publish(handing_out(1, 1, Some((2, SECOND))));
            for _ in 0..3 {
                assert_eq!(cycle(&machine).await, Outcome::Unchanged, "{step} {is_sealed_anew}");
            }
            assert_eq!(identity(&machine)[0], "2 active", "{step} {is_sealed_anew}");
            fs::remove_file(machine.root().join(FILE)).unwrap();
            assert_eq!(cycle(&machine).await, Outcome::Running { revision: revision(1) }, "{step} {is_sealed_anew}");
        }
    }
    assert_eq!(keys().id().version, 1);
}

#[tokio::test]
async fn whom_to_trust_is_kept_as_the_leader_says_it() {
    let machine = machine().await;
    let kept = machine.config().state.join("authorities.pem");
    for (serial, pem) in [(1, "-----BEGIN CERTIFICATE-----\nfirst\n"), (2, "-----BEGIN CERTIFICATE-----\nsecond\n")] {
        let control = Some(Control { serial, next_key: None, authorities: Some(pem.to_owned()) });
        machine.leader.publish(Bundle { control, ..bundle(1, &[(FILE, "1")]) });
        assert_eq!(cycle(&machine).await, Outcome::Unchanged);
        assert_eq!(fs::read_to_string(&kept).unwrap(), pem);
    }
    assert_eq!(identity(&machine), ["1 active"]);
}

/// Every file in the state folder.
fn contents(machine: &TestMachine) -> BTreeMap<String, Vec<u8>> {
    let state = machine.config().state;
    files(&state).into_iter().map(|name| (name.clone(), fs::read(state.join(name)).unwrap())).collect()
}

/// A whole rotation with everything that can be logged: no key is in it, in no form that a key has.
#[tokio::test]
async fn no_log_shows_a_key() {
    let machine = machine().await;
    knows(&machine, &[(1, KEY), (2, SECOND)]);
    machine.leader.publish(handing_out(2, 1, Some((2, SECOND))));
    let mut said = String::new();
    for _ in 0..2 {
        let (code, output, log) = machine.run_with(&["once"], &[("RUST_LOG", "trace")]).await;
        assert_eq!(code, 0, "{log}");
        said += &(output + &log);
    }
    assert!(said.contains("the next key"), "nothing was logged: {said}");
    for key in [KEY, SECOND] {
        let standard = key.replace('-', "+").replace('_', "/");
        // Without what the last character leaves open.
        for form in [&key[..42], &standard[..42], &hexadecimal(key)] {
            assert!(!said.contains(form), "{said}");
        }
    }
}

/// The bytes behind a text in base64url, in hexadecimal.
fn hexadecimal(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = String::new();
    for byte in text.bytes() {
        bits += &format!("{:06b}", DIGITS.iter().position(|digit| *digit == byte).unwrap());
    }
    let bytes = bits.as_bytes().chunks_exact(8).map(|byte| std::str::from_utf8(byte).unwrap());
    bytes.fold(String::new(), |text, byte| format!("{text}{:02x}", u8::from_str_radix(byte, 2).unwrap()))
}
