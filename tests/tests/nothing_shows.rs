//! A secret is where it belongs and nowhere else: not in a log of any level, not in what a command prints, not in a list of
//! processes, not in a backup of the leader without its key-encryption key, not in a core dump.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use promises::{Daemon, Flood, Outcome, Platform, Program, TemplateSet, eventually, key_bytes, read_tree, shows};
use serde_json::{Value, json};

/// Everything, of the libraries, too: by itself a level is that of our own programs.
const ALL: &str = "trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace,bollard=trace";

/// A platform that says all that it can say, in its logs and in the answers to every command.
struct Talkative {
    platform: Platform,
    leader: Daemon,
    follower: Daemon,
    said: BTreeMap<String, String>,
}

impl Talkative {
    fn start() -> Result<Self> {
        let mut platform = Platform::little(&TemplateSet::with_secrets(), &["a"])?;
        let mut said = BTreeMap::new();
        tell(&mut said, bring(&platform, "password", "a pass/word+of ours")?)?;
        let serve = platform.command()?.args(["serve", "--log", ALL]);
        let leader = Daemon::start(serve, &platform.path("leader.log"))?;
        let machine = platform.machine("a")?;
        let log = machine.folder().join("log");
        let follower = Daemon::start(machine.command("run")?.env("RUST_LOG", ALL), &log)?;
        eventually("the leader answers", || Ok(platform.status().ok()))?;
        platform.converged()?;
        Ok(Self { platform, leader, follower, said })
    }

    /// A command of the leader, and what it says.
    fn lead(&mut self, arguments: &[&str]) -> Result<()> {
        for output in ["text", "json"] {
            let program = self.platform.command()?.args(arguments).args(["--output", output]);
            tell(&mut self.said, (format!("config-leader {} ({output})", arguments.join(" ")), program))?;
        }
        Ok(())
    }

    /// A command of the follower, and what it says.
    fn follow(&mut self, command: &str, arguments: &[&str]) -> Result<()> {
        let program = self.platform.machine("a")?.command(command)?.args(arguments).env("RUST_LOG", ALL);
        tell(&mut self.said, (format!("config-follower {command}"), program))
    }

    /// Every secret value that the machine has now.
    fn secrets(&mut self) -> Result<Vec<String>> {
        let file: Value = serde_json::from_str(&self.platform.machine("a")?.read("app/conf/secret.json")?)?;
        ["token", "password"]
            .map(|name| file[name].as_str().map(str::to_owned).context("a secret"))
            .into_iter()
            .collect()
    }

    /// Every key that the machine has now.
    fn keys(&mut self) -> Result<Vec<String>> {
        let identity: Value = serde_json::from_slice(&fs::read(self.platform.machine("a")?.identity_file())?)?;
        let keys = identity["keys"].as_array().context("an identity has keys")?;
        Ok(keys.iter().filter_map(|key| key["key"].as_str().map(str::to_owned)).collect())
    }
}

/// The command that brings a value, and its name.
fn bring(platform: &Platform, name: &str, value: &str) -> Result<(String, Program)> {
    let file = platform.path(name);
    fs::write(&file, format!("{value}\n"))?;
    Ok((format!("secret set {value}"), platform.command()?.args(["secret", "set", name, "--from-file"]).arg(file)))
}

fn tell(said: &mut BTreeMap<String, String>, (name, program): (String, Program)) -> Result<()> {
    let Outcome { output, errors, .. } = program.end()?;
    said.insert(format!("{} {name}", said.len()), output + &errors);
    Ok(())
}

/// Everything below a folder but the files of these names.
fn all_below(folder: &Path, except: &[&str]) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let files = read_tree(folder)?.into_iter().filter(|(path, _)| !except.contains(&path.as_str()));
    Ok(files.filter_map(|(path, entry)| Some((folder.join(path), entry.content?))).collect())
}

