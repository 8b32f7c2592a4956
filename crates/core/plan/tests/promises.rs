//! What the planner promises, one sentence each.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod world;

use pconf_names::RevisionId;
use pconf_plan::{ContainerState, DebtState, Ledger, Purpose, Refusal, What, plan};
use world::follower::End;
use world::goal::bundle;
use world::{World, container, path};

/// A machine with the usual containers, carried to revision 1.
fn converged() -> World {
    let mut world = World::with(vec![
        container("core", &["core/conf"]),
        container("hfs", &["hfs/conf", "core/data"]),
        container("proxy", &["nginx/conf/nginx.conf"]),
        container("monitor", &[]),
    ]);
    world.converge(&set(1, "one"));
    world
}

fn set(number: u64, text: &str) -> pconf_bundle::VerifiedBundle {
    bundle(
        number,
        &["core/data"],
        &[
            ("core/conf/core.yml", text),
            ("hfs/conf/hfs.yml", "hfs"),
            ("nginx/conf/nginx.conf", "proxy"),
            ("pryv.yml", "p"),
        ],
    )
}

#[test]
fn the_first_plan_makes_everything_and_restarts_every_reader_once() {
    let mut world =
        World::with(vec![container("core", &["core"]), container("all", &["."]), container("none", &["elsewhere"])]);
    world.containers[2].state = ContainerState::Stopped;
    assert_eq!(
        world.plan(&set(1, "one")).unwrap().to_string(),
        "\
revision 1.1
\x20 make     core/  (9999:9999 0755)
\x20 make     core/conf/  (9999:9999 0755)
\x20 make     core/data/  (9999:9999 0750)
\x20 make     hfs/  (9999:9999 0755)
\x20 make     hfs/conf/  (9999:9999 0755)
\x20 make     nginx/  (9999:9999 0755)
\x20 make     nginx/conf/  (9999:9999 0755)
\x20 create   core/conf/core.yml
\x20 create   hfs/conf/hfs.yml
\x20 create   nginx/conf/nginx.conf
\x20 create   pryv.yml
\x20 restart  all  (reads core/conf/core.yml, hfs/conf/hfs.yml, nginx/conf/nginx.conf, pryv.yml)
\x20 restart  core  (reads core/conf/core.yml)
\x20 downtime all, core, until each is up again
"
    );
}

#[test]
fn a_machine_at_its_goal_has_nothing_to_do() {
    let world = converged();
    let plan = world.plan(&set(2, "one")).unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.to_string(), "revision 1.2: nothing to do\n");
    assert_eq!(plan.untouched, ["core", "hfs", "proxy"]);
}

#[test]
fn only_the_readers_of_a_changed_file_restart() {
    let world = converged();
    assert_eq!(
        world.plan(&set(2, "two")).unwrap().to_string(),
        "\
revision 1.2
\x20 change   core/conf/core.yml
\x20 restart  core  (reads core/conf/core.yml)
\x20 downtime core, until each is up again
"
    );
}

#[test]
fn a_container_that_its_operator_stopped_stays_stopped_until_it_is_started() {
    let mut world = converged();
    world.containers[0].state = ContainerState::Stopped;
    assert_eq!(
        world.plan(&set(2, "two")).unwrap().to_string(),
        "\
revision 1.2
\x20 change   core/conf/core.yml
\x20 leave    core  (stopped by its operator; reads core/conf/core.yml)
"
    );
    world.converge(&set(2, "two"));
    assert_eq!(world.containers[0].state, ContainerState::Stopped);
    assert_eq!(world.ledger.running(), Some(RevisionId { epoch: 1, number: 2 }));
    assert!(world.ledger.owed.contains_key("core"), "resumed from a pause it would still run on the old file");
    world.start("core");
    world.converge(&set(3, "two"));
    assert!(world.ledger.owed.is_empty());
}

