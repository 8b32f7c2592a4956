//! What else lives on a machine, and what it does to a disk, neither stops the configuration nor is harmed by it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use promises::{Machine, Platform, Program, TemplateSet, Tunnel, eventually};
use rustix::fs::{CWD, FileType, Mode};
use serde_json::json;

/// Everything below a folder as it shows without reading it: inode, size, owner, mode, and when it was changed.
type Traces = BTreeMap<PathBuf, [i64; 7]>;

fn traces(folder: &Path) -> Result<Traces> {
    let mut all = Traces::new();
    let mut open = vec![folder.to_owned()];
    while let Some(place) = open.pop() {
        let stat = fs::symlink_metadata(&place)?;
        if stat.is_dir() {
            for entry in fs::read_dir(&place)? {
                open.push(entry?.path());
            }
        }
        let (inode, size) = (stat.ino().cast_signed(), stat.size().cast_signed());
        let whose = [i64::from(stat.uid()), i64::from(stat.gid()), i64::from(stat.mode())];
        all.insert(place, [inode, size, whose[0], whose[1], whose[2], stat.ctime(), stat.ctime_nsec()]);
    }
    Ok(all)
}

/// What is in one and not, or not so, in the other.
fn differences(before: &Traces, after: &Traces) -> Vec<String> {
    let places = before.keys().chain(after.keys().filter(|place| !before.contains_key(*place)));
    let differs = |place: &&PathBuf| before.get(*place) != after.get(*place);
    places.filter(differs).map(|place| place.display().to_string()).collect()
}

/// A mount that is gone afterwards.
struct Mounted(PathBuf);

impl Mounted {
    fn new(options: &[&str], source: &Path, place: &Path) -> Result<Self> {
        fs::create_dir_all(place)?;
        Program::named("mount").args(options).arg(source).arg(place).succeed()?;
        Ok(Self(place.to_owned()))
    }

    fn change(&self, options: &str) -> Result<()> {
        Program::named("mount").args(["-o", options]).arg(&self.0).succeed().map(drop)
    }

    /// Leaves no room.
    fn fill(&self) -> Result<()> {
        let mut ballast = fs::File::create(self.0.join("ballast"))?;
        while std::io::Write::write(&mut ballast, &[0; 4096]).is_ok() {}
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("ballast"))?)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Program::named("umount").arg("--lazy").arg(&self.0).end();
    }
}

#[allow(clippy::print_stderr, reason = "a test that is left out says why")]
fn is_left_out(why: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("left out: {why} needs root");
    }
    !is_root
}

/// What the leader knows to be wrong with machine `a`, as soon as it says this.
fn reason(platform: &Platform, says: &str) -> Result<String> {
    eventually(&format!("the leader is told of `{says}`"), || {
        let report = platform.status()?["machines"]["a"]["report"].clone();
        ensure!(report["verdict"]["state"] != "running", "{report:#}");
        Ok(Some(report.to_string()).filter(|report| report.contains(says)))
    })
    .with_context(|| platform.logs())
}

/// Waits until the follower has asked for its files so many times more.
fn asks_again(line: &Tunnel, times: usize) -> Result<()> {
    let asked = || {
        let questions = line.questions().concat();
        questions.windows(10).filter(|word| word == b"GET /conf/").count()
    };
    let before = asked();
    eventually("the follower asks again", || Ok((asked() >= before + times).then_some(())))
}

#[test]
fn ten_thousand_neighbours_and_a_large_one_stay_as_they_are_and_a_cycle_without_a_change_writes_nothing() -> Result<()>
{
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    let network = platform.network();
    let line = Tunnel::open(SocketAddr::new(network.address(2).into(), 7000), platform.address())?;
    platform.configure_leader("urls", json!([format!("http://{}", line.address())]))?;
    let machine = platform.machine("a")?;
    machine.configure("leader", json!(format!("http://{}", line.address())))?;
    machine.configure("poll", json!(1))?;
    machine.plant("app/conf/first", b"")?;
    machine.plant("app/data/first", b"")?;
    for number in 0..5_000 {
        fs::write(machine.root().join(format!("app/conf/{number}.png")), b"")?;
        fs::write(machine.root().join(format!("app/data/{number}.db")), b"")?;
    }
    fs::File::create(machine.root().join("app/conf/large"))?.set_len(120_000_000)?;
    let planted = traces(&machine.root())?;
    platform.start()?;
    platform.roll_out(|platform| platform.set("/greeting", json!("changed")))?;
    // Word that its report was taken may still be on its way into the state.
    asks_again(&line, 1).with_context(|| platform.logs())?;
    let folder = platform.machine("a")?.folder().to_owned();
    let before = traces(&folder)?;
    let is_neighbour = |place: &&PathBuf| planted[*place][4] & 0o170_000 == 0o100_000;
    for place in planted.keys().filter(is_neighbour) {
        ensure!(planted.get(place) == before.get(place), "`{}` was touched", place.display());
    }

    asks_again(&line, 3).with_context(|| platform.logs())?;
    assert_eq!(differences(&before, &traces(&folder)?), Vec::<String>::new(), "{}", platform.logs());
    Ok(())
}

