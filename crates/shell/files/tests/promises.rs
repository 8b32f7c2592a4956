//! What the files crate promises, on real folders.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]
#![allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use pconf_files::{Found, Obstacle, Root, StateFolder, read_state, rewrite, write_state};
use pconf_names::{Mode, Owner, RelativePath};
use rustix::thread::CapabilitySet;

type Promise = Result<(), Box<dyn Error>>;

fn path(text: &str) -> RelativePath {
    text.parse().unwrap()
}

fn mode(text: &str) -> Mode {
    text.parse().unwrap()
}

/// Whoever runs the tests: root in most places, which is then allowed to give files away.
fn me(folder: &Path) -> Owner {
    let stat = fs::metadata(folder).unwrap();
    Owner { uid: stat.uid(), gid: stat.gid() }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn chain(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[test]
fn a_file_is_replaced_whole_with_owner_and_mode_and_without_a_trace() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    let owner = me(folder.path());
    root.write(&path("core.json"), b"old", owner, mode("0600"))?;
    let old = fs::File::open(folder.path().join("core.json"))?;
    let given = if owner.uid == 0 { Owner { uid: 9999, gid: 9998 } } else { owner };
    root.write(&path("core.json"), b"new", given, mode("0640"))?;

    assert_eq!(fs::read(folder.path().join("core.json"))?, b"new");
    let stat = fs::metadata(folder.path().join("core.json"))?;
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (given.uid, given.gid, 0o640));
    assert_eq!(std::io::read_to_string(old)?, "old", "who has the old file open reads the old bytes");
    assert_eq!(names(folder.path()), ["core.json"]);
    Ok(())
}

#[test]
fn a_symbolic_link_on_the_way_gets_nothing_written_outside() -> Promise {
    let (outside, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs::write(outside.path().join("passwd"), "mine")?;
    symlink(outside.path(), folder.path().join("conf"))?;
    symlink(outside.path().join("passwd"), folder.path().join("link"))?;
    let root = Root::open(folder.path())?;
    let owner = me(folder.path());

    assert!(root.write(&path("conf/passwd"), b"theirs", owner, mode("0644")).is_err());
    assert!(root.make_folder(&path("conf/deep"), owner, mode("0755")).is_err());
    assert!(root.remove(&path("conf/passwd")).is_err());
    assert!(root.set_permission(&path("link"), owner, mode("0777")).is_err());
    assert!(root.read(&path("link"), 100).is_err());
    let at_link = Found::Obstacle { at: path("conf"), what: Obstacle::SymbolicLink };
    assert_eq!(root.look(&path("conf/passwd"))?, at_link);
    assert_eq!(names(outside.path()), ["passwd"]);
    assert_eq!(fs::read_to_string(outside.path().join("passwd"))?, "mine");
    Ok(())
}

#[test]
fn what_is_no_ordinary_file_is_named() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    fs::write(folder.path().join("one"), "x")?;
    fs::hard_link(folder.path().join("one"), folder.path().join("two"))?;
    fs::create_dir(folder.path().join("folder"))?;
    fs::write(folder.path().join("plain"), "x")?;
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket"))?;

    assert_eq!(root.look(&path("missing/deeper"))?, Found::Nothing);
    assert_eq!(root.look(&path("folder"))?, Found::Folder);
    assert_eq!(root.look(&path("two"))?, Found::Obstacle { at: path("two"), what: Obstacle::HardLink });
    assert_eq!(root.look(&path("socket"))?, Found::Obstacle { at: path("socket"), what: Obstacle::Special });
    assert_eq!(root.look(&path("plain/deeper"))?, Found::Obstacle { at: path("plain"), what: Obstacle::File });
    assert!(matches!(root.look(&path("plain"))?, Found::File(file) if file.size == 1));
    Ok(())
}

#[test]
fn folders_are_made_once_and_never_changed() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    let owner = me(folder.path());
    let made = root.make_folder(&path("core/data/files"), owner, mode("0750"))?;
    assert_eq!(made, [path("core"), path("core/data"), path("core/data/files")]);
    let bits = |name: &str| fs::metadata(folder.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((bits("core/data"), bits("core/data/files")), (0o755, 0o750));

    fs::set_permissions(folder.path().join("core/data/files"), fs::Permissions::from_mode(0o700))?;
    assert_eq!(root.make_folder(&path("core/data/files"), owner, mode("0750"))?, []);
    assert_eq!(bits("core/data/files"), 0o700);
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_given_to_its_owner_is_not_made() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    // Of this thread alone: not even root may give files away without it.
    let mut may = rustix::thread::capabilities(None)?;
    may.effective.remove(CapabilitySet::CHOWN);
    rustix::thread::set_capabilities(None, may)?;
    let error = root.make_folder(&path("data"), Owner { uid: 9999, gid: 9999 }, mode("0750")).unwrap_err();
    assert_eq!(error.kind(), Some(std::io::ErrorKind::PermissionDenied));
    assert_eq!(names(folder.path()), Vec::<String>::new());
    Ok(())
}

