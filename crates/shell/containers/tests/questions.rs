//! What is asked of an engine and tried on it, without touching anything that runs.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod bench;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bench::{Bench, strings};
use pconf_containers::{Containers as _, Ended, EngineError, Mount, Summary};
use scripted_engine::{Fate, Script, Spec};

const LIMIT: Duration = Duration::from_mins(1);

fn mounts_something(seen: &Summary) -> bool {
    !seen.mounts.is_empty()
}

#[tokio::test]
async fn containers_are_found_by_their_mounts_or_by_their_labels_and_about_others_nothing_is_asked() {
    let bench = Bench::with_core();
    bench.engine.add("stranger", &[]);
    let labels = BTreeMap::from([
        ("config-follower.on-change".to_owned(), "none".to_owned()),
        ("org.opencontainers.image.title".to_owned(), "mail".to_owned()),
    ]);
    bench.engine.add_with(Spec { name: "mail".to_owned(), labels, ..Spec::default() }.of_compose("pryvio", "mail"));
    let matters = |seen: &Summary| mounts_something(seen) || seen.compose() == Some(("pryvio", "mail"));
    let found = bench.docker.list(matters).await.unwrap();
    assert_eq!(found.iter().map(|each| each.name.as_str()).collect::<Vec<_>>(), ["core", "mail"]);
    assert_eq!(found[1].labels["config-follower.on-change"], "none");
    assert!(!found[1].labels.contains_key("org.opencontainers.image.title"));
    assert_eq!(bench.engine.all_calls(), ["list", "look core", "look mail"]);
}

#[tokio::test]
async fn a_volume_that_is_another_name_of_a_folder_is_that_folder() {
    let bench = Bench::with_core();
    bench.engine.add_volume("shared", &bench.conf());
    let mounts = vec![(PathBuf::from("volume:shared"), PathBuf::from("/app/conf"))];
    bench.engine.add_with(Spec { name: "volume".to_owned(), mounts, ..Spec::default() });
    let expected = [Mount { source: bench.conf(), destination: "/app/conf".into(), writable: true }];
    let found = bench.docker.list(mounts_something).await.unwrap();
    assert_eq!(found.iter().map(|each| each.mounts.clone()).collect::<Vec<_>>(), [&expected[..], &expected[..]]);
    assert_eq!(bench.look("volume").await.mounts, expected);
    let calls = ["list", "volumes", "look core", "look volume", "look volume", "volumes"];
    assert_eq!(bench.engine.all_calls(), calls, "volumes are asked for only when one is mounted");
}

#[tokio::test]
async fn a_command_is_tried_on_staged_files_and_nothing_is_left_of_it() {
    let bench = Bench::with_core();
    let staged = bench.folder.path().join("staged");
    fs::create_dir(&staged).unwrap();
    let output = "core.yml:1: bad\n".to_owned();
    bench.engine.script("core", [Script::CommandFailsIf { contains: "bad".to_owned(), output: output.clone() }]);
    let core = bench.look("core").await;
    let swaps = [(bench.conf(), staged.clone())];
    for (text, expected) in [("good", Ended { code: 0, output: String::new() }), ("bad", Ended { code: 1, output })] {
        fs::write(staged.join("core.yml"), text).unwrap();
        let ended = bench.docker.try_out(&core, &strings(["core", "--check"]), &swaps, LIMIT).await.unwrap();
        assert_eq!(ended, expected);
        assert_eq!(bench.engine.names(), ["core"]);
    }
    assert_eq!(bench.engine.calls(), ["try core core --check", "try core core --check"]);
    assert_eq!(bench.look("core").await, core, "the service did not notice");
}

#[tokio::test]
async fn a_trial_that_does_not_end_is_ended_and_removed() {
    let bench = Bench::with_core();
    bench.engine.script("core", [Script::CommandHangs]);
    let core = bench.look("core").await;
    let error = bench.docker.try_out(&core, &strings(["check"]), &[], Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, EngineError::NotEnded { .. }), "{error}");
    assert_eq!(bench.engine.names(), ["core"]);
}

#[tokio::test]
async fn whatever_the_engine_does_wrong_during_a_trial_no_container_of_it_outlives_the_next_sweep() {
    for fate in [|| Fate::Refuse, || Fate::Break, || Fate::BreakAfter] {
        let mut nth = 1;
        loop {
            let bench = Bench::with_core();
            let core = bench.look("core").await;
            let calls = bench.engine.all_calls().len();
            bench.engine.fail_call(nth, fate());
            let outcome = bench.docker.try_out(&core, &strings(["check"]), &[], LIMIT).await;
            let was_hit = bench.engine.all_calls().len() - calls >= nth;
            bench.engine.on_call(|_, _| Fate::Serve);
            let listed = bench.docker.list(|_| true).await.unwrap();
            assert_eq!(listed.len(), 1, "a container of our own is nobody's business: {:?}", bench.engine.names());
            bench.docker.sweep().await.unwrap();
            assert_eq!(bench.engine.names(), ["core"], "{:?} at call {nth}: {outcome:?}", fate());
            if !was_hit {
                assert!(outcome.is_ok(), "{outcome:?}");
                break;
            }
            nth += 1;
        }
    }
}

#[tokio::test]
async fn the_last_lines_of_a_log_come_the_oldest_first() {
    let bench = Bench::with_core();
    for line in ["one", "two", "three"] {
        bench.engine.say("core", line);
    }
    assert_eq!(bench.docker.last_lines("core", 2).await.unwrap(), ["two", "three"]);
}

#[tokio::test]
async fn the_engine_s_own_words_are_in_its_refusal() {
    let bench = Bench::with_core();
    let core = bench.look("core").await;
    bench.engine.fail_call(1, Fate::Refuse);
    let error = bench.docker.restart(&core).await.unwrap_err();
    assert_eq!(error.to_string(), "the Docker engine cannot restart core");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "scripted failure");
}