#[test]
fn a_file_of_another_user_becomes_what_it_was_declared_to_be() -> Result<()> {
    if is_left_out("giving files away") {
        return Ok(());
    }
    let set = TemplateSet::little().text("app/app/conf/same.txt", "the same\n");
    let mut platform = Platform::little(&set, &["a"])?;
    let machine = platform.machine("a")?;
    let (app, same) = (machine.root().join("app/conf/app.json"), machine.root().join("app/conf/same.txt"));
    machine.plant("app/conf/app.json", b"theirs\n")?;
    machine.plant("app/conf/same.txt", b"the same\n")?;
    let give_away = |place: &Path| -> Result<()> {
        fs::set_permissions(place, Permissions::from_mode(0o606))?;
        Ok(chown(place, Some(1234), Some(1234))?)
    };
    give_away(&app)?;
    give_away(&same)?;
    let is = |place: &Path| -> Result<_> {
        let stat = fs::metadata(place)?;
        Ok((stat.uid(), stat.gid(), format!("{:o}", stat.mode() & 0o7777), fs::read_to_string(place)?))
    };
    platform.start()?;
    assert_eq!(is(&app)?, (0, 0, "640".into(), "{\"greeting\":\"hello\"}\n".into()));
    assert_eq!(is(&same)?, (0, 0, "640".into(), "the same\n".into()));

    give_away(&app)?;
    give_away(&same)?;
    platform.roll_out(|platform| platform.set("/greeting", json!("changed")))?;
    assert_eq!(is(&app)?, (0, 0, "640".into(), "{\"greeting\":\"changed\"}\n".into()));
    assert_eq!(is(&same)?, (0, 0, "640".into(), "the same\n".into()));
    Ok(())
}

#[test]
fn a_root_that_is_mounted_read_only_is_said_and_the_change_comes_when_it_is_writable_again() -> Result<()> {
    if is_left_out("mounting") {
        return Ok(());
    }
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    let root = platform.machine("a")?.root();
    let mounted = Mounted::new(&["--bind"], &root, &root)?;
    platform.machine("a")?.configure("poll", json!(1))?;
    platform.start()?;
    let before = traces(&root)?;
    mounted.change("remount,bind,ro")?;
    platform.publish(|platform| platform.set("/greeting", json!("changed")))?;
    reason(&platform, "mount it read-write for this program")?;
    assert_eq!(differences(&before, &traces(&root)?), Vec::<String>::new());

    mounted.change("remount,bind,rw")?;
    platform.converged()?;
    assert_eq!(platform.machine("a")?.read("app/conf/app.json")?, "{\"greeting\":\"changed\"}\n");
    assert_eq!(differences(&before, &traces(&root)?).len(), 2, "the file and its folder alone");
    Ok(())
}

#[test]
fn where_nothing_can_be_remembered_nothing_is_begun() -> Result<()> {
    if is_left_out("mounting a small disk") {
        return Ok(());
    }
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    let state = platform.machine("a")?.folder().join("state");
    let disk = Mounted::new(&["-t", "tmpfs", "-o", "size=256k,mode=0700"], Path::new("tmpfs"), &state)?;
    platform.machine("a")?.configure("poll", json!(1))?;
    platform.start()?;
    let root = platform.machine("a")?.root();
    let before = traces(&root)?;
    disk.fill()?;
    platform.publish(|platform| platform.set("/greeting", json!("changed")))?;
    eventually("the follower says what to do", || {
        let log = platform.machine("a")?.log()?;
        Ok(log.contains("free some space").then_some(()))
    })
    .with_context(|| platform.logs())?;
    assert_eq!(differences(&before, &traces(&root)?), Vec::<String>::new());

    disk.make_room()?;
    platform.converged()?;
    assert_eq!(platform.machine("a")?.read("app/conf/app.json")?, "{\"greeting\":\"changed\"}\n");
    Ok(())
}

/// `once` refuses to write where `what` stands in the place of a file; without it, all is written.
fn is_refused(machine: &mut Machine, place: &Path, what: &str) -> Result<()> {
    let before = traces(&machine.root())?;
    let outcome = machine.command("once")?.end()?;
    ensure!(outcome.code.is_some_and(|code| code != 0), "{what}: {outcome:?}");
    let said = format!("{}{}", outcome.output, outcome.errors);
    ensure!(said.contains("app/conf/app.json") && said.contains("move it away"), "{what}: {said}");
    assert_eq!(differences(&before, &traces(&machine.root())?), Vec::<String>::new(), "{what}");
    fs::remove_file(place)?;
    Ok(())
}

#[test]
fn a_second_name_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_with_all_that_comes_with_it() -> Result<()> {
    // `another.txt` comes before it and `zebra.txt` after it: neither is written.
    let set = TemplateSet::little().text("app/app/conf/another.txt", "another\n").text("app/zebra.txt", "zebra\n");
    let mut platform = Platform::little(&set, &["a"])?;
    let theirs = platform.path("theirs.json");
    fs::write(&theirs, "not yours\n")?;
    platform.start_leader()?;
    let machine = platform.machine("a")?;
    let place = machine.root().join("app/conf/app.json");
    fs::create_dir_all(machine.root().join("app/conf"))?;
    fs::hard_link(&theirs, &place)?;
    is_refused(machine, &place, "a second name")?;
    assert_eq!((fs::read_to_string(&theirs)?, fs::metadata(&theirs)?.nlink()), ("not yours\n".to_owned(), 1));
    rustix::fs::mknodat(CWD, &place, FileType::Fifo, Mode::RUSR, 0)?;
    is_refused(machine, &place, "a pipe")?;
    if !is_left_out("making a device") {
        rustix::fs::mknodat(CWD, &place, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3))?;
        is_refused(machine, &place, "a device")?;
    }
    machine.command("once")?.succeed()?;
    let written = ["app/conf/another.txt", "app/conf/app.json", "zebra.txt"].map(|path| machine.read(path));
    let written: Vec<String> = written.into_iter().collect::<Result<_>>()?;
    assert_eq!(written, ["another\n", "{\"greeting\":\"hello\"}\n", "zebra\n"]);
    Ok(())
}