#[test]
fn only_empty_folders_and_single_files_are_removed() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    fs::create_dir_all(folder.path().join("a/b"))?;
    fs::write(folder.path().join("a/b/theirs"), "x")?;
    assert!(!root.remove_empty_folder(&path("a/b"))?);
    assert!(root.remove(&path("a/b")).is_err(), "a folder is no file");
    assert!(root.remove(&path("a/b/theirs"))?);
    assert!(!root.remove(&path("a/b/theirs"))?);
    assert!(root.remove_empty_folder(&path("a/b"))?);
    assert!(!root.remove_empty_folder(&path("a/b"))?);
    Ok(())
}

#[test]
fn drafts_that_a_crash_left_are_cleaned_up_and_nothing_else() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    fs::create_dir(folder.path().join("conf"))?;
    for name in [".pconf-draft-1-0", "conf/.pconf-draft-77-3", "conf/.hidden", "conf/pconf-draft-1"] {
        fs::write(folder.path().join(name), "half")?;
    }
    fs::create_dir(folder.path().join(".pconf-draft-1-1"))?;
    fs::create_dir_all(folder.path().join(".pconf-draft-theirs/deep"))?;
    assert_eq!(root.clean_drafts(None)?, 2);
    assert_eq!(root.clean_drafts(Some(&path("conf")))?, 1);
    assert_eq!(root.clean_drafts(Some(&path("gone")))?, 0);
    assert_eq!(names(&folder.path().join("conf")), [".hidden", "pconf-draft-1"]);
    Ok(())
}

#[test]
fn state_is_private_and_has_one_process_at_a_time() -> Promise {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("deep/state");
    let state = StateFolder::open(&place)?;
    state.write("ledger.json", b"{}")?;
    assert_eq!(state.read("ledger.json")?.as_deref(), Some(b"{}".as_slice()));
    assert_eq!(state.read("missing")?, None);
    assert_eq!(fs::metadata(&place)?.mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(place.join("ledger.json"))?.mode() & 0o7777, 0o600);

    let second = StateFolder::open(&place).unwrap_err().to_string();
    assert!(second.ends_with("is in use by another process: one at a time may work in it; end that one first"));
    drop(state);
    StateFolder::open(&place)?;
    Ok(())
}

#[test]
fn state_files_are_listed_and_removed() -> Promise {
    let folder = tempfile::tempdir()?;
    let state = StateFolder::open(folder.path())?;
    state.write("ledger.json", b"{}")?;
    state.note("status.json", b"{}")?;
    state.write("bundle-1.7.sealed", b"sealed")?;
    let _control = std::os::unix::net::UnixListener::bind(state.file("control"))?;
    assert_eq!(state.names()?, ["bundle-1.7.sealed", "ledger.json", "status.json"]);
    assert!(state.remove("bundle-1.7.sealed")?);
    assert!(!state.remove("bundle-1.7.sealed")?);
    assert_eq!(state.names()?, ["ledger.json", "status.json"]);
    Ok(())
}

#[test]
fn state_that_others_could_see_or_redirect_is_refused() -> Promise {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("state");
    let permit = |bits| fs::set_permissions(&place, fs::Permissions::from_mode(bits));
    fs::create_dir(&place)?;
    permit(0o755)?;
    StateFolder::open(&place)?.write("ledger.json", b"{}")?;
    assert_eq!(fs::metadata(&place)?.mode() & 0o7777, 0o700, "an empty one is closed");

    let shown = place.display();
    permit(0o750)?;
    let expected = format!("the folder `{shown}` is private but has mode 0750: run `chmod 700 {shown}`");
    assert_eq!(chain(&StateFolder::open(&place).unwrap_err()), expected);
    permit(0o700)?;
    fs::write(folder.path().join("elsewhere"), "{}")?;
    fs::remove_file(place.join("ledger.json"))?;
    symlink(folder.path().join("elsewhere"), place.join("ledger.json"))?;
    let expected = format!("`{shown}/ledger.json` is a symbolic link: move it away; nothing was written");
    assert_eq!(chain(&StateFolder::open(&place).unwrap_err()), expected);
    assert_eq!(chain(&read_state(&place.join("ledger.json")).unwrap_err()), expected);
    fs::remove_file(place.join("ledger.json"))?;
    StateFolder::open(&place)?;
    Ok(())
}