#[test]
fn a_secret_is_nowhere_but_where_it_belongs() -> Result<()> {
    let mut talkative = Talkative::start()?;
    let (mut secrets, mut keys) = (talkative.secrets()?, talkative.keys()?);
    let leader = talkative.platform.address();
    Flood::new(leader, 50).run()?;
    talkative.platform.roll_out(|platform| platform.set("/greeting", json!("again")))?;

    // What would be done shows differences, and what differs is a secret.
    talkative.follow("suspend", &["--reason", "to look"])?;
    let brought = bring(&talkative.platform, "password", "another pass/word+of ours")?;
    talkative.platform.publish(|_| tell(&mut BTreeMap::new(), brought))?;
    talkative.follow("plan", &[])?;
    talkative.follow("resume", &[])?;
    talkative.platform.converged()?;
    secrets.extend(talkative.secrets()?);
    talkative.lead(&["secret", "rotate", "token"])?;
    talkative.platform.converged()?;
    talkative.platform.command()?.args(["machine", "rotate-key", "a"]).succeed()?;
    eventually("the machine has its next key", || {
        let now = talkative.keys()?;
        Ok(now.iter().any(|key| !keys.contains(key)).then_some(()))
    })?;
    talkative.platform.roll_out(|platform| platform.set("/greeting", json!("and again")))?;
    secrets.extend(talkative.secrets()?);
    keys.extend(talkative.keys()?);
    ensure!(secrets.len() == 6 && keys.len() >= 2, "{} secrets, {} keys", secrets.len(), keys.len());

    // Somebody has moved a secret in its file about.
    let token = talkative.secrets()?[0].clone();
    talkative.platform.machine("a")?.plant("app/conf/secret.json", format!("{{ \"was\": \"{token}\" }}").as_bytes())?;
    for command in ["drift", "status", "plan", "retry"] {
        talkative.follow(command, &[])?;
    }
    for arguments in [
        &["status"][..],
        &["check"],
        &["secret", "list"],
        &["machine", "list"],
        &["audit", "show"],
        &["audit", "verify"],
        &["history"],
        &["show", "-1"],
        &["diff", "1"],
        &["diff", "1", "-1", "--stat"],
        &["secret", "rotate", "nothing"],
        &["secret", "set", "token"],
    ] {
        talkative.lead(arguments)?;
    }

    let history = talkative.platform.path("history");
    talkative.platform.command()?.arg("backup").arg(&history).succeed()?;

    let mut searched = all_below(&talkative.platform.path("leader"), &["kek"])?;
    searched.push((history.clone(), fs::read(&history)?));
    let machine = talkative.platform.machine("a")?.folder().to_owned();
    searched.extend(all_below(&machine.join("state"), &["identity.json"])?);
    for file in [talkative.platform.path("leader.log"), machine.join("log"), machine.join("config-follower.json")] {
        searched.push((file.clone(), fs::read(file)?));
    }
    for process in [talkative.leader.id(), talkative.follower.id()] {
        for file in ["cmdline", "environ"].map(|name| PathBuf::from(format!("/proc/{process}/{name}"))) {
            searched.push((file.clone(), fs::read(file)?));
        }
    }
    searched.extend(talkative.said.iter().map(|(command, said)| (command.into(), said.clone().into_bytes())));

    let kek = fs::read_to_string(talkative.platform.path("leader/kek"))?.trim_end().to_owned();
    keys.push(kek);
    let forbidden = secrets.iter().chain(&keys).map(|text| Ok(text.clone().into_bytes()));
    let forbidden: Vec<Vec<u8>> = forbidden.chain(keys.iter().map(|key| key_bytes(key))).collect::<Result<_>>()?;
    for (place, content) in &searched {
        for secret in &forbidden {
            let found = shows(content, secret);
            let secret = String::from_utf8_lossy(secret);
            ensure!(
                found.is_none(),
                "`{}` shows {secret} in {found:?}\n{}",
                place.display(),
                String::from_utf8_lossy(content)
            );
        }
    }
    // Enough was searched, and the search finds what is there.
    ensure!(searched.len() > 30, "{} places", searched.len());
    ensure!(
        searched.iter().any(|(place, content)| place.ends_with("leader.log") && shows(content, b"TRACE").is_some())
    );
    ensure!(shows(&fs::read(machine.join("state/identity.json"))?, keys[0].as_bytes()).is_some());

    for process in [talkative.leader.id(), talkative.follower.id()] {
        let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
        let cores = limits.lines().find(|line| line.starts_with("Max core file size")).context("a limit")?;
        assert_eq!(cores.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{cores}");
    }
    Ok(())
}

/// Mode of everything below a folder.
fn modes(folder: &Path) -> Result<Vec<(String, u32, bool)>> {
    let tree = read_tree(folder)?;
    Ok(tree.into_iter().map(|(path, entry)| (path, entry.mode & 0o777, entry.content.is_none())).collect())
}

#[test]
fn what_is_private_is_its_owners_alone_and_refused_when_it_is_not() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::with_secrets(), &["a"])?;
    bring(&platform, "password", "a pass/word+of ours")?.1.succeed()?;
    platform.start()?;
    let state = platform.machine("a")?.folder().join("state");
    for private in
        ["secrets", "keys", "state"].map(|name| platform.path("leader").join(name)).into_iter().chain([state])
    {
        ensure!(fs::metadata(&private)?.permissions().mode() & 0o777 == 0o700, "{}", private.display());
        for (path, mode, is_folder) in modes(&private)? {
            let wanted = if is_folder { 0o700 } else { 0o600 };
            ensure!(mode == wanted, "{}/{path} has mode {mode:o}", private.display());
        }
    }
    assert_eq!(fs::metadata(platform.path("leader/kek"))?.permissions().mode() & 0o777, 0o400);
    platform.stop_leader()?;
    platform.machine("a")?.stop()?;

    let loose = |file: &Path, from: u32, to: u32, program: Program| -> Result<()> {
        fs::set_permissions(file, fs::Permissions::from_mode(to))?;
        let outcome = program.end()?;
        fs::set_permissions(file, fs::Permissions::from_mode(from))?;
        let way_out = outcome.errors.contains("chmod")
            && outcome.errors.contains(&*file.file_name().unwrap_or_default().to_string_lossy());
        ensure!(matches!(outcome.code, Some(1 | 2)) && way_out, "{}: {outcome:?}", file.display());
        Ok(())
    };
    loose(&platform.path("leader/kek"), 0o400, 0o440, platform.command()?.arg("serve"))?;
    loose(&platform.path("leader/secrets/token"), 0o600, 0o640, platform.command()?.arg("check"))?;
    loose(&platform.path("leader/secrets"), 0o700, 0o750, platform.command()?.arg("check"))?;
    loose(&platform.path("leader/state"), 0o700, 0o755, platform.command()?.arg("serve"))?;
    let machine = platform.machine("a")?;
    loose(&machine.identity_file(), 0o600, 0o644, machine.command("once")?)?;
    Ok(())
}

