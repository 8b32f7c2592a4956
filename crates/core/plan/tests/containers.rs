//! What becomes of a container whose files change, by how it sees them and by what is said of it: one row of the table each.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod world;

use pconf_bundle::{Bundle, OnChange, VerifiedBundle};
use pconf_names::RevisionId;
use pconf_plan::{Admission, ContainerState, Purpose, admit, guard};
use world::follower::End;
use world::goal::{bundle, declared, empty, file, ruled, verified};
use world::{World, composed, container, labelled};

/// A machine at revision 1, `files` with these rules.
fn at_one(containers: Vec<pconf_plan::Container>, files: &[(&str, &str)], rules: &[&str]) -> World {
    let mut world = World::with(containers);
    assert!(world.converge(&ruled(1, files, rules)));
    world
}

fn shown(world: &World, goal: &VerifiedBundle) -> String {
    world.plan(goal).unwrap().to_string()
}

/// What is planned when the only file of one container changes.
fn change_of(file: &str, mounts: &str, rule: &str) -> String {
    let rules: &[&str] = if rule.is_empty() { &[] } else { &[rule] };
    let world = at_one(vec![container("app", &[mounts])], &[(file, "one")], rules);
    shown(&world, &ruled(2, &[(file, "two")], rules))
}

#[test]
fn a_file_below_a_mounted_folder_or_volume_is_replaced_and_its_reader_restarted() {
    assert_eq!(
        change_of("app/app.yml", "app", ""),
        "revision 1.2\n  change   app/app.yml\n  restart  app  (reads app/app.yml)\n  downtime app, until each is up again\n"
    );
}

