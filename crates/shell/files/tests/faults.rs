//! A program that is stopped before any one of its effects, or told that one cannot be done, leaves every file whole, and
//! the next run of the same work comes to the same end. The effects are counted by the crate itself: one that is added
//! later is tried here from the first day.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]
#![allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use pconf_files::{FilesError, Root, StateFolder, create_state, rewrite};
use pconf_names::{Mode, Owner, RelativePath};

type Promise = Result<(), Box<dyn Error>>;

fn path(text: &str) -> RelativePath {
    text.parse().unwrap()
}

fn mode(text: &str) -> Mode {
    text.parse().unwrap()
}

/// All that the crate can do, once each.
fn work(folder: &Path) -> Result<(), FilesError> {
    let owner = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let given = if owner.uid == 0 { Owner { uid: 9999, gid: 9998 } } else { owner };
    let state = StateFolder::open(&folder.join("state"))?;
    state.write("ledger.json", b"new ledger")?;
    state.note("status.json", b"new status")?;
    let above = Root::open(folder)?;
    above.clean_drafts(None)?;
    above.clean_drafts(Some(&path("keys")))?;
    let root = Root::create(&folder.join("var/root"))?;
    root.clean_drafts(None)?;
    for folder in ["conf", "data", "data/deep"] {
        root.clean_drafts(Some(&path(folder)))?;
    }
    drop(root.stage("try", &[(path("conf/core.yml"), b"new core", given, mode("0640"))])?);
    root.make_folder(&path("data/deep"), given, mode("0750"))?;
    root.write(&path("conf/core.yml"), b"new core", given, mode("0640"))?;
    root.write(&path("data/deep/added"), b"new added", owner, mode("0600"))?;
    root.rewrite(&path("conf/mounted"), b"new mounted, which grew", given, mode("0644"))?;
    root.rewrite(&path("conf/shrunk"), b"new", owner, mode("0644"))?;
    root.set_permission(&path("conf/permitted"), given, mode("0600"))?;
    root.remove(&path("old/removed"))?;
    root.remove_empty_folder(&path("old"))?;
    rewrite(&folder.join("platform.json"), b"new platform")?;
    create_state(&folder.join("keys/co1"), b"new key")?;
    state.remove("bundle-1.6.sealed")?;
    Ok(())
}

/// The machine before the work.
fn prepare(folder: &Path) {
    for made in ["state", "var/root/conf", "var/root/old"] {
        fs::create_dir_all(folder.join(made)).unwrap();
    }
    fs::set_permissions(folder.join("state"), fs::Permissions::from_mode(0o700)).unwrap();
    for (name, content) in [
        ("state/ledger.json", "old ledger"),
        ("state/status.json", "old status"),
        ("state/bundle-1.6.sealed", "old bundle"),
        ("var/root/conf/core.yml", "old core"),
        ("var/root/conf/mounted", "old mounted"),
        ("var/root/conf/shrunk", "old shrunk"),
        ("var/root/conf/permitted", "permitted"),
        ("var/root/old/removed", "old removed"),
        ("platform.json", "old platform"),
    ] {
        fs::write(folder.join(name), content).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Every name with owner, mode and content.
fn tree(folder: &Path) -> BTreeMap<String, (u32, u32, String)> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let place = entry.unwrap().path();
            let stat = fs::symlink_metadata(&place).unwrap();
            let content = if stat.is_dir() { String::new() } else { fs::read_to_string(&place).unwrap() };
            let name = place.strip_prefix(folder).unwrap().display().to_string();
            all.insert(name, (stat.uid(), stat.mode() & 0o7777, content));
            if stat.is_dir() {
                open.push(place);
            }
        }
    }
    all
}

/// Run by the tests below in a process of its own.
#[test]
fn the_work() -> Promise {
    match std::env::var_os("PCONF_TEST_WORK") {
        Some(folder) => Ok(work(Path::new(&folder))?),
        None => Ok(()),
    }
}

fn do_the_work(folder: &Path, variable: &str, value: &str) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_work"]).env("PCONF_TEST_WORK", folder).env(variable, value);
    child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

#[test]
fn the_work_that_fails_at_any_one_effect_leaves_all_whole_and_is_done_by_the_next_run() -> Promise {
    // In memory where there is such a place: what is tried here does not depend on the disk, and syncs a thousand times.
    let memory = Path::new("/dev/shm");
    let all = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let reference = all.path().join("reference");
    prepare(&reference);
    let before = tree(&reference);
    let log = all.path().join("log");
    assert!(do_the_work(&reference, "PCONF_FAULT_LOG", log.to_str().unwrap()).success());
    let after = tree(&reference);
    let effects = fs::read_to_string(&log)?;
    let count = effects.lines().count();
    assert!(count > 60, "{effects}");

    for number in 1..=count {
        for fault in ["abort", "ENOSPC", "EIO", "EACCES"] {
            let place = all.path().join(format!("{number}-{fault}"));
            prepare(&place);
            let told = do_the_work(&place, "PCONF_FAULT", &format!("{number}:{fault}"));
            let case = format!("{fault} at {:?}", effects.lines().nth(number - 1));
            judge(&tree(&place), &before, &after, fault == "abort", &case);
            if told.success() {
                // What could not be cleaned up is not worth an error: the next run does it.
                let mut now = tree(&place);
                now.retain(|name, _| !name.contains(".pconf-draft-"));
                assert_eq!(now, after, "{case}: was kept quiet");
            }
            assert!(do_the_work(&place, "PCONF_TEST_PLAIN", "").success(), "{case}: the next run fails");
            assert_eq!(tree(&place), after, "{case}: the next run ends elsewhere");
            fs::remove_dir_all(&place)?;
        }
    }
    Ok(())
}

type Tree = BTreeMap<String, (u32, u32, String)>;

/// After a failure: each file is as before or as after. Only one that is rewritten in place may be a mixture.
fn judge(now: &Tree, before: &Tree, after: &Tree, crashed: bool, case: &str) {
    for (name, (_, _, content)) in now {
        if name.contains(".pconf-draft-") {
            // One that fails cleans up after itself, unless it is just that which fails.
            assert!(crashed || case.contains("unlink") || case.contains("rmdir"), "{case}: `{name}` stayed");
            continue;
        }
        if name.ends_with("/mounted") || name.ends_with("/shrunk") {
            assert!(!case.contains("fallocate") || content.starts_with("old") || after[name].2 == *content, "{case}");
            continue;
        }
        let known = [before.get(name), after.get(name)].into_iter().flatten().any(|(_, _, known)| known == content);
        assert!(known, "{case}: `{name}` holds {content:?}");
    }
    for name in before.keys().filter(|name| after.contains_key(*name)) {
        assert!(now.contains_key(name), "{case}: `{name}` is gone");
    }
}