#[test]
fn files_that_left_the_set_go_and_their_folders_too_but_nothing_else() {
    let mut world = World::with(vec![container("core", &["core/conf"]), container("hfs", &["hfs/conf"])]);
    world.converge(&bundle(
        1,
        &["core/data"],
        &[("core/conf/core.yml", "one"), ("dns/conf/dns.json", "d"), ("hfs/conf/hfs.yml", "hfs"), ("pryv.yml", "p")],
    ));
    world.put("core/conf/theirs.yml", "theirs");
    world.put("core/data/file", "theirs");
    let fewer = bundle(2, &["core/data"], &[("pryv.yml", "p")]);
    // A folder that a container mounts stays: without it the container could not be started.
    assert_eq!(
        world.plan(&fewer).unwrap().to_string(),
        "\
revision 1.2
\x20 remove   core/conf/core.yml
\x20 remove   dns/conf/dns.json
\x20 remove   hfs/conf/hfs.yml
\x20 remove   dns/conf/  (if nothing is left in it)
\x20 remove   dns/  (if nothing is left in it)
\x20 restart  core  (reads core/conf/core.yml)
\x20 restart  hfs  (reads hfs/conf/hfs.yml)
\x20 downtime core, hfs, until each is up again
"
    );
    world.converge(&fewer);
    assert_eq!(world.files(), ["core/conf/theirs.yml", "core/data/file", "pryv.yml"]);
    assert!(!world.disk.contains_key(&path("dns")));
}

#[test]
fn files_that_nobody_reads_are_named() {
    let mut world = World::with(vec![container("core", &["core/conf"])]);
    world.put("core/conf/core.yml", "one");
    let plan = world.plan(&set(1, "one")).unwrap();
    let shown = plan.to_string();
    assert!(
        shown.ends_with("  note     no container reads hfs/conf/hfs.yml, nginx/conf/nginx.conf, pryv.yml\n"),
        "{shown}"
    );
}

#[test]
fn a_file_may_become_a_folder() {
    let mut world = World::default();
    world.converge(&bundle(1, &[], &[("dns", "x")]));
    world.converge(&bundle(2, &[], &[("dns/conf/dns.json", "x")]));
    assert_eq!(world.files(), ["dns/conf/dns.json"]);
}

#[test]
fn foreign_content_is_replaced_and_foreign_owners_are_corrected_without_a_restart() {
    let mut world = converged();
    world.put("core/conf/core.yml", "edited by hand");
    world.give_away("hfs/conf/hfs.yml");
    assert_eq!(
        world.plan(&set(2, "one")).unwrap().to_string(),
        "\
revision 1.2
\x20 change   core/conf/core.yml
\x20 permit   hfs/conf/hfs.yml  (9999:9999 0640)
\x20 restart  core  (reads core/conf/core.yml)
\x20 downtime core, until each is up again
"
    );
}

#[test]
fn whatever_is_no_ordinary_file_refuses_the_whole_bundle_and_says_the_way_out() {
    let mut world = World::default();
    world.obstruct("core", "a symbolic link");
    world.obstruct("pryv.yml", "a file with a second name (hard link)");
    let refusal = world.plan(&set(1, "one")).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "`core` is a symbolic link; `pryv.yml` is a file with a second name (hard link); \
         move them away; nothing was touched"
    );
}

#[test]
fn data_may_be_elsewhere_behind_a_link() {
    let mut world = World::default();
    world.converge(&bundle(1, &[], &[("core/conf/core.yml", "one")]));
    world.obstruct("core/data", "a symbolic link");
    assert!(world.plan(&bundle(2, &["core/data"], &[("core/conf/core.yml", "one")])).unwrap().is_empty());
}

#[test]
fn history_only_goes_forward() {
    let mut world = converged();
    world.converge(&set(5, "five"));
    let refused = |goal| world.plan(&goal).unwrap_err().to_string();
    assert_eq!(
        refused(set(4, "four")),
        "the leader offers revision 1.4 and this machine has 1.5 already: the leader may have been restored from a backup; if it was, \
         run `config-leader epoch bump` there; until then this machine stays as it is"
    );
    assert_eq!(
        refused(set(5, "other")),
        "the leader's revision 1.5 is not the revision 1.5 that this machine has seen: the leader may have been restored from a \
         backup and have published since; if it was, run `config-leader epoch bump` there; until then this machine stays as it is"
    );
    assert!(world.plan(&set(5, "five")).unwrap().is_empty());
}

#[test]
fn a_bundle_that_contradicts_itself_is_refused() {
    let world = World::default();
    for goal in [
        bundle(1, &[], &[("a", "x"), ("a/b", "y")]),
        bundle(1, &["a"], &[("a", "x")]),
        bundle(1, &["a/b"], &[("a", "x")]),
        bundle(1, &[], &[("a", "x"), ("a", "x")]),
    ] {
        assert_eq!(world.plan(&goal), Err(Refusal::Contradiction(path("a"))));
    }
}

