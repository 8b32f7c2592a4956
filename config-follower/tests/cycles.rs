//! What one cycle after the other promises: real files, a real leader on the wire, scripted containers.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use std::os::unix::fs::symlink;

use common::{TestMachine, bundle, files};
use config_follower::{Follower, Outcome};
use http::StatusCode;
use pconf_bundle::{Report, ServiceOutcome, ServiceReport, Verdict};
use pconf_containers::Docker;
use pconf_daemon::Shutdown;
use pconf_names::RevisionId;
use pconf_plan::Urgency;
use scripted_engine::{Fate, Script, State};

async fn cycle(follower: &mut Follower<Docker>) -> Outcome {
    let (_trigger, mut shutdown) = Shutdown::by_hand();
    follower.cycle(&mut shutdown).await
}

fn running(number: u64) -> Outcome {
    Outcome::Running { revision: revision(number) }
}

fn revision(number: u64) -> RevisionId {
    RevisionId { epoch: 1, number }
}

fn set(number: u64, core: &str) -> pconf_bundle::Bundle {
    bundle(number, &[("core/conf/core.yml", core), ("hfs/conf/hfs.yml", "hfs"), ("pryv.yml", "compose")])
}

async fn converged() -> (TestMachine, Follower<Docker>) {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    machine.container("hfs", "hfs");
    machine.container("other", "elsewhere");
    machine.leader.publish(set(1, "one"));
    let mut follower = machine.follower();
    assert_eq!(cycle(&mut follower).await, running(1));
    (machine, follower)
}

/// The restarts in their order, but for the first two: those go side by side, and which is quicker is nobody's promise.
fn restarts(machine: &TestMachine) -> Vec<String> {
    let mut restarts = machine.engine.restarts();
    let side_by_side = restarts.len().min(2);
    restarts[..side_by_side].sort_unstable();
    restarts
}

#[tokio::test]
async fn the_first_cycle_writes_everything_and_restarts_every_reader_once() {
    let (machine, mut follower) = converged().await;
    assert_eq!(files(&machine.root()), ["core/conf/core.yml", "hfs/conf/hfs.yml", "pryv.yml"]);
    assert!(machine.root().join("core/data").is_dir());
    assert_eq!(restarts(&machine), ["core", "hfs"]);
    let service = |name: &str, reason: &str| ServiceReport {
        name: name.to_owned(),
        outcome: ServiceOutcome::Restarted,
        reason: reason.to_owned(),
        log: Vec::new(),
    };
    assert_eq!(
        machine.leader.last_report(),
        Report {
            verdict: Verdict::Running { revision: revision(1) },
            written: ["core/conf/core.yml", "hfs/conf/hfs.yml", "pryv.yml"].map(|path| path.parse().unwrap()).into(),
            removed: Vec::new(),
            read_by_nothing: vec!["pryv.yml".parse().unwrap()],
            services: vec![service("core", "core/conf/core.yml"), service("hfs", "hfs/conf/hfs.yml")],
            drift: Vec::new(),
            on_disk: Some(revision(1)),
        }
    );
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(machine.engine.restarts().len(), 2);
    assert_eq!(machine.leader.change(|served| served.pulls.clone()), [StatusCode::OK, StatusCode::NOT_MODIFIED]);
}

#[tokio::test]
async fn a_change_restarts_its_readers_and_an_unchanged_publish_restarts_nothing() {
    let (machine, mut follower) = converged().await;
    machine.leader.publish(set(2, "two"));
    assert_eq!(cycle(&mut follower).await, running(2));
    assert_eq!(machine.read("core/conf/core.yml"), "two");
    machine.leader.publish(set(3, "two"));
    assert_eq!(cycle(&mut follower).await, running(3));
    assert_eq!(restarts(&machine), ["core", "hfs", "core"]);
    let services = machine.leader.last_report().services;
    assert!(services.iter().all(|service| service.outcome == ServiceOutcome::Untouched), "{services:?}");
}

#[tokio::test]
async fn a_fresh_follower_adopts_a_machine_that_is_at_its_goal() {
    let (machine, follower) = converged().await;
    drop(follower);
    std::fs::remove_dir_all(machine.config().state).unwrap();
    assert_eq!(cycle(&mut machine.follower()).await, running(1));
    assert_eq!(machine.engine.restarts().len(), 2);
}

