//! What holds on a machine where containers, other users and the disk itself do their worst.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]
#![allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pconf_files::{Found, Root};
use pconf_names::{Mode, Owner, RelativePath};
use rustix::fs::{CWD, FileType, RenameFlags, Timespec, Timestamps};

type Promise = Result<(), Box<dyn Error>>;

fn path(text: &str) -> RelativePath {
    text.parse().unwrap()
}

fn mode(text: &str) -> Mode {
    text.parse().unwrap()
}

fn me() -> Owner {
    Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

fn is_root() -> bool {
    me().uid == 0
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

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// A mount that ends with the test.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this process may not mount.
    fn new(options: &[&str], source: &Path, at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        let done = mount.args(options).arg(source).arg(at).stderr(Stdio::null()).status().unwrap().success();
        done.then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_folder_that_is_swapped_for_a_link_all_the_time_gets_nothing_written_outside() -> Promise {
    let (outside, inside) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs::write(outside.path().join("core.json"), "mine")?;
    fs::set_permissions(outside.path().join("core.json"), fs::Permissions::from_mode(0o600))?;
    fs::create_dir(outside.path().join("empty"))?;
    fs::create_dir(inside.path().join("conf"))?;
    fs::write(inside.path().join("conf/core.json"), "old")?;
    symlink(outside.path(), inside.path().join("swap"))?;
    let root = Root::open(inside.path())?;
    let is_over = AtomicBool::new(false);
    let (mut done, mut refused) = (0, 0);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (real, link) = (inside.path().join("conf"), inside.path().join("swap"));
            while !is_over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let until = Instant::now() + Duration::from_secs(20);
        while (done < 500 || refused < 500) && Instant::now() < until {
            let outcomes = [
                root.write(&path("conf/core.json"), b"theirs", me(), mode("0644")),
                root.rewrite(&path("conf/core.json"), b"theirs too", me(), mode("0644")),
                root.set_permission(&path("conf/core.json"), me(), mode("0640")),
                root.make_folder(&path("conf/deep/deeper"), me(), mode("0755")).map(drop),
                root.stage_in(Some(&path("conf")), "x", &[(path("a/b"), b"b", me(), mode("0644"))]).map(drop),
                root.remove_empty_folder(&path("conf/empty")).map(drop),
                root.remove(&path("conf/gone")).map(drop),
                root.clean_drafts(Some(&path("conf"))).map(drop),
                root.read(&path("conf/core.json"), 100).map(|bytes| assert_ne!(bytes.as_deref(), Some(&b"mine"[..]))),
            ];
            done += outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            refused += outcomes.iter().filter(|outcome| outcome.is_err()).count();
        }
        is_over.store(true, Ordering::Relaxed);
    });

    assert!(done >= 500 && refused >= 500, "both sides of the race were seen: {done} done, {refused} refused");
    assert_eq!(names(outside.path()), ["core.json", "empty"]);
    let stat = fs::metadata(outside.path().join("core.json"))?;
    assert_eq!((fs::read_to_string(outside.path().join("core.json"))?, stat.mode() & 0o777), ("mine".into(), 0o600));
    Ok(())
}

#[test]
fn what_is_no_ordinary_file_with_one_name_is_never_written_to() -> Promise {
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name);
    fs::write(place("theirs"), "mine")?;
    fs::hard_link(place("theirs"), place("hard"))?;
    symlink("theirs", place("soft"))?;
    fs::create_dir(place("folder"))?;
    let mut cases = vec![
        ("hard", "a file with a second name (hard link)"),
        ("soft", "a symbolic link"),
        ("pipe", "a device, a pipe or a socket"),
    ];
    rustix::fs::mknodat(CWD, place("pipe"), FileType::Fifo, rustix::fs::Mode::RUSR, 0)?;
    match rustix::fs::mknodat(CWD, place("device"), FileType::CharacterDevice, rustix::fs::Mode::RUSR, 0x0103) {
        Ok(()) => cases.push(("device", "a device, a pipe or a socket")),
        Err(_) => skipped("making a device needs root"),
    }
    let root = Root::open(folder.path())?;

    for (name, what) in cases {
        let expected = format!("`{}` is {what}: move it away; nothing was written", place(name).display());
        let at = path(name);
        for outcome in [
            root.write(&at, b"theirs", me(), mode("0777")),
            root.rewrite(&at, b"theirs", me(), mode("0777")),
            root.set_permission(&at, me(), mode("0777")),
        ] {
            assert_eq!(chain(&outcome.unwrap_err()), expected);
        }
    }
    assert!(root.write(&path("folder"), b"", me(), mode("0777")).is_err());
    assert!(root.rewrite(&path("folder"), b"", me(), mode("0777")).is_err());
    assert!(root.set_permission(&path("folder"), me(), mode("0777")).is_err());
    assert!(root.rewrite(&path("missing"), b"", me(), mode("0777")).is_err());
    assert_eq!(fs::read_to_string(place("theirs"))?, "mine");
    assert_ne!(fs::metadata(place("theirs"))?.mode() & 0o777, 0o777);
    assert!(fs::symlink_metadata(place("pipe"))?.file_type().is_fifo());
    assert!(names(folder.path()).iter().all(|name| !name.starts_with(".pconf-")));
    Ok(())
}

