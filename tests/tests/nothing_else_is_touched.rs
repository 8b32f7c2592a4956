//! A follower touches what it was given, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, TemplateSet, eventually, read_tree};
use serde_json::json;

#[test]
fn what_services_put_into_data_and_log_survives_ten_pushes_and_a_removal() -> Result<()> {
    let set = TemplateSet::little().text("app/app/conf/leaving.txt", "for now\n");
    let mut platform = Platform::little(&set, &["a"])?;
    platform.start()?;
    let planted =
        ["app/data/users/alice.db", "app/data/.hidden", "app/log/app.log", "app/conf/theirs.txt", "elsewhere/x"];
    let machine = platform.machine("a")?;
    for path in planted {
        machine.plant(path, path.as_bytes())?;
    }
    let before = machine.tree()?;
    for push in 0..10 {
        platform.roll_out(|platform| platform.set("/greeting", json!(format!("push {push}"))))?;
    }
    platform.roll_out(|platform| platform.write_set(&set.without("app/app/conf/leaving.txt")))?;
    let after = platform.machine("a")?.tree()?;
    for path in planted {
        ensure!(after.get(path) == before.get(path), "`{path}` was touched: {:?}", after.get(path));
    }
    let mut expected: Vec<_> = before.keys().collect();
    expected.retain(|path| *path != "app/conf/leaving.txt");
    assert_eq!(after.keys().collect::<Vec<_>>(), expected);
    Ok(())
}

#[test]
fn a_file_of_the_same_name_that_was_there_before_is_replaced_but_not_removed_with_its_folder() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.machine("a")?.plant("app/conf/app.json", b"old\n")?;
    platform.machine("a")?.plant("app/conf/other.json", b"theirs\n")?;
    platform.start()?;
    let machine = platform.machine("a")?;
    assert_eq!(machine.read("app/conf/app.json")?, "{\"greeting\":\"hello\"}\n");
    assert_eq!(machine.read("app/conf/other.json")?, "theirs\n");
    Ok(())
}

#[test]
fn files_have_the_declared_modes_and_folders_exist() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    let tree = platform.machine("a")?.tree()?;
    let modes: Vec<_> = tree.iter().map(|(path, entry)| format!("{path} {:o}", entry.mode & 0o7777)).collect();
    // Folders that lead to a file follow the process's umask; those that the role declares do not.
    ensure!(modes.contains(&"app/conf/app.json 640".to_owned()), "{modes:?}");
    ensure!(modes.contains(&"app/data 750".to_owned()), "{modes:?}");
    ensure!(modes.contains(&"app/log 750".to_owned()), "{modes:?}");
    Ok(())
}

#[test]
fn a_link_in_the_root_leads_nowhere() -> Result<()> {
    let set = TemplateSet::little();
    let mut platform = Platform::little(&set, &["a"])?;
    let outside = platform.path("outside");
    fs::create_dir_all(&outside)?;
    fs::write(outside.join("app.json"), "not yours\n")?;
    let before = read_tree(&outside)?;
    fs::create_dir_all(platform.machine("a")?.root().join("app"))?;
    // Whatever the link is: the folder on the way, or the file itself.
    symlink(&outside, platform.machine("a")?.root().join("app/conf"))?;
    platform.start_leader()?;
    let outcome = platform.machine("a")?.command("once")?.end()?;
    ensure!(outcome.code != Some(0), "it was content: {outcome:?}");
    ensure!(
        outcome.errors.contains("app/conf") || outcome.output.contains("app/conf"),
        "it does not say where: {outcome:?}"
    );
    ensure!(read_tree(&outside)? == before, "something outside was touched");

    fs::remove_file(platform.machine("a")?.root().join("app/conf"))?;
    fs::create_dir_all(platform.machine("a")?.root().join("app/conf"))?;
    symlink(outside.join("app.json"), platform.machine("a")?.root().join("app/conf/app.json"))?;
    let outcome = platform.machine("a")?.command("once")?.end()?;
    ensure!(read_tree(&outside)? == before, "something outside was touched: {outcome:?}");
    Ok(())
}

#[test]
fn a_path_that_climbs_out_of_the_root_is_refused_by_check() -> Result<()> {
    for (path, setting) in [
        ("{{ settings.greeting }}", "../../x"),
        ("{{ settings.greeting }}/y", ".."),
        ("{{ settings.greeting }}", "/etc/x"),
    ] {
        let set = TemplateSet::little().text(&format!("app/app/conf/{path}"), "x\n");
        let mut platform = Platform::little(&set, &["a"])?;
        platform.set("/greeting", json!(setting))?;
        let outcome = platform.check()?;
        assert_eq!(outcome.code, Some(2), "{path} with {setting}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn plan_tells_what_would_happen_and_touches_nothing() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start_leader()?;
    let machine = platform.machine("a")?;
    machine.plant("app/data/x", b"x")?;
    let before = machine.tree()?;
    let plan = machine.command("plan")?.succeed()?;
    ensure!(plan.contains("app/conf/app.json"), "{plan}");
    ensure!(machine.tree()? == before, "planning touched something");
    machine.command("once")?.succeed()?;
    ensure!(machine.read("app/conf/app.json")?.contains("hello"));
    Ok(())
}

#[test]
fn a_file_that_somebody_changed_is_put_right_again_where_the_operator_wants_that() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.machine("a")?.configure("poll", json!(1))?;
    platform.machine("a")?.configure("drift", json!("repair"))?;
    platform.start()?;
    let machine = platform.machine("a")?;
    let path = machine.root().join("app/conf/app.json");
    fs::write(&path, "{}\n")?;
    eventually("the file is as it was published", || Ok((fs::read_to_string(&path)?.contains("hello")).then_some(())))
        .with_context(|| platform.logs())
}