#[test]
fn without_the_right_key_encryption_key_nothing_starts_and_nothing_changes() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::with_secrets(), &["a"])?;
    bring(&platform, "password", "a pass/word+of ours")?.1.succeed()?;
    platform.start()?;
    platform.stop_leader()?;
    let kek = platform.path("leader/kek");
    let right = fs::read(&kek)?;
    let secret = platform.path("value");
    fs::write(&secret, "another\n")?;
    for wrong in [Some(&b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"[..]), Some(b"no key\n"), None] {
        fs::remove_file(&kek)?;
        if let Some(wrong) = wrong {
            fs::write(&kek, wrong)?;
            fs::set_permissions(&kek, fs::Permissions::from_mode(0o400))?;
        }
        let before = contents(&platform.path("leader"))?;
        for arguments in [
            &["serve"][..],
            &["check"],
            &["secret", "show", "token"],
            &["secret", "rotate", "token"],
            &["machine", "rotate-key", "a"],
        ] {
            let outcome = platform.command()?.args(arguments).end()?;
            ensure!(matches!(outcome.code, Some(1 | 2)), "{arguments:?}: {outcome:?}");
            ensure!(
                (outcome.output + &outcome.errors).contains("key-encryption key"),
                "{arguments:?}: {}",
                outcome.errors
            );
        }
        ensure!(contents(&platform.path("leader"))? == before, "something was changed");
        if wrong.is_none() {
            fs::write(&kek, "")?;
        }
    }
    fs::remove_file(&kek)?;
    fs::write(&kek, right)?;
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o400))?;
    platform.start_leader()?;
    platform.roll_out(|platform| platform.set("/greeting", json!("with the right one")))?;
    Ok(())
}

/// Every file below a folder, but those that only tell that somebody holds it.
fn contents(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    all_below(folder, &["state/lock"])
}