#[test]
fn a_rewritten_file_stays_the_same_file_and_holds_the_new_bytes_alone() -> Promise {
    let folder = tempfile::tempdir()?;
    let (root, at, place) = (Root::open(folder.path())?, path("x.conf"), folder.path().join("x.conf"));
    root.write(&at, b"a line of text", me(), mode("0644"))?;
    let inode = fs::metadata(&place)?.ino();
    let mounted = fs::File::open(&place)?;
    for (bytes, bits) in [("longer than the line before it", "0600"), ("short", "0640"), ("", "0444"), ("end", "0644")]
    {
        root.rewrite(&at, bytes.as_bytes(), me(), mode(bits))?;
        let stat = fs::metadata(&place)?;
        assert_eq!((stat.ino(), stat.mode() & 0o7777), (inode, mode(bits).bits()));
        assert_eq!(fs::read_to_string(&place)?, bytes);
    }
    assert_eq!(std::io::read_to_string(mounted)?, "end", "who holds the old file sees the new bytes");
    assert_eq!(names(folder.path()), ["x.conf"]);
    Ok(())
}

/// Writes what does not fit, both ways: nothing has changed.
fn write_too_much(folder: &Path, reason: &str) -> Promise {
    let root = Root::open(folder)?;
    let (at, large) = (path("core.json"), vec![b'x'; 200_000]);
    let place = folder.join("core.json");
    root.write(&at, b"good", me(), mode("0640"))?;
    let (inode, blocks) = (fs::metadata(&place)?.ino(), fs::metadata(&place)?.blocks());
    for outcome in [root.write(&at, &large, me(), mode("0640")), root.rewrite(&at, &large, me(), mode("0640"))] {
        let said = chain(&outcome.unwrap_err());
        assert!(said.ends_with(reason), "{said}");
        assert_eq!(fs::read(&place)?, b"good");
        assert_eq!((fs::metadata(&place)?.ino(), fs::metadata(&place)?.blocks()), (inode, blocks));
        assert_eq!(names(folder), ["core.json"]);
    }
    assert!(root.stage("core", &[(path("a/core.json"), &large, me(), mode("0640"))]).is_err());
    assert_eq!(names(folder), ["core.json"]);
    root.rewrite(&at, b"fits", me(), mode("0640"))?;
    assert_eq!(fs::read(&place)?, b"fits");
    Ok(())
}

#[test]
fn a_full_disk_changes_nothing() -> Promise {
    let folder = tempfile::tempdir()?;
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=64k"], Path::new("tmpfs"), folder.path()) else {
        skipped("mounting a small tmpfs needs root; a limit on the size of files is tried instead");
        return Ok(());
    };
    write_too_much(
        folder.path(),
        "(free some space; what was there before is whole): No space left on device (os error 28)",
    )
}

/// Run again by the next test, within limits.
#[test]
fn within_limits() -> Promise {
    match std::env::var_os("PCONF_TEST_LIMITED") {
        Some(folder) => write_too_much(Path::new(&folder), "File too large (os error 27)"),
        None => Ok(()),
    }
}

#[test]
fn a_limit_on_the_size_of_files_changes_nothing() -> Promise {
    let folder = tempfile::tempdir()?;
    // 64 KiB for a file; without the trap the system would end the process, as it says of such limits.
    let limited = r#"trap "" XFSZ; ulimit -f 128; exec "$0" --exact within_limits --nocapture"#;
    let mut child = Command::new("sh");
    child.args(["-c", limited]).arg(std::env::current_exe()?).env("PCONF_TEST_LIMITED", folder.path());
    let outcome = child.output()?;
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert_eq!(names(folder.path()), ["core.json"]);
    Ok(())
}