#[test]
fn a_file_that_is_mounted_by_itself_is_rewritten_in_place_where_its_reader_is_not_started_again() {
    assert_eq!(
        change_of("app/app.yml", "app/app.yml", r#"{"match":"app","onChange":{"reload":"SIGHUP"}}"#),
        "revision 1.2\n  rewrite  app/app.yml\n  signal   app  SIGHUP  (reads app/app.yml)\n  downtime none\n"
    );
    assert_eq!(
        change_of("app/app.yml", "app/app.yml", r#"{"match":"app","onChange":"none"}"#),
        "revision 1.2\n  rewrite  app/app.yml\n"
    );
    assert_eq!(
        change_of("app/app.yml", "app/app.yml", ""),
        "revision 1.2\n  change   app/app.yml\n  restart  app  (reads app/app.yml)\n  downtime app, until each is up again\n"
    );
}

#[test]
fn a_reload_that_would_not_reach_the_new_file_is_a_restart() {
    let rule = [r#"{"match":"app","onChange":{"reload":"SIGHUP"}}"#];
    let mut world = at_one(vec![container("app", &["app.yml"])], &[("app.yml", "one")], &rule);
    // An editor renames, and the mount still shows the old inode.
    world.put("app.yml", "by hand");
    let goal = ruled(2, &[("app.yml", "two")], &rule);
    assert_eq!(
        shown(&world, &goal),
        "revision 1.2\n  change   app.yml\n  restart  app  (reads app.yml)\n  downtime app, until each is up again\n"
    );
    world.converge(&goal);
    assert!(shown(&world, &ruled(3, &[("app.yml", "three")], &rule)).contains("signal   app  SIGHUP"));
}

#[test]
fn every_way_to_take_a_change_is_the_one_that_was_declared() {
    let change = |how: &str| change_of("app/app.yml", "app", &format!("{{\"match\":\"app\",\"onChange\":{how}}}"));
    assert_eq!(change("\"none\""), "revision 1.2\n  change   app/app.yml\n");
    assert_eq!(
        change(r#"{"reload":"SIGHUP"}"#),
        "revision 1.2\n  change   app/app.yml\n  signal   app  SIGHUP  (reads app/app.yml)\n  downtime none\n"
    );
    assert_eq!(
        change(r#"{"exec":["nginx","-s","reload"]}"#),
        "revision 1.2\n  change   app/app.yml\n  exec     app  nginx -s reload  (reads app/app.yml)\n  downtime none\n"
    );
    assert_eq!(
        change("\"stop-first\""),
        "revision 1.2\n  stop     app  (until its files are in place)\n  change   app/app.yml\n  \
         start    app  (reads app/app.yml)\n  downtime app, until each is up again\n"
    );
    // Compose did not make it, so it is started again at least.
    assert_eq!(
        change("\"recreate\""),
        "revision 1.2\n  change   app/app.yml\n  restart  app  (reads app/app.yml)\n  downtime app, until each is up again\n"
    );
}

#[test]
fn the_strongest_of_all_changed_files_wins_and_a_container_is_acted_on_once() {
    let rule = [r#"{"match":"*","onChange":{"reload":"SIGHUP"}}"#];
    let mut world = at_one(vec![container("app", &["a"])], &[("a/one", "1"), ("a/two", "1")], &rule);
    let mut goal = (*ruled(2, &[("a/one", "2"), ("a/two", "2")], &rule)).clone();
    goal.files[1].on_change = Some(OnChange::StopFirst);
    let goal = verified(&goal);
    assert_eq!(
        shown(&world, &goal),
        "revision 1.2\n  stop     app  (until its files are in place)\n  change   a/one\n  change   a/two\n  \
         start    app  (reads a/one, a/two)\n  downtime app, until each is up again\n"
    );
    world.converge(&goal);
    assert_eq!(world.calls, ["stop app", "change a/one", "change a/two", "start app"]);
}

const PROJECT: &str =
    "services:\n  db:\n    image: db:1\n  web:\n    image: web:1\n    env_file: x.env\n    depends_on: [ db ]\n";

fn of_compose() -> World {
    let mut world = World::with(vec![composed("db", &["db"]), composed("web", &["web"])]);
    assert!(world.converge(&bundle(1, &[], &[("pryv.yml", PROJECT), ("x.env", "A=1")])));
    world
}

#[test]
fn only_the_service_whose_image_command_or_variables_changed_is_made_anew() {
    let world = of_compose();
    let plan = |project: &str, env: &str| shown(&world, &bundle(2, &[], &[("pryv.yml", project), ("x.env", env)]));
    assert_eq!(
        plan(PROJECT, "A=2"),
        "revision 1.2\n  change   x.env\n  recreate p_web_1  (reads x.env)\n  downtime p_web_1, until each is up again\n"
    );
    assert_eq!(
        plan(&PROJECT.replace("web:1", "web:2"), "A=1"),
        "revision 1.2\n  change   pryv.yml\n  recreate p_web_1  (reads pryv.yml)\n  downtime p_web_1, until each is up again\n"
    );
    assert_eq!(
        plan(&PROJECT.replace("db:1", "db:1\n    command: [ run ]"), "A=1"),
        "revision 1.2\n  change   pryv.yml\n  recreate p_db_1  (reads pryv.yml)\n  downtime p_db_1, until each is up again\n"
    );
    assert_eq!(plan(&format!("# A comment.\n{PROJECT}"), "A=1"), "revision 1.2\n  change   pryv.yml\n");
}

#[test]
fn services_are_made_after_what_they_depend_on() {
    let world = of_compose();
    let other = PROJECT.replace("db:1", "db:2").replace("web:1", "web:2");
    assert_eq!(
        shown(&world, &bundle(2, &[], &[("pryv.yml", &other), ("x.env", "A=1")])),
        "revision 1.2\n  change   pryv.yml\n  1. recreate p_db_1  (reads pryv.yml)\n  2. recreate p_web_1  (reads pryv.yml)\n  \
         downtime p_db_1, p_web_1, until each is up again\n"
    );
}

#[test]
fn a_declared_compose_file_is_brought_up_in_order_and_a_new_service_of_a_known_one_is_made() {
    let files = [("pryv.yml", PROJECT), ("x.env", "A=1")];
    assert_eq!(
        shown(&World::default(), &declared(1, &files)),
        "revision 1.1\n  create   pryv.yml\n  create   x.env\n  1. recreate db  (reads pryv.yml)\n  \
         2. recreate web  (reads pryv.yml)\n  downtime db, web, until each is up again\n"
    );
    assert_eq!(
        shown(&World::default(), &bundle(1, &[], &files)),
        "revision 1.1\n  create   pryv.yml\n  create   x.env\n  note     no container reads pryv.yml, x.env\n"
    );
    let more = format!("{PROJECT}  new:\n    image: new:1\n");
    let mut world = of_compose();
    let goal = bundle(2, &[], &[("pryv.yml", &more), ("x.env", "A=1")]);
    assert_eq!(
        shown(&world, &goal),
        "revision 1.2\n  change   pryv.yml\n  recreate new  (reads pryv.yml)\n  downtime new, until each is up again\n"
    );
    world.converge(&goal);
    assert!(world.container("p_new_1").is_some());
}

#[test]
fn a_service_that_left_its_compose_file_is_removed_and_all_of_them_with_the_file() {
    let world = of_compose();
    assert_eq!(
        shown(&world, &bundle(2, &[], &[("pryv.yml", "services:\n  db:\n    image: db:1\n")])),
        "revision 1.2\n  change   pryv.yml\n  remove   x.env\n  remove   p_web_1  (reads pryv.yml)\n  downtime none\n"
    );
    assert_eq!(
        shown(&world, &bundle(2, &[], &[])),
        "revision 1.2\n  remove   pryv.yml\n  remove   x.env\n  remove   p_db_1  (reads pryv.yml)\n  \
         remove   p_web_1  (reads pryv.yml)\n  downtime none\n"
    );
}

#[test]
fn a_recreation_that_was_cut_off_between_the_old_container_and_the_new_one_is_made_again() {
    let mut world = of_compose();
    let goal = bundle(2, &[], &[("pryv.yml", PROJECT), ("x.env", "A=2")]);
    // Intent, file, intent to act, and half of the action.
    world.power = Some(4);
    assert_eq!(world.arrive(&goal, Purpose::Goal), End::Cut);
    assert!(world.container("p_web_1").is_none());
    assert_eq!(
        shown(&world, &goal),
        "revision 1.2\n  recreate p_web_1  (owed for pryv.yml, x.env)\n  downtime p_web_1, until each is up again\n"
    );
}

#[test]
fn a_proxy_takes_a_change_after_its_upstream_was_made_anew() {
    let mut world = of_compose();
    world.containers.push(labelled(
        container("proxy", &[]),
        &[("upstreams", "web, db"), ("on-change", r#"{"exec":["nginx","-s","reload"]}"#)],
    ));
    world.start("proxy");
    assert_eq!(
        shown(&world, &bundle(2, &[], &[("pryv.yml", PROJECT), ("x.env", "A=2")])),
        "revision 1.2\n  change   x.env\n  1. recreate p_web_1  (reads x.env)\n  \
         2. exec     proxy  nginx -s reload  (keeps the address of web)\n  downtime p_web_1, until each is up again\n"
    );
}

#[test]
fn order_is_what_the_role_says_and_a_circle_is_told_and_goes_at_once() {
    let files = |text| [("a/one", text)];
    let three = || vec![container("x", &["a"]), container("y", &["a"]), container("z", &["a"])];
    let rules = [r#"{"match":"x","after":["y"]}"#, r#"{"match":"y","after":["z"]}"#];
    assert_eq!(
        shown(&at_one(three(), &files("one"), &rules), &ruled(2, &files("two"), &rules)),
        "revision 1.2\n  change   a/one\n  1. restart  z  (reads a/one)\n  2. restart  y  (reads a/one)\n  \
         3. restart  x  (reads a/one)\n  downtime z, y, x, until each is up again\n"
    );
    let rules = [r#"{"match":"x","after":["y"]}"#, r#"{"match":"y","after":["z"]}"#, r#"{"match":"z","after":["y"]}"#];
    assert_eq!(
        shown(&at_one(three(), &files("one"), &rules), &ruled(2, &files("two"), &rules)),
        "revision 1.2\n  change   a/one\n  1. restart  y  (reads a/one)\n  1. restart  z  (reads a/one)\n  \
         2. restart  x  (reads a/one)\n  downtime y, z, x, until each is up again\n  \
         warning  y, z wait for each other: they go at once\n"
    );
}

#[test]
fn an_application_judges_its_files_before_they_change() {
    let rule = [r#"{"match":"app","check":{"run":["nginx","-t"]},"onChange":"none"}"#];
    let world = at_one(vec![container("app", &["a"])], &[("a/one", "one")], &rule);
    assert_eq!(
        shown(&world, &ruled(2, &[("a/one", "two")], &rule)),
        "revision 1.2\n  check    app  (nginx -t)\n  change   a/one\n"
    );
}

#[test]
fn a_label_wins_over_the_role_and_one_that_is_not_understood_is_told() {
    let rule = [r#"{"match":"*","onChange":"none"}"#];
    let labels = [("on-change", r#"{"reload":"SIGUSR1"}"#), ("limit", "soon"), ("colour", "red")];
    let world = at_one(vec![labelled(container("app", &["a"]), &labels)], &[("a/one", "one")], &rule);
    assert_eq!(
        shown(&world, &ruled(2, &[("a/one", "two")], &rule)),
        "revision 1.2\n  change   a/one\n  signal   app  SIGUSR1  (reads a/one)\n  downtime none\n  \
         warning  `app` has the label `config-follower.colour=red`, which is not understood: \
         on-change, check, health, after, upstreams or limit\n  \
         warning  `app` has the label `config-follower.limit=soon`, which is not understood: a number of seconds\n"
    );
}

#[test]
fn what_died_is_started_by_the_change_that_may_mend_it() {
    let mut world = at_one(vec![container("app", &["a"])], &[("a/one", "one")], &[]);
    world.container_mut("app").state = ContainerState::Died;
    assert!(shown(&world, &bundle(2, &[], &[("a/one", "two")])).contains("  start    app  (reads a/one)\n"));
}

#[test]
fn what_we_stopped_is_started_even_when_nothing_changes_after_all() {
    let rule = [r#"{"match":"app","onChange":"stop-first"}"#];
    let mut world = at_one(vec![container("app", &["a"])], &[("a/one", "one")], &rule);
    // Intent and the stop.
    world.power = Some(2);
    world.converge(&ruled(2, &[("a/one", "two")], &rule));
    assert_eq!(world.containers[0].state, ContainerState::Stopped);
    assert!(world.plan_back(&ruled(1, &[("a/one", "one")], &rule)).unwrap().to_string().contains("start    app"));
}

#[test]
fn a_container_that_is_not_started_on_the_way_back_keeps_the_inode_that_it_shows() {
    let mut first = Bundle { files: vec![file("f", "one")], ..empty(1) };
    first.files[0].on_change = Some(OnChange::Restart);
    let first = verified(&first);
    let mut world = World::with(vec![labelled(container("proxy", &["f"]), &[("on-change", r#"{"reload":"SIGHUP"}"#)])]);
    assert!(world.converge(&first));
    // The file is rewritten in place; the signal is not sent.
    world.power = Some(2);
    world.converge(&bundle(2, &[], &[("f", "two")]));
    assert_eq!(world.calls, ["rewrite f"]);
    assert_eq!(world.plan_back(&first).unwrap().to_string(), "revision 1.1\n  rewrite  f\n");
}

#[test]
fn an_edit_by_hand_that_the_leader_wants_too_is_still_taken() {
    let mut world = at_one(vec![container("app", &["a"])], &[("a/one", "one")], &[]);
    world.put("a/one", "two");
    assert_eq!(
        shown(&world, &bundle(2, &[], &[("a/one", "two")])),
        "revision 1.2\n  restart  app  (reads a/one)\n  downtime app, until each is up again\n"
    );
}

#[test]
fn a_machine_that_matches_already_is_adopted_without_touching_anything() {
    let mut world = World::with(vec![container("app", &["a"])]);
    world.put("a/one", "one");
    let goal = bundle(1, &[], &[("a/one", "one")]);
    assert_eq!(shown(&world, &goal), "revision 1.1: nothing to do\n");
    assert!(world.converge(&goal));
    assert_eq!(world.calls, [""; 0]);
}

#[test]
fn what_broke_the_machine_is_not_taken_again_until_something_newer_comes() {
    let one = bundle(1, &[], &[("a/one", "one")]);
    let two = bundle(2, &[], &[("a/one", "two")]);
    let mut world = at_one(vec![container("app", &["a"])], &[("a/one", "one")], &[]);
    world.failing = Some("app".to_owned());
    assert_eq!(world.arrive(&two, Purpose::Goal), End::Unwell);
    world.ledger.quarantine(pconf_plan::Attempt::of(&two), "`app`: exited with code 1".to_owned());
    assert_eq!(
        world.plan_back(&one).unwrap().to_string(),
        "revision 1.1\n  change   a/one\n  start    app  (owed for a/one)\n  downtime app, until each is up again\n"
    );
    assert_eq!(world.arrive(&one, Purpose::Return), End::There);
    assert_eq!(admit(&two, &world.ledger), Ok(Admission::Quarantined));
    assert_eq!(world.ledger.settled_tag(), Some(two.tag().to_string().as_str()), "a poll costs a 304");
    let three = bundle(3, &[], &[("a/one", "three")]);
    assert_eq!(admit(&three, &world.ledger), Ok(Admission::Taken));
    assert!(world.converge(&three));
    assert_eq!(world.ledger.quarantined, None);
}

#[test]
fn what_looks_like_a_slip_waits_for_a_word() {
    let world = at_one(vec![], &[("a/one", "one"), ("a/two", "two")], &[]);
    let goal = bundle(2, &[], &[("a/one", ""), ("a/two", "two")]);
    assert_eq!(
        guard(&goal, &world.ledger, false).unwrap_err().to_string(),
        "revision 1.2 looks like a slip: `a/one` becomes empty; if it is meant, run `config-leader accept 1.2`, or on \
         this machine `config-follower once --accept`; nothing was touched"
    );
    assert_eq!(guard(&goal, &world.ledger, true), Ok(()));
}

#[test]
fn desired_on_disk_and_running_are_three_columns() {
    let mut world = at_one(
        vec![container("app", &["a"]), container("off", &["a"]), container("far", &["b"])],
        &[("a/one", "one")],
        &[],
    );
    world.stop("off", true);
    // Intent, file, intent to act: the restart is owed.
    world.power = Some(3);
    world.converge(&bundle(2, &[], &[("a/one", "two")]));
    let desired = Some(RevisionId { epoch: 1, number: 3 });
    let said: Vec<String> = world
        .ledger
        .standing(desired, &world.containers)
        .into_iter()
        .map(|each| {
            let number =
                |revision: Option<RevisionId>| revision.map_or("-".to_owned(), |revision| revision.to_string());
            let columns = [number(each.desired), number(each.on_disk), number(each.running)].join(" ");
            format!("{} {columns} {}", each.service, each.reason.unwrap_or_default())
        })
        .collect();
    assert_eq!(said, ["app 1.3 1.2 1.1 has not taken the new files yet", "off 1.3 1.2 - stopped by its operator"]);
}