#[tokio::test]
async fn a_link_in_the_place_of_a_file_refuses_the_bundle_and_touches_nothing() {
    let (machine, mut follower) = converged().await;
    let outside = machine.folder.path().join("outside");
    std::fs::write(&outside, "theirs").unwrap();
    std::fs::remove_file(machine.root().join("pryv.yml")).unwrap();
    symlink(&outside, machine.root().join("pryv.yml")).unwrap();
    machine.leader.publish(set(2, "two"));
    let reason = "`pryv.yml` is a symbolic link; move it away; nothing was touched".to_owned();
    assert_eq!(cycle(&mut follower).await, Outcome::Refused { revision: revision(2), reason: reason.clone() });
    assert_eq!(machine.read("core/conf/core.yml"), "one");
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "theirs");
    let verdict = Verdict::Refused { revision: revision(2), running: Some(revision(1)), reason };
    assert_eq!(machine.leader.last_report().verdict, verdict);
}

#[tokio::test]
async fn the_leader_is_told_when_a_revision_that_was_refused_is_taken_back() {
    let (machine, mut follower) = converged().await;
    machine.leader.publish(set(1, "other"));
    assert!(matches!(cycle(&mut follower).await, Outcome::Refused { .. }));
    machine.leader.publish(set(1, "one"));
    drop(follower);
    let mut follower = machine.follower();
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(machine.leader.last_report().verdict, Verdict::Running { revision: revision(1) });
    let reports = || machine.leader.change(|served| served.reports.len());
    let before = reports();
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(reports(), before);
}

#[tokio::test]
async fn a_container_that_its_operator_stopped_stays_stopped() {
    let (machine, mut follower) = converged().await;
    machine.engine.set_state("core", State::Exited(0));
    machine.leader.publish(set(2, "two"));
    assert_eq!(cycle(&mut follower).await, running(2));
    assert_eq!(restarts(&machine), ["core", "hfs"]);
    let report = machine.leader.last_report();
    assert_eq!(report.services[0].outcome, ServiceOutcome::Stopped);
    // Resumed as it was, it would run on the old file.
    machine.engine.set_state("core", State::Running);
    assert_eq!(cycle(&mut follower).await, running(2));
    assert_eq!(restarts(&machine), ["core", "hfs", "core"]);
}

#[tokio::test]
async fn a_container_that_is_started_while_files_are_written_is_restarted_too_and_no_other() {
    let (machine, mut follower) = converged().await;
    let (engine, root, mut is_first) = (machine.engine.clone(), machine.root(), true);
    machine.engine.on_call(move |_, call| {
        // The containers were listed, and no file is written yet.
        if call == "look hfs" && std::mem::take(&mut is_first) {
            engine.remove("core");
            for (name, place) in [("core", "core"), ("elsewhere", "hfs"), ("new", "core/conf")] {
                engine.add(name, &[(&root.join(place), "/app/conf")]);
            }
        }
        Fate::Serve
    });
    machine.leader.publish(set(2, "two"));
    assert_eq!(cycle(&mut follower).await, running(2));
    machine.engine.on_call(|_, _| Fate::Serve);
    assert_eq!(restarts(&machine), ["core", "hfs", "core", "new"]);
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(machine.engine.restarts().len(), 4);
}