#[test]
fn a_file_of_another_user_is_put_right() -> Promise {
    if !is_root() {
        skipped("giving files away needs root");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (root, place) = (Root::open(folder.path())?, folder.path().join("core.json"));
    let given = Owner { uid: 9999, gid: 9998 };
    let at = path("core.json");
    let ways: [&dyn Fn() -> Result<(), pconf_files::FilesError>; 3] = [
        &|| root.write(&at, b"theirs", given, mode("0640")),
        &|| root.rewrite(&at, b"theirs", given, mode("0640")),
        &|| root.set_permission(&at, given, mode("0640")),
    ];
    for way in ways {
        fs::write(&place, "theirs")?;
        chown(&place, Some(1234), Some(1234))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o606))?;
        way()?;
        let stat = fs::metadata(&place)?;
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (9999, 9998, 0o640));
        assert_eq!(fs::read_to_string(&place)?, "theirs");
    }
    Ok(())
}

#[test]
fn a_read_only_mount_is_said_and_nothing_is_left_half() -> Promise {
    let folder = tempfile::tempdir()?;
    let Some(_mounted) = Mounted::new(&["--bind"], folder.path(), folder.path()) else {
        skipped("mounting needs root");
        return Ok(());
    };
    let root = Root::open(folder.path())?;
    root.write(&path("core.json"), b"old", me(), mode("0640"))?;
    drop(root);
    let remount = |options: &str| Command::new("mount").args(["-o", options]).arg(folder.path()).status();
    assert!(remount("remount,bind,ro")?.success());
    let root = Root::open(folder.path())?;
    let at = path("core.json");
    let outcomes = [
        ("write", root.write(&at, b"new", me(), mode("0640"))),
        ("rewrite", root.rewrite(&at, b"new", me(), mode("0640"))),
        ("set owner and mode of", root.set_permission(&at, me(), mode("0600"))),
        ("remove", root.remove(&at).map(drop)),
    ];
    for (action, outcome) in outcomes {
        let place = folder.path().join("core.json");
        let way_out = "(mount it read-write for this program): Read-only file system (os error 30)";
        assert_eq!(chain(&outcome.unwrap_err()), format!("cannot {action} `{}` {way_out}", place.display()));
    }
    assert!(root.stage("core", &[]).is_err());
    assert_eq!(
        (fs::read(folder.path().join("core.json"))?, names(folder.path())),
        (b"old".into(), vec!["core.json".into()])
    );

    assert!(remount("remount,bind,rw")?.success());
    Root::open(folder.path())?.rewrite(&at, b"new", me(), mode("0640"))?;
    assert_eq!(fs::read(folder.path().join("core.json"))?, b"new");
    Ok(())
}

#[test]
fn ten_thousand_neighbours_are_not_listed_and_a_large_one_is_not_read() -> Promise {
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("conf");
    fs::create_dir(&conf)?;
    for number in 0..10_000 {
        fs::File::create(conf.join(format!("{number}.png")))?;
    }
    fs::File::create(conf.join("large"))?.set_len(120_000_000)?;
    let root = Root::open(folder.path())?;
    let at = path("conf/core.json");
    root.write(&at, b"old", me(), mode("0640"))?;

    // A listing or a reading shows in the time of access; where that is not kept, nothing can be seen.
    let long_ago = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
    let forget = |place: &Path| -> Promise {
        let node = fs::File::open(place)?;
        let modified = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        rustix::fs::futimens(&node, &Timestamps { last_access: long_ago, last_modification: modified })?;
        Ok(())
    };
    forget(&conf)?;
    forget(&conf.join("large"))?;
    root.write(&at, b"new", me(), mode("0640"))?;
    root.rewrite(&at, b"newer", me(), mode("0640"))?;
    root.set_permission(&at, me(), mode("0600"))?;
    assert!(matches!(root.look(&at)?, Found::File(file) if file.size == 5));
    assert_eq!(root.read(&at, 5)?.as_deref(), Some(&b"newer"[..]));
    drop(root.stage_in(Some(&path("conf")), "core", &[(path("core.json"), b"new", me(), mode("0600"))])?);
    root.make_folder(&path("conf/deep/deeper"), me(), mode("0755"))?;

    assert_eq!(fs::metadata(&conf)?.atime(), long_ago.tv_sec, "the folder was listed");
    assert_eq!(fs::metadata(conf.join("large"))?.atime(), long_ago.tv_sec);
    assert_eq!(
        root.read(&path("conf/large"), 1000)?,
        None,
        "what is larger than anything of ours is not read to its end"
    );
    assert_eq!(names(&conf).len(), 10_003);
    if fs::metadata(&conf)?.atime() == long_ago.tv_sec {
        skipped("this file system keeps no time of access");
    }
    Ok(())
}

#[test]
fn all_of_this_holds_where_the_kernel_does_not_know_openat2() -> Promise {
    if std::env::var_os("PCONF_NO_OPENAT2").is_some() {
        return Ok(());
    }
    let outcome = Command::new(std::env::current_exe()?).env("PCONF_NO_OPENAT2", "1").output()?;
    let said = [outcome.stdout, outcome.stderr].concat();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}
