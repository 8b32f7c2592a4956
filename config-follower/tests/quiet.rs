//! A cycle without a change is nobody's burden, and an engine in trouble is nobody's fault.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use common::{TestMachine, bundle, files};
use config_follower::{DriftPolicy, Outcome};
use futures_util::future::join_all;
use pconf_bundle::Verdict;
use pconf_daemon::Shutdown;
use pconf_names::RevisionId;
use scripted_engine::Fate;
use serde_json::json;

const FILE: &str = "core/conf/core.yml";

async fn converged() -> TestMachine {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    machine.container("hfs", "hfs");
    machine.leader.publish(bundle(1, &[(FILE, "one"), ("hfs/conf/hfs.yml", "hfs")]));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    machine
}

/// Every name in a folder with what changes when it is written or replaced.
fn traces(folder: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let trace = |name: String| {
        let about = std::fs::metadata(folder.join(&name)).unwrap();
        (name, (about.ino(), about.ctime(), about.ctime_nsec()))
    };
    files(folder).into_iter().chain([String::new()]).map(trace).collect()
}

#[tokio::test]
async fn a_cycle_without_a_change_writes_nothing_and_asks_the_engine_one_question() {
    let machine = converged().await;
    let config = config_follower::Config { drift: DriftPolicy::Report, ..machine.config() };
    let mut follower = machine.follower_of(&config);
    let (_trigger, mut shutdown) = Shutdown::by_hand();
    assert_eq!(follower.cycle(&mut shutdown).await, Outcome::Unchanged);
    let (state, root) = (traces(&config.state), traces(&machine.root()));
    let (asked, reports) = (machine.engine.all_calls().len(), machine.leader.change(|served| served.reports.len()));
    for _ in 0..3 {
        assert_eq!(follower.cycle(&mut shutdown).await, Outcome::Unchanged);
    }
    assert_eq!((traces(&config.state), traces(&machine.root())), (state, root));
    assert_eq!(machine.engine.all_calls()[asked..], ["list", "list", "list"]);
    assert_eq!(machine.leader.change(|served| served.reports.len()), reports);
}

#[tokio::test]
async fn an_engine_that_goes_away_at_any_call_leaves_nothing_but_a_debt() {
    let counted = converged().await;
    counted.leader.publish(bundle(2, &[(FILE, "two"), ("hfs/conf/hfs.yml", "hfs")]));
    let before = counted.engine.all_calls().len();
    assert_eq!(counted.run(&["once"]).await.0, 0);
    // The last three are asked for what the leader is told of the machine: nothing hangs on them.
    let calls = counted.engine.all_calls().len() - before - 3;
    assert!(calls > 5, "{:?}", counted.engine.all_calls());
    join_all((1..=calls).map(goes_away_at)).await;
}

async fn goes_away_at(call: usize) {
    let machine = converged().await;
    machine.leader.publish(bundle(2, &[(FILE, "two"), ("hfs/conf/hfs.yml", "hfs")]));
    machine.engine.on_call(move |nth, _| if nth >= call { Fate::Break } else { Fate::Serve });
    let (code, _, said) = machine.run(&["once"]).await;
    assert_eq!((code, said.contains("cannot reach the Docker engine")), (1, true), "{call}: {said}");
    let told = machine.leader.last_report().verdict;
    assert!(matches!(told, Verdict::Unfinished { .. }), "{call}: {told:?}");
    let (_, status) = machine.ask(&["status"]).await;
    let running = json!([status["running"], status["standing"]]);
    assert_eq!(running, json!(["1.1", []]), "{call}: nothing is known of services that cannot be asked for");
    // Still away.
    assert_eq!(machine.run(&["once"]).await.0, 1, "{call}");
    machine.engine.on_call(|_, _| Fate::Serve);
    let (code, _, said) = machine.run(&["once"]).await;
    assert_eq!((code, machine.read(FILE).as_str()), (0, "two"), "{call}: {said}");
    let read = machine.engine.has_read("core");
    assert_eq!(read[&machine.root().join(FILE)], b"two", "{call}");
    let told = Verdict::Running { revision: RevisionId { epoch: 1, number: 2 } };
    assert_eq!(machine.leader.last_report().verdict, told, "{call}");
    let restarts = machine.engine.restarts();
    let of_core = restarts.iter().skip(2).filter(|name| *name == "core").count();
    assert!((1..=2).contains(&of_core) && restarts.iter().filter(|name| *name == "hfs").count() == 1, "{restarts:?}");
}

#[tokio::test]
async fn an_engine_that_is_restarted_meanwhile_is_waited_for() {
    let machine = converged().await;
    machine.leader.publish(bundle(2, &[(FILE, "two"), ("hfs/conf/hfs.yml", "hfs")]));
    let engine = machine.engine.clone();
    machine.engine.on_call(move |_, call| {
        if call != "restart core" {
            return Fate::Serve;
        }
        let engine = engine.clone();
        Fate::ServeThen(Box::new(move || {
            engine.set_down(true);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(1));
                engine.set_down(false);
            });
        }))
    });
    let (code, _, said) = machine.run(&["once"]).await;
    machine.engine.on_call(|_, _| Fate::Serve);
    assert_eq!((code, machine.engine.restarts().len()), (0, 3), "{said}");
}