#[tokio::test]
async fn a_revision_that_kills_a_container_is_undone_and_the_next_one_goes_through() {
    let (machine, mut follower) = converged().await;
    machine.engine.script("core", [Script::Dies(7)]);
    machine.leader.publish(set(2, "broken"));
    let died = "`core`: exited with code 7: see `docker logs core`";
    // It does not come up with the old file either, so the way back is not at its end.
    let reason = format!("1.2 broke this machine ({died}), and going back to 1.1 does not work out yet: {died}");
    assert_eq!(cycle(&mut follower).await, Outcome::Failed { reason: reason.clone() });
    let verdict = Verdict::Unfinished { revision: revision(1), running: Some(revision(1)), reason };
    assert_eq!(machine.leader.last_report().verdict, verdict);
    assert_eq!(machine.read("core/conf/core.yml"), "one");

    machine.engine.script("core", []);
    let back = Outcome::RolledBack { revision: revision(2), running: revision(1), reason: died.to_owned() };
    assert_eq!(cycle(&mut follower).await, back);
    let before = machine.engine.calls();
    assert_eq!(restarts(&machine), ["core", "hfs", "core"]);
    assert_eq!(before[3..], ["start core", "start core"]);
    // Neither a poll nor a new process tries it again.
    drop(follower);
    let mut follower = machine.follower();
    let refused = Outcome::Refused { revision: revision(2), reason: died.to_owned() };
    assert_eq!([cycle(&mut follower).await, cycle(&mut follower).await], [refused.clone(), refused]);
    assert_eq!(machine.engine.calls(), before);

    machine.leader.publish(set(3, "mended"));
    assert_eq!(cycle(&mut follower).await, running(3));
    assert_eq!(machine.engine.calls()[before.len()..], ["restart core"]);
}

#[tokio::test]
async fn a_restart_that_is_owed_is_done_after_a_crash_even_when_the_leader_is_gone() {
    let (machine, mut follower) = converged().await;
    machine.engine.on_call(|_, call| if call == "restart core" { Fate::Refuse } else { Fate::Serve });
    machine.leader.publish(set(2, "two"));
    assert!(matches!(cycle(&mut follower).await, Outcome::Failed { .. }));
    drop(follower);
    machine.engine.on_call(|_, _| Fate::Serve);
    machine.leader.change(|served| served.fault = Some(StatusCode::INTERNAL_SERVER_ERROR));
    let mut follower = machine.follower();
    assert_eq!(cycle(&mut follower).await, running(2));
    assert_eq!(restarts(&machine), ["core", "hfs", "core"]);
    assert!(matches!(cycle(&mut follower).await, Outcome::NoGoal { .. }));
    assert_eq!(machine.engine.restarts().len(), 3);

    machine.leader.change(|served| served.fault = None);
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(machine.leader.last_report().verdict, Verdict::Running { revision: revision(2) });
}

#[tokio::test]
async fn the_wish_to_end_leaves_restarts_owed() {
    let (machine, mut follower) = converged().await;
    machine.leader.publish(set(2, "two"));
    // Pulled by hand between the pull and the restart: the goal is there, the wish comes during file work.
    let (trigger, mut shutdown) = Shutdown::by_hand();
    let leader = machine.leader.clone();
    let pulling = tokio::spawn(async move {
        while leader.change(|served| served.pulls.len()) < 2 {
            tokio::task::yield_now().await;
        }
        trigger.pull();
    });
    let outcome = follower.cycle(&mut shutdown).await;
    pulling.await.unwrap();
    assert_eq!(outcome, Outcome::Interrupted);
    drop(follower);
    assert_eq!(cycle(&mut machine.follower()).await, running(2));
    assert_eq!(restarts(&machine), ["core", "hfs", "core"]);
}

#[tokio::test]
async fn without_a_leader_the_last_good_files_stay_and_it_is_tried_again_soon() {
    let (machine, mut follower) = converged().await;
    for fault in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK, StatusCode::NOT_FOUND] {
        machine.leader.change(|served| served.fault = Some(fault));
        assert!(matches!(cycle(&mut follower).await, Outcome::NoGoal { .. }), "{fault}");
    }
    assert_eq!(follower.urgency(), Urgency::Again { failures: 3 });
    assert_eq!(machine.read("core/conf/core.yml"), "one");
    machine.leader.change(|served| served.fault = None);
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(follower.urgency(), Urgency::Usual);
}

#[tokio::test]
async fn another_role_is_told_what_to_compare() {
    let machine = TestMachine::new().await;
    let mut config = machine.config();
    config.role = "web".parse().unwrap();
    let leader = config_follower::Leader::new(&config, config_follower::Identity::to_look(&config.ring)).unwrap();
    let memory = config_follower::Memory::open(&config.state).unwrap();
    let mut follower = Follower::new(
        leader,
        config_follower::Machine::new(&config.root, Some(Docker::at(machine.engine.socket()))),
        memory,
        &config,
    );
    let reason = "the leader refuses: `co1` has the role `core`; compare `role` in config-follower.json with this \
                  machine's role in platform.json"
        .to_owned();
    assert_eq!(cycle(&mut follower).await, Outcome::NoGoal { reason });
}