#[test]
fn a_container_that_died_of_our_change_is_started_again() {
    let mut world = converged();
    world.failing = Some("core".to_owned());
    assert_eq!(world.arrive(&set(2, "broken"), Purpose::Goal), End::Unwell);
    world.containers[0].state = ContainerState::Stopped;
    let plan = world.plan(&set(3, "mended")).unwrap();
    assert_eq!(plan.actions.len(), 1);
    let mut ledger = world.ledger.clone();
    ledger.intend(&set(3, "mended"), Purpose::Goal, &plan);
    assert!(matches!(ledger.owed["core"].state, DebtState::Failed { .. }), "a crash now would not forget it");
}

#[test]
fn without_an_engine_files_are_written_and_nothing_is_said_about_readers() {
    let mut world = converged();
    let mut observed = world.observe(&set(2, "two"), &world.ledger);
    observed.containers = None;
    let plan = plan(&set(2, "two"), &world.ledger, &observed).unwrap();
    assert_eq!(plan.to_string(), "revision 1.2\n  change   core/conf/core.yml\n");
    world.containers.clear();
}

#[test]
fn a_file_that_is_no_longer_as_we_wrote_it_has_drifted() {
    let mut world = converged();
    let drift = |world: &World| {
        let containers = world.containers.iter().map(|each| (each.name.clone(), each.state)).collect();
        let found = world.ledger.drift(&world.observe(&set(1, "one"), &world.ledger).disk, Some(&containers));
        found.into_iter().map(|each| format!("{} {}", each.what, each.how)).collect::<Vec<_>>()
    };
    assert_eq!(drift(&world), [""; 0]);
    world.put("core/data/file", "theirs");
    assert_eq!(drift(&world), [""; 0]);
    world.give_away("core/conf/core.yml");
    world.put("pryv.yml", "edited");
    world.disk.remove(&path("hfs/conf/hfs.yml"));
    world.containers[1].state = ContainerState::Died;
    world.containers.remove(0);
    assert_eq!(
        drift(&world),
        [
            "core removed",
            "core/conf/core.yml owner changed",
            "hfs died",
            "hfs/conf/hfs.yml missing",
            "pryv.yml changed"
        ]
    );
}

#[test]
fn a_container_that_appeared_while_files_were_written_is_restarted_even_after_a_crash() {
    let mut world = converged();
    // The file is written; the ledger that says so is not.
    world.power = Some(2);
    world.converge(&set(2, "two"));
    world.containers.push(container("late", &["core"]));
    world.power = None;
    let names = |plan: pconf_plan::Plan| plan.actions.into_iter().map(|action| action.name).collect::<Vec<_>>();
    assert_eq!(names(world.plan(&set(2, "two")).unwrap()), ["core", "late"]);
    world.converge(&set(2, "two"));
    assert!(world.plan(&set(2, "two")).unwrap().is_empty());
}

#[test]
fn what_was_owed_is_forgotten_when_the_container_is_gone_and_verified_when_it_was_started_since() {
    let mut world = converged();
    world.power = Some(3);
    world.converge(&set(2, "two"));
    let mut after_removal = world.clone();
    after_removal.containers.remove(0);
    assert!(after_removal.plan(&set(2, "two")).unwrap().is_empty());
    world.start("core");
    let plan = world.plan(&set(2, "two")).unwrap();
    assert_eq!(plan.actions.iter().map(|action| &action.what).collect::<Vec<_>>(), [&What::Verify]);
}

#[test]
fn going_back_before_a_restart_was_done_needs_none() {
    let mut world = converged();
    let first = set(1, "one");
    // The new file is in place; its reader still runs on the old one.
    world.power = Some(3);
    world.converge(&set(2, "two"));
    let mut plan = world.plan_back(&first).unwrap();
    assert_eq!(plan.to_string(), "revision 1.1\n  change   core/conf/core.yml\n");
    assert!(world.ledger.owed.contains_key("core"));
    // Nor after a crash on the way back.
    world.ledger.intend(&first, Purpose::Return, &plan);
    plan = world.plan_back(&first).unwrap();
    assert_eq!(plan.actions, []);
    // But one that was started in between may have read the new file.
    world.start("core");
    plan = world.plan_back(&first).unwrap();
    assert_eq!(plan.actions.len(), 1);
}

#[test]
fn the_ledger_survives_its_text_form() {
    let mut world = converged();
    world.power = Some(3);
    world.converge(&set(2, "two"));
    let text = serde_json::to_string_pretty(&world.ledger).unwrap();
    assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), world.ledger);
    assert!(!text.contains("\"two\""), "it holds digests and no content");
}
