//! The contract with a real Docker engine. Skipped, saying so, only where none answers or there is no static busybox.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a failed expectation is a failed test; a skip says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pconf_containers::{Containers as _, Docker, Restarted, State, Summary, restart};

const SOCKET: &str = "/var/run/docker.sock";

/// A program that ends at once when it is told to, and with code 7 when its configuration is bad.
const PROGRAM: &str = "test \"$(cat /conf/app.conf)\" != bad || exit 7; trap 'exit 0' TERM; sleep 1000 & wait";

/// An image and containers of one test, removed when it ends.
struct Bench {
    image: String,
    folder: tempfile::TempDir,
    containers: Vec<String>,
}

impl Bench {
    /// A bench with an image of busybox and a folder with `app.conf`.
    fn new(test: &str) -> Option<Self> {
        let answers = Command::new("docker").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !answers.is_ok_and(|status| status.success()) {
            eprintln!("skipped {test}: no Docker engine answers");
            return None;
        }
        let places = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
        let Some(busybox) = places.into_iter().find(|path| path.exists()) else {
            eprintln!("skipped {test}: busybox-static is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let image = format!("pconf-containers-test:{test}-{}", std::process::id());
        fs::create_dir_all(folder.path().join("image/bin")).unwrap();
        fs::create_dir(folder.path().join("conf")).unwrap();
        fs::write(folder.path().join("conf/app.conf"), "good").unwrap();
        fs::copy(busybox, folder.path().join("image/bin/busybox")).unwrap();
        for applet in ["sh", "cat", "sleep", "test"] {
            std::os::unix::fs::symlink("busybox", folder.path().join("image/bin").join(applet)).unwrap();
        }
        let (tar, image_folder) = (folder.path().join("image.tar"), folder.path().join("image"));
        run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(image_folder).arg("."));
        run(Command::new("docker").arg("import").arg(&tar).arg(&image));
        Some(Self { image, folder, containers: Vec::new() })
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("conf")
    }

    /// Starts a container and returns its id.
    fn start(&mut self, name: &str, options: &[&str]) -> String {
        let name = format!("{name}-{}", std::process::id());
        self.containers.push(name.clone());
        let mut command = Command::new("docker");
        command.args(["run", "-d", "--network", "none", "--name", &name]).args(options);
        run(command.args([&self.image, "/bin/sh", "-c", PROGRAM]))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let quiet = |command: &mut Command| drop(command.stdout(Stdio::null()).stderr(Stdio::null()).status());
        for name in &self.containers {
            quiet(Command::new("docker").args(["rm", "-f", "-v", name]));
        }
        quiet(Command::new("docker").args(["rmi", "-f", &self.image]));
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The value that the program in the container sees now.
fn value_inside(id: &str) -> String {
    run(Command::new("docker").args(["exec", id, "/bin/cat", "/conf/app.conf"]))
}

fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

#[tokio::test]
async fn the_engine_tells_who_mounts_what_and_how_long_stopping_may_take() {
    let Some(mut bench) = Bench::new("mounts") else { return };
    let (conf, volume) = (bench.conf(), format!("pconf-volume-{}", std::process::id()));
    let folder = format!("{}:/conf:ro", conf.display());
    let file = format!("{}:/conf/app.conf", conf.join("app.conf").display());
    let by_folder = bench.start("by-folder", &["-v", &folder, "--stop-timeout", "3"]);
    let by_file = bench.start("by-file", &["-v", &file]);
    let by_volume = bench.start("by-volume", &["-v", &format!("{volume}:/data"), "-v", &folder]);
    run(Command::new("docker").args(["stop", "-t", "5", &by_volume]));

    let unrelated = bench.start("unrelated", &["-v", &format!("{}:/conf", bench.folder.path().display())]);
    let below = |seen: &Summary| {
        seen.mounts.iter().any(|mount| mount.source.starts_with(&conf) || mount.source.ends_with("_data"))
    };
    let all = Docker::at(Path::new(SOCKET)).list(below).await.unwrap();
    assert!(all.iter().all(|container| container.id != unrelated), "nothing is asked about it");
    let find = |id: &str| all.iter().find(|container| container.id == id).unwrap();
    let sources = |id: &str| find(id).mounts.iter().map(|mount| mount.source.clone()).collect::<Vec<_>>();
    assert_eq!(sources(&by_folder), std::slice::from_ref(&conf));
    assert_eq!(sources(&by_file), [conf.join("app.conf")]);
    assert!(sources(&by_volume).iter().any(|source| source.ends_with(format!("volumes/{volume}/_data"))));
    assert_eq!(
        (find(&by_folder).state, find(&by_volume).state),
        (State::Running, State::Exited { code: 0, died: false })
    );
    assert_eq!(find(&by_folder).stop_grace, Duration::from_secs(3));
    assert_eq!(find(&by_file).stop_grace, Duration::from_secs(10));
    assert_eq!(find(&by_folder).name, format!("by-folder-{}", std::process::id()));
    drop(bench);
    run(Command::new("docker").args(["volume", "rm", "-f", &volume]));
}

#[tokio::test]
async fn a_restart_makes_a_replaced_file_visible_even_through_a_mount_of_the_single_file() {
    let Some(mut bench) = Bench::new("restart") else { return };
    let file = format!("{}:/conf/app.conf", bench.conf().join("app.conf").display());
    let id = bench.start("single", &["-v", &file]);
    let engine = Docker::at(Path::new(SOCKET));
    let before = engine.look(&id).await.unwrap().unwrap();
    replace(&bench.conf().join("app.conf"), "better");
    assert_eq!(value_inside(&id), "good", "a rename does not reach through such a mount");

    assert_eq!(restart(&engine, &id).await, Restarted::Holds);
    assert_eq!(value_inside(&id), "better");
    assert_ne!(engine.look(&id).await.unwrap().unwrap().started, before.started);
}

#[tokio::test]
async fn a_container_that_dies_of_its_restart_has_failed_and_can_be_started_from_standstill() {
    let Some(mut bench) = Bench::new("dies") else { return };
    let id = bench.start("dies", &["-v", &format!("{}:/conf:ro", bench.conf().display())]);
    let engine = Docker::at(Path::new(SOCKET));
    replace(&bench.conf().join("app.conf"), "bad");
    let name = format!("dies-{}", std::process::id());
    let reason = format!("exited with code 7 right after its restart: see `docker logs {name}`");
    assert_eq!(restart(&engine, &id).await, Restarted::Failed { reason });

    replace(&bench.conf().join("app.conf"), "good");
    assert_eq!(restart(&engine, &id).await, Restarted::Holds);
}

#[tokio::test]
async fn a_container_that_keeps_being_started_by_the_engine_has_failed_too() {
    let Some(mut bench) = Bench::new("loops") else { return };
    let id = bench.start("loops", &["--restart", "always", "-v", &format!("{}:/conf:ro", bench.conf().display())]);
    let engine = Docker::at(Path::new(SOCKET));
    replace(&bench.conf().join("app.conf"), "bad");
    assert!(matches!(restart(&engine, &id).await, Restarted::Failed { .. }));
}

#[tokio::test]
async fn a_container_that_was_removed_is_gone() {
    let Some(_bench) = Bench::new("gone") else { return };
    let engine = Docker::at(Path::new(SOCKET));
    assert_eq!(restart(&engine, &"0".repeat(64)).await, Restarted::Gone);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_named() {
    let error = Docker::at(Path::new("/nowhere/docker.sock")).list(|_| true).await.unwrap_err();
    let expected =
        "cannot reach the Docker engine at `/nowhere/docker.sock` (is it running, and may this user use it?)";
    assert_eq!(error.to_string(), expected);
}