#[tokio::test]
async fn an_older_revision_and_a_reused_number_are_refused() {
    let (machine, mut follower) = converged().await;
    machine.leader.publish(set(5, "five"));
    assert_eq!(cycle(&mut follower).await, running(5));
    machine.leader.publish(set(4, "four"));
    assert!(matches!(cycle(&mut follower).await, Outcome::Refused { .. }));
    machine.leader.publish(set(5, "other"));
    assert!(matches!(cycle(&mut follower).await, Outcome::Refused { .. }));
    assert_eq!(machine.read("core/conf/core.yml"), "five");
}

#[tokio::test]
async fn a_file_that_somebody_changed_is_put_right_again() {
    let (machine, mut follower) = converged().await;
    std::fs::write(machine.root().join("core/conf/core.yml"), "edited").unwrap();
    std::fs::write(machine.root().join("core/data/file"), "theirs").unwrap();
    assert_eq!(cycle(&mut follower).await, running(1));
    assert_eq!(machine.read("core/conf/core.yml"), "one");
    assert_eq!(machine.read("core/data/file"), "theirs");
}

#[tokio::test]
async fn a_data_folder_that_vanished_is_made_again() {
    let (machine, mut follower) = converged().await;
    std::fs::remove_dir(machine.root().join("core/data")).unwrap();
    assert_eq!(cycle(&mut follower).await, running(1));
    assert!(machine.root().join("core/data").is_dir());
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(restarts(&machine), ["core", "hfs"]);
}

#[tokio::test]
async fn a_container_that_is_removed_during_its_restart_or_out_of_sight_for_a_moment_has_not_failed() {
    for does_vanish in [true, false] {
        let (machine, mut follower) = converged().await;
        let (engine, mut was_asked) = (machine.engine.clone(), false);
        machine.engine.on_call(move |_, call| match call {
            "restart core" if does_vanish => {
                engine.remove("core");
                Fate::Serve
            }
            "restart core" => {
                was_asked = true;
                Fate::Serve
            }
            "look core" if std::mem::take(&mut was_asked) => Fate::Break,
            _ => Fate::Serve,
        });
        machine.leader.publish(set(2, "two"));
        assert_eq!(cycle(&mut follower).await, running(2), "{does_vanish}");
        assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
        machine.engine.on_call(|_, _| Fate::Serve);
    }
}

#[tokio::test]
async fn a_report_that_was_not_taken_is_sent_again() {
    let (machine, mut follower) = converged().await;
    machine.leader.change(|served| served.takes_no_reports = true);
    machine.leader.publish(set(2, "two"));
    assert_eq!(cycle(&mut follower).await, running(2));
    assert_eq!(machine.leader.last_report().verdict, Verdict::Running { revision: revision(1) });
    machine.leader.change(|served| served.takes_no_reports = false);
    drop(follower);
    assert_eq!(cycle(&mut machine.follower()).await, Outcome::Unchanged);
    assert_eq!(machine.leader.last_report().verdict, Verdict::Running { revision: revision(2) });
}

#[tokio::test]
async fn what_a_crash_kept_from_being_told_is_told_by_the_next_follower() {
    let (machine, mut follower) = converged().await;
    let status = machine.config().state.join("status.json");
    let told_last = std::fs::read(&status).unwrap();
    let verdict = || machine.leader.last_report().verdict;
    // Ledger and files are settled; the process ends before a word of it is put down or sent.
    machine.leader.change(|served| served.takes_no_reports = true);
    machine.leader.publish(set(2, "two"));
    assert_eq!(cycle(&mut follower).await, running(2));
    drop(follower);
    std::fs::write(&status, &told_last).unwrap();
    machine.leader.change(|served| served.takes_no_reports = false);
    let mut follower = machine.follower();
    assert_eq!(cycle(&mut follower).await, Outcome::Unchanged);
    assert_eq!(verdict(), Verdict::Running { revision: revision(2) });
    assert_eq!(follower.memory().status.desired, Some(revision(2)));

    // The same after the way back.
    machine.leader.change(|served| served.takes_no_reports = true);
    machine.engine.script("core", [Script::Dies(7)]);
    machine.leader.publish(set(3, "broken"));
    assert!(matches!(cycle(&mut follower).await, Outcome::Failed { .. }));
    machine.engine.script("core", []);
    let back = cycle(&mut follower).await;
    let Outcome::RolledBack { reason, .. } = back else { panic!("{back:?}") };
    drop(follower);
    std::fs::write(&status, &told_last).unwrap();
    machine.leader.change(|served| served.takes_no_reports = false);
    let refused = Verdict::Refused { revision: revision(3), running: Some(revision(2)), reason };
    for _ in 0..2 {
        assert!(matches!(cycle(&mut machine.follower()).await, Outcome::Refused { .. }));
        assert_eq!(verdict(), refused);
    }
}

