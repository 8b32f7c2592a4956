//! A platform: the leader's folder, its leader, and machines to follow it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Answer};
use crate::loopback::Loopback;
use crate::machine::Machine;
use crate::process::Daemon;
use crate::program::{Outcome, Program};
use crate::template_set::TemplateSet;
use crate::wait::eventually;

/// A platform in a folder and a loopback network of its own. Nothing runs until it is told to.
#[derive(Debug)]
pub struct Platform {
    // Dropped in this order: nobody may write any more when the folder is removed.
    leader: Option<Daemon>,
    machines: BTreeMap<String, Machine>,
    network: Loopback,
    document: Value,
    folder: TempDir,
}

impl Platform {
    /// One of kind `little`, with that template set and these machines, all of role `app`.
    pub fn little(set: &TemplateSet, machines: &[&str]) -> Result<Self> {
        Self::little_below(&std::env::temp_dir(), set, machines)
    }

    /// The same with its folder below another one than that for temporary files.
    pub fn little_below(parent: &Path, set: &TemplateSet, machines: &[&str]) -> Result<Self> {
        let folder = scratch(parent)?;
        set.write(&folder.path().join("templates"))?;
        let mut platform = Self::in_folder(folder, json!({ "kind": "little", "settings": {}, "machines": {} }))?;
        for name in machines {
            platform.add_machine(name, "app")?;
        }
        platform.write()?;
        Ok(platform)
    }

    /// One of a kind that ships, from `init KIND --example EXAMPLE`, with everything on this host.
    pub fn shipped(kind: &str, example: Option<&str>) -> Result<Self> {
        Self::shipped_below(&std::env::temp_dir(), kind, example)
    }

    /// The same with its folder below another one than that for temporary files.
    pub fn shipped_below(parent: &Path, kind: &str, example: Option<&str>) -> Result<Self> {
        let folder = scratch(parent)?;
        std::os::unix::fs::symlink(
            crate::repository().join("templates").canonicalize()?,
            folder.path().join("templates"),
        )?;
        let mut platform = Self::in_folder(folder, Value::Null)?;
        let init = platform.command()?.arg("init").arg(kind);
        match example {
            Some(example) => init.args(["--example", example]).succeed()?,
            None => init.succeed()?,
        };
        let exact = platform.command()?.args(["check", "--output", "json"]).end()?;
        anyhow::ensure!(
            exact.code == Some(0),
            "the example of {kind} does not check: {}{}",
            exact.output,
            exact.errors
        );
        platform.document = without_comments(&fs::read_to_string(platform.file())?)?;
        let declared: Vec<(String, String)> = platform.document["machines"]
            .as_object()
            .context("the example has machines")?
            .iter()
            .map(|(name, machine)| (name.clone(), machine["role"].as_str().unwrap_or_default().to_owned()))
            .collect();
        for (name, role) in declared {
            platform.add_machine(&name, &role)?;
        }
        platform.write()?;
        Ok(platform)
    }

    fn in_folder(folder: TempDir, document: Value) -> Result<Self> {
        let platform = Self { folder, network: Loopback::fresh(), document, machines: BTreeMap::new(), leader: None };
        fs::create_dir_all(platform.path("leader"))?;
        fs::set_permissions(platform.path("leader"), fs::Permissions::from_mode(0o700))?;
        let configuration = json!({ "listen": platform.address(), "templates": platform.path("templates") });
        fs::write(platform.path("leader/config-leader.json"), format!("{configuration:#}\n"))?;
        Ok(platform)
    }

    /// Changes one value of `config-leader.json`; read at the next start.
    pub fn configure_leader(&self, name: &str, value: Value) -> Result<()> {
        let path = self.path("leader/config-leader.json");
        let mut configuration: Value = serde_json::from_slice(&fs::read(&path)?)?;
        configuration[name] = value;
        Ok(fs::write(path, format!("{configuration:#}\n"))?)
    }

    /// Declares one more machine in `platform.json`, which is not written yet.
    pub fn add_machine(&mut self, name: &str, role: &str) -> Result<()> {
        let number = u8::try_from(self.machines.len() + 10).context("a platform of 240 machines at most")?;
        let listen = SocketAddr::new(self.network.address(number).into(), 6000);
        self.document["machines"][name]["role"] = json!(role);
        self.document["machines"][name]["url"] = json!(format!("http://{listen}"));
        let folder = self.folder.path().join("machines").join(name);
        let machine = Machine::new(&folder, listen, (self.address(), &self.path("leader")), name, role)?;
        self.machines.insert(name.to_owned(), machine);
        Ok(())
    }

