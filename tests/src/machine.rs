//! One machine: its folder, its follower's configuration and identity, its follower.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::process::Daemon;
use crate::program::Program;
use crate::tree::{self, Tree};

/// A machine of a platform. Its follower is not running until it is told to.
#[derive(Debug)]
pub struct Machine {
    name: String,
    folder: PathBuf,
    /// The leader's.
    leader: PathBuf,
    listen: SocketAddr,
    configuration: Value,
    daemon: Option<Daemon>,
}

impl Machine {
    pub(crate) fn new(
        folder: &Path,
        listen: SocketAddr,
        leader: (SocketAddr, &Path),
        name: &str,
        role: &str,
    ) -> Result<Self> {
        let (address, leader) = leader;
        fs::create_dir_all(folder.join("root"))?;
        let configuration = json!({
            "leader": format!("http://{address}"),
            "machine": name,
            "role": role,
            "root": folder.join("root"),
            "listen": listen,
            "docker": null,
            "state": folder.join("state"),
            // What a test waits for comes by notification; one that is about polling says so.
            "poll": 3600
        });
        let (name, folder, leader) = (name.to_owned(), folder.to_owned(), leader.to_owned());
        let machine = Self { name, folder, leader, listen, configuration, daemon: None };
        machine.write_configuration()?;
        Ok(machine)
    }

    /// Changes one value of its configuration file; read at the next start.
    pub fn configure(&mut self, name: &str, value: Value) -> Result<()> {
        self.configuration[name] = value;
        self.write_configuration()
    }

    fn write_configuration(&self) -> Result<()> {
        let path = self.configuration_file();
        fs::write(&path, format!("{:#}\n", self.configuration))?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
    }

    /// Gives it a key that the leader knows, unless it has one. Whatever needs one does this first; a test does it itself
    /// only where it looks into the state folder before any command ran.
    pub fn identify(&self) -> Result<()> {
        let file = self.identity_file();
        if !file.exists() {
            let leader = Program::ours("config-leader")?.arg("--dir").arg(&self.leader);
            leader.args(["machine", "identity", &self.name, "--out"]).arg(file).succeed()?;
        }
        Ok(())
    }

    /// The file with the keys that it shares with the leader.
    #[must_use]
    pub fn identity_file(&self) -> PathBuf {
        self.folder.join("state/identity.json")
    }

    /// The key that it shares with the leader, as text, and its version.
    pub fn key(&self) -> Result<(String, u32)> {
        self.identify()?;
        let identity: Value = serde_json::from_slice(&fs::read(self.identity_file())?)?;
        let key = &identity["keys"][0];
        let version = key["version"].as_u64().and_then(|version| u32::try_from(version).ok());
        Ok((key["key"].as_str().context("a key")?.to_owned(), version.context("a version")?))
    }

    /// Where its follower's configuration is.
    #[must_use]
    pub fn configuration_file(&self) -> PathBuf {
        self.folder.join("config-follower.json")
    }

    /// The folder with its configuration, state and root.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the files go.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Where its follower listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Everything below its root.
    pub fn tree(&self) -> Result<Tree> {
        tree::read(&self.root())
    }

    /// A file below its root, as text.
    pub fn read(&self, path: &str) -> Result<String> {
        let path = self.root().join(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    }

    /// Puts a file below its root, as a service or an operator would.
    pub fn plant(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().context("a path in the root")?)?;
        Ok(fs::write(path, content)?)
    }

    /// `config-follower join`, with the line on standard input, as the leader prints it; what it says.
    pub fn join(&self, line: &str) -> Result<String> {
        let join = Program::ours("config-follower")?.args(["join", "-", "--config"]).arg(self.configuration_file());
        join.input(line).succeed()
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> &str {
        self.configuration["role"].as_str().unwrap_or_default()
    }

    /// `config-follower COMMAND` on this machine.
    pub fn command(&self, command: &str) -> Result<Program> {
        self.identify()?;
        Ok(Program::ours("config-follower")?.arg(command).arg("--config").arg(self.configuration_file()))
    }

    /// Starts `config-follower run`.
    pub fn start(&mut self) -> Result<()> {
        self.daemon = Some(Daemon::start(self.command("run")?, &self.folder.join("log"))?);
        Ok(())
    }

    /// The running follower.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("the follower was not started")
    }

    /// Ends the follower politely; its exit code.
    pub fn stop(&mut self) -> Result<Option<i32>> {
        self.daemon.take().context("the follower was not started")?.end()
    }

    /// Ends the follower as a power failure would.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("the follower was not started")?.kill()
    }

    /// All that the follower has printed.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("log")).unwrap_or_default())
    }
}