#[tokio::test]
async fn without_its_engine_nothing_is_touched_and_the_leader_is_told() {
    let (machine, mut follower) = converged().await;
    machine.engine.set_down(true);
    machine.leader.publish(set(2, "two"));
    let outcome = cycle(&mut follower).await;
    let Outcome::Failed { reason } = outcome else { panic!("{outcome:?}") };
    let engine = machine.engine.socket().display();
    assert!(reason.starts_with(&format!("cannot reach the Docker engine at `{engine}` (is it running")), "{reason}");
    assert_eq!(machine.read("core/conf/core.yml"), "one");
    let verdict = Verdict::Unfinished { revision: revision(2), running: Some(revision(1)), reason };
    assert_eq!(machine.leader.last_report().verdict, verdict);
    machine.engine.set_down(false);
    assert_eq!(cycle(&mut follower).await, running(2));
}

#[tokio::test]
async fn on_a_full_disk_every_file_is_whole_and_the_next_revision_goes_through() {
    let machine = TestMachine::new().await;
    std::fs::create_dir(machine.root()).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
    let mounted = std::process::Command::new("mount").args(mount).arg(machine.root()).output().unwrap();
    if !mounted.status.success() {
        skipped("mounting a small tmpfs needs root");
        return;
    }
    let outcomes = async {
        machine.container("core", "core/conf");
        let mut follower = machine.follower();
        machine.leader.publish(set(1, "one"));
        let first = cycle(&mut follower).await;
        let large = "x".repeat(200_000);
        let mut full = bundle(2, &[("core/conf/core.yml", &large), ("hfs/conf/hfs.yml", "two")]);
        full.accepted = true;
        machine.leader.publish(full);
        let full = cycle(&mut follower).await;
        let kept = (machine.read("core/conf/core.yml"), files(&machine.root()));
        machine.leader.publish(set(3, "three"));
        (first, full, kept, cycle(&mut follower).await, machine.read("core/conf/core.yml"))
    }
    .await;
    std::process::Command::new("umount").arg(machine.root()).status().unwrap();

    let (first, full, (kept, names), last, after) = outcomes;
    assert_eq!((first, last, after.as_str()), (running(1), running(3), "three"));
    let reason = format!(
        "cannot write `{}/core/conf/core.yml` (free some space; what was there before is whole): No space left on \
         device (os error 28)",
        machine.root().display()
    );
    assert_eq!(full, Outcome::Failed { reason });
    assert_eq!(kept, "one");
    assert_eq!(names, ["core/conf/core.yml", "hfs/conf/hfs.yml", "pryv.yml"]);
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

#[tokio::test]
async fn a_damaged_or_future_memory_is_refused_and_never_guessed_at() {
    let (machine, follower) = converged().await;
    drop(follower);
    let ledger = machine.config().state.join("ledger.json");
    let good = std::fs::read_to_string(&ledger).unwrap();
    for (text, said) in
        [("{\"version\": 1, \"files\"", "it is damaged: EOF"), ("{\"version\": 2}", "it is of version 2")]
    {
        std::fs::write(&ledger, text).unwrap();
        let error = config_follower::Memory::open(&machine.config().state).unwrap_err();
        let error = pconf_daemon::Chain(&error).to_string();
        assert!(error.contains(said), "{error}");
    }
    std::fs::write(&ledger, good).unwrap();
    assert_eq!(cycle(&mut machine.follower()).await, Outcome::Unchanged);
}