#[test]
fn a_staged_tree_is_as_it_will_land_and_leaves_nothing_behind() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    fs::create_dir(folder.path().join("nginx"))?;
    let owner = me(folder.path());
    let theirs = if owner.uid == 0 { Owner { uid: 9999, gid: 9998 } } else { owner };
    let files: [(RelativePath, &[u8], Owner, Mode); 2] = [
        (path("conf/site.conf"), b"server {}", owner, mode("0644")),
        (path("conf/keys/tls.key"), b"hidden", theirs, mode("0400")),
    ];
    let staged = root.stage("nginx", &files)?;
    let inside = root.stage_in(Some(&path("nginx")), "nginx", &files[..1])?;
    assert!(staged.path().as_str().starts_with(".pconf-draft-nginx-"));
    assert!(inside.path().as_str().starts_with("nginx/.pconf-draft-nginx-"));

    let top = folder.path().join(staged.path().as_str());
    let bits = |name: &str| fs::metadata(top.join(name)).unwrap().mode() & 0o7777;
    assert_eq!([bits(""), bits("conf"), bits("conf/keys")], [0o711, 0o755, 0o755]);
    assert_eq!([bits("conf/site.conf"), bits("conf/keys/tls.key")], [0o644, 0o400]);
    let key = fs::metadata(top.join("conf/keys/tls.key"))?;
    assert_eq!((key.uid(), key.gid()), (theirs.uid, theirs.gid));
    assert_eq!(fs::read(top.join("conf/site.conf"))?, b"server {}");
    drop((staged, inside));
    assert_eq!((names(folder.path()), names(&folder.path().join("nginx"))), (vec!["nginx".into()], vec![]));

    let twice = [(path("a"), &b""[..], owner, mode("0644")), (path("a/b"), &b""[..], owner, mode("0644"))];
    assert!(root.stage("nginx", &twice).is_err());
    assert_eq!(names(folder.path()), ["nginx"], "a failure leaves nothing behind either");
    Ok(())
}

#[test]
fn a_staged_tree_that_a_crash_left_is_removed_and_what_it_points_to_is_not() -> Promise {
    let folder = tempfile::tempdir()?;
    let root = Root::open(folder.path())?;
    let owner = me(folder.path());
    fs::create_dir(folder.path().join("theirs"))?;
    fs::write(folder.path().join("theirs/data"), "mine")?;
    let staged = root.stage("core", &[(path("conf/deep/core.yml"), b"x", owner, mode("0400"))])?;
    symlink(folder.path().join("theirs"), folder.path().join(staged.path().as_str()).join("conf/link"))?;
    std::mem::forget(staged);
    if owner.uid == 0 {
        // A container that makes such a folder keeps it.
        fs::create_dir_all(folder.path().join(".pconf-draft-core-7-7/deep"))?;
        std::os::unix::fs::chown(folder.path().join(".pconf-draft-core-7-7"), Some(1234), None)?;
    }
    assert_eq!(root.clean_drafts(None)?, 1);
    let kept: &[&str] = if owner.uid == 0 { &[".pconf-draft-core-7-7", "theirs"] } else { &["theirs"] };
    assert_eq!((names(folder.path()), names(&folder.path().join("theirs"))), (strings(kept), strings(&["data"])));
    Ok(())
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn rewriting_keeps_owner_and_mode() -> Promise {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("platform.json");
    fs::write(&place, "{}")?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o644))?;
    rewrite(&place, b"{ }")?;
    assert_eq!((fs::read(&place)?, fs::metadata(&place)?.mode() & 0o7777), (b"{ }".to_vec(), 0o644));
    Ok(())
}

#[test]
fn a_full_disk_leaves_the_old_file_whole_and_says_what_to_do() -> Promise {
    let folder = tempfile::tempdir()?;
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status()?;
    if !mounted.success() {
        eprintln_skipped("mounting a small tmpfs needs root");
        return Ok(());
    }
    let outcome = fill_the_disk(folder.path());
    std::process::Command::new("umount").arg(folder.path()).status()?;
    outcome
}

fn fill_the_disk(folder: &Path) -> Promise {
    let root = Root::open(folder)?;
    let owner = me(folder);
    root.write(&path("core.json"), b"good", owner, mode("0640"))?;
    let error = root.write(&path("core.json"), &vec![b'x'; 200_000], owner, mode("0640")).unwrap_err();
    let place = folder.join("core.json");
    let expected = format!(
        "cannot write `{}` (free some space; what was there before is whole): No space left on device (os error 28)",
        place.display()
    );
    assert_eq!(chain(&error), expected);
    let error = write_state(&folder.join("state/ledger.json"), &vec![b'x'; 200_000]).unwrap_err();
    assert_eq!(error.kind(), Some(std::io::ErrorKind::StorageFull));
    assert_eq!(fs::read(&place)?, b"good");
    assert_eq!(names(folder), ["core.json", "state"]);
    assert_eq!(names(&folder.join("state")), Vec::<String>::new());
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn eprintln_skipped(why: &str) {
    eprintln!("skipped: {why}");
}