    /// A path in the platform's folder: `leader/…`, `templates/…`, `machines/NAME/…`.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// `platform.json`.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path("leader/platform.json")
    }

    /// Where the leader listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.network.address(1).into(), 7000)
    }

    /// The network that this platform has for itself.
    #[must_use]
    pub fn network(&self) -> Loopback {
        self.network
    }

    /// `platform.json` as it was last written.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// A machine.
    pub fn machine(&mut self, name: &str) -> Result<&mut Machine> {
        self.machines.get_mut(name).with_context(|| format!("there is no machine `{name}`"))
    }

    /// Every machine, by name.
    pub fn machines(&mut self) -> impl Iterator<Item = (&str, &mut Machine)> {
        self.machines.iter_mut().map(|(name, machine)| (name.as_str(), machine))
    }

    /// Changes `platform.json` and saves it.
    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        change(&mut self.document);
        self.write()
    }

    /// Sets one setting and saves; `pointer` as in RFC 6901, below `settings`.
    pub fn set(&mut self, pointer: &str, value: Value) -> Result<()> {
        let (above, name) = pointer.rsplit_once('/').context("a pointer begins with `/`")?;
        self.edit(|document| {
            let mut place = &mut document["settings"];
            for part in above.split('/').skip(1) {
                place = &mut place[part];
            }
            place[name] = value;
        })
    }

    /// Saves `platform.json` the way editors do: beside it, then over it.
    pub fn write(&self) -> Result<()> {
        self.write_text(&format!("{:#}\n", self.document))
    }

    /// Saves any text as `platform.json`.
    pub fn write_text(&self, text: &str) -> Result<()> {
        replace(&self.file(), text.as_bytes())
    }

    /// Saves another version of the template set.
    pub fn write_set(&self, set: &TemplateSet) -> Result<()> {
        set.write(&self.path("templates"))
    }

    /// Brings a secret's value: `config-leader secret set`.
    pub fn write_secret(&self, name: &str, value: &str) -> Result<()> {
        let variable = format!("SECRET_{}", name.split('@').next().unwrap_or(name).to_uppercase());
        self.command()?.args(["secret", "set", name]).env(&variable, value).succeed().map(drop)
    }

    /// A secret's value: `config-leader secret show`.
    pub fn read_secret(&self, name: &str) -> Result<String> {
        Ok(self.command()?.args(["secret", "show", name]).succeed()?.trim_end().to_owned())
    }

    /// `config-leader --dir …`.
    pub fn command(&self) -> Result<Program> {
        Ok(Program::ours("config-leader")?.arg("--dir").arg(self.path("leader")))
    }

    /// `config-leader check`.
    pub fn check(&self) -> Result<Outcome> {
        self.command()?.arg("check").end()
    }

    /// `config-leader render` into a folder of that name; the folder.
    pub fn render(&self, name: &str) -> Result<PathBuf> {
        let out = self.path(name);
        self.command()?.args(["render", "--out"]).arg(&out).succeed()?;
        Ok(out)
    }

    /// Starts `config-leader serve`, and does not wait for anything.
    pub fn spawn_leader(&mut self) -> Result<()> {
        self.leader = Some(Daemon::start(self.command()?.arg("serve"), &self.path("leader.log"))?);
        Ok(())
    }

    /// Starts `config-leader serve` and waits until it has something to say: a revision, or what is wrong.
    pub fn start_leader(&mut self) -> Result<()> {
        self.spawn_leader()?;
        eventually("the leader answers", || {
            let status = self.status()?;
            let is_ready = !status["revision"].is_null() || status["problems"] != json!([]);
            Ok((is_ready && self.get("/__lbheartbeat__")?.status == 200).then_some(()))
        })
        .with_context(|| self.leader_log())
    }

    /// Ends the leader politely; its exit code.
    pub fn stop_leader(&mut self) -> Result<Option<i32>> {
        self.leader.take().context("the leader was not started")?.end()
    }

    /// Kills the leader.
    pub fn kill_leader(&mut self) -> Result<()> {
        self.leader.take().context("the leader was not started")?.kill()
    }

    /// The running leader.
    pub fn leader(&mut self) -> Result<&mut Daemon> {
        self.leader.as_mut().context("the leader was not started")
    }

    /// All that the leader has printed.
    #[must_use]
    pub fn leader_log(&self) -> String {
        fs::read_to_string(self.path("leader.log")).unwrap_or_default()
    }

    /// Starts the leader and every follower, and waits until all of them run the same revision.
    pub fn start(&mut self) -> Result<()> {
        self.start_leader()?;
        self.start_followers()
    }

    /// Starts every follower, and waits until all of them run the same revision.
    pub fn start_followers(&mut self) -> Result<()> {
        for machine in self.machines.values_mut() {
            machine.start()?;
        }
        self.converged().map(drop)
    }

    /// Has a machine join with the line that the leader prints.
    pub fn join(&self, name: &str) -> Result<String> {
        let machine = self.machines.get(name).with_context(|| format!("there is no machine `{name}`"))?;
        let add = self.command()?.args(["machine", "add", name, "--role", machine.role()]);
        let added: Value = serde_json::from_str(&add.args(["--output", "json"]).succeed()?)?;
        machine.join(added["join"].as_str().context("`machine add` prints a line")?)
    }

    /// The revision that the leader serves.
    pub fn revision(&self) -> Result<String> {
        let status = self.status()?;
        Ok(status["revision"].as_str().context("the status names the revision")?.to_owned())
    }

    /// Makes a change and waits until the leader serves another revision because of it.
    pub fn publish(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<String> {
        let before = self.revision()?;
        change(self)?;
        eventually("another revision is served", || Ok(Some(self.revision()?).filter(|revision| *revision != before)))
            .with_context(|| self.logs())
    }

    /// Makes a change and waits until every machine runs it; the revision.
    pub fn roll_out(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<String> {
        self.publish(change)?;
        self.converged()
    }

    /// Waits until every machine runs the revision that the leader serves; the revision.
    pub fn converged(&self) -> Result<String> {
        eventually("every machine runs the served revision", || {
            let status = self.status()?;
            let machines = status["machines"].as_object().context("the status lists the machines")?;
            let behind = machines.values().any(|machine| {
                machine["report"]["verdict"]["state"] != "running"
                    || machine["report"]["verdict"]["revision"] != status["revision"]
            });
            anyhow::ensure!(!behind, "{status:#}");
            Ok(Some(status["revision"].as_str().context("the status names the revision")?.to_owned()))
        })
        .with_context(|| self.logs())
    }

    /// Asks the leader.
    pub fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.address(), path)
    }

    /// What the leader says of the platform, as `config-leader status` asks it, without starting a program.
    pub fn status(&self) -> Result<Value> {
        let asked = json!({ "order": "status", "actor": { "person": { "uid": 0, "sudo": null } } });
        let mut socket = UnixStream::connect(self.path("leader/state/control.sock"))?;
        socket.write_all(asked.to_string().as_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let answer: Value = serde_json::from_str(&answer)?;
        let said = answer.pointer("/answer/Ok/json").with_context(|| format!("the leader answered {answer:#}"))?;
        Ok(said.clone())
    }

    /// Waits until the leader has problems with its input, or has none.
    pub fn wait_for_problems(&self, any: bool) -> Result<()> {
        let what = if any { "the leader says what is wrong" } else { "the leader says that all is well" };
        eventually(what, || {
            let problems = self.status()?["problems"].as_array().map_or(0, Vec::len);
            Ok(((problems > 0) == any).then_some(()))
        })
        .with_context(|| self.logs())
    }

    /// Everything that the programs have printed, for the message of a failed wait.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut logs = format!("\n--- leader\n{}", self.leader_log());
        for (name, machine) in &self.machines {
            logs = logs + "\n--- " + name + "\n" + &machine.log().unwrap_or_default();
        }
        logs
    }
}

/// A folder that is gone afterwards; `PCONF_KEEP` keeps it, to look into.
fn scratch(parent: &Path) -> Result<TempDir> {
    let mut folder = tempfile::Builder::new().prefix("pconf-test-").tempdir_in(parent)?;
    folder.disable_cleanup(std::env::var_os("PCONF_KEEP").is_some());
    Ok(folder)
}

/// `platform.json` as data: what the harness writes back needs no comments.
fn without_comments(text: &str) -> Result<Value> {
    let root = jsonc_parser::cst::CstRootNode::parse(text, &jsonc_parser::ParseOptions::default())?;
    root.to_serde_value().context("an empty file")
}

fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let draft = path.with_extension("draft~");
    fs::write(&draft, content)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
    Ok(fs::rename(draft, path)?)
}
