//! The Docker engine, asked the way an operator asks it: with `docker` and `docker-compose`.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::program::Program;

/// An image that `tests/images` made.
#[derive(Debug, Clone, Copy)]
pub enum ImageName {
    /// Our stand-in service.
    StandIn,
    /// Debian's nginx.
    Nginx,
    /// Debian's redis-server.
    Redis,
}

impl ImageName {
    /// As in `docker run`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StandIn => "pconf/standin",
            Self::Nginx => "pconf/nginx",
            Self::Redis => "pconf/redis",
        }
    }
}

/// This test's part of the engine: everything in it is named with one prefix, and gone when this is dropped.
#[derive(Debug)]
pub struct Engine {
    prefix: String,
    /// Images that were made for this test.
    images: Mutex<Vec<String>>,
}

/// A moment on the engine's clock, to ask what happened since.
#[derive(Debug, Clone, Copy)]
pub struct Moment(u128);

impl Engine {
    /// The engine of this machine.
    pub fn here() -> Result<Self> {
        Program::named("docker").arg("info").succeed().context("tests/run starts a Docker engine")?;
        let run = env::var("PCONF_PREFIX").unwrap_or_else(|_| "pt-".to_owned());
        Ok(Self { prefix: format!("{run}{}-", process::id()), images: Mutex::default() })
    }

    /// What the name of every container and network has to begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Starts a container; `options` are those of `docker run`. Returns its name.
    pub fn run(&self, name: &str, image: ImageName, options: &[&str]) -> Result<String> {
        self.run_as(name, image, options, &[])
    }

    /// Starts a container with another command than its image's.
    pub fn run_as(&self, name: &str, image: ImageName, options: &[&str], command: &[&str]) -> Result<String> {
        self.run_image(name, image.as_str(), options, command)
    }

    /// Starts a container of an image that was made with [`Engine::build`].
    pub fn run_image(&self, name: &str, image: &str, options: &[&str], command: &[&str]) -> Result<String> {
        let name = format!("{}{name}", self.prefix);
        Program::named("docker")
            .args(["run", "--detach", "--name", &name])
            .args(options)
            .arg(image)
            .args(command)
            .succeed()?;
        Ok(name)
    }

    /// One value out of `docker inspect`, by Go template.
    pub fn inspect(&self, container: &str, template: &str) -> Result<String> {
        let text = Program::named("docker").args(["inspect", "--format", template, container]).succeed()?;
        Ok(text.trim_end().to_owned())
    }

    /// Where a stand-in answers.
    pub fn standin(&self, container: &str) -> Result<SocketAddr> {
        let address =
            self.inspect(container, "{{ range .NetworkSettings.Networks }}{{ println .IPAddress }}{{ end }}")?;
        let first = address.lines().find(|line| !line.is_empty()).context("the container has no address")?;
        Ok(SocketAddr::new(first.parse()?, 7777))
    }

    /// Now.
    pub fn moment(&self) -> Result<Moment> {
        Ok(Moment(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()))
    }

    /// How often each container was started since then.
    pub fn starts_since(&self, since: Moment) -> Result<BTreeMap<String, usize>> {
        let text = Program::named("docker")
            .args(["events", "--filter", "type=container", "--filter", "event=start"])
            .args(["--format", "{{ .Actor.Attributes.name }}"])
            .args(["--since", &show(since), "--until", &show(self.moment()?)])
            .succeed()?;
        let mut starts = BTreeMap::new();
        for name in text.lines().filter(|name| name.starts_with(&self.prefix)) {
            *starts.entry(name.to_owned()).or_default() += 1;
        }
        Ok(starts)
    }

    /// What happened to our containers since then, in order: the container's name, and `start`, `die`, `kill SIGNAL`,
    /// `destroy` or the command that was run in it.
    pub fn deeds_since(&self, since: Moment) -> Result<Vec<(String, String)>> {
        let mut events = Program::named("docker").args(["events", "--filter", "type=container"]);
        for event in ["start", "die", "kill", "destroy", "exec_create"] {
            events = events.arg("--filter").arg(format!("event={event}"));
        }
        let text = events
            .args(["--format", "{{ .Actor.Attributes.name }}\t{{ .Action }}\t{{ .Actor.Attributes.signal }}"])
            .args(["--since", &show(since), "--until", &show(self.moment()?)])
            .succeed()?;
        let deeds = text.lines().filter_map(|line| {
            let mut parts = line.split('\t');
            let (name, action, signal) = (parts.next()?, parts.next()?, parts.next()?);
            let deed = match (action.strip_prefix("exec_create: "), action) {
                (Some(command), _) => command.to_owned(),
                (None, "kill") => format!("kill {signal}"),
                (None, action) => action.to_owned(),
            };
            Some((name.to_owned(), deed))
        });
        Ok(deeds.filter(|(name, _)| name.starts_with(&self.prefix)).collect())
    }

    /// When a container was first started since then, counted from that moment.
    pub fn first_start(&self, container: &str, since: Moment) -> Result<Duration> {
        let text = Program::named("docker")
            .args(["events", "--filter", "event=start", "--filter", &format!("container={container}")])
            .args(["--format", "{{ .TimeNano }}", "--since", &show(since), "--until", &show(self.moment()?)])
            .succeed()?;
        let first: u128 = text.lines().next().context("it was not started")?.parse()?;
        Ok(Duration::from_nanos(u64::try_from(first.saturating_sub(since.0))?))
    }

    /// A file as a stand-in's container sees it at this moment, whatever the service has read.
    pub fn inside(&self, container: &str, path: &str) -> Result<String> {
        Program::named("docker").args(["exec", container, "/standin", "show", path]).succeed()
    }

    /// A file as the process of a stand-in has read it.
    pub fn taken(&self, container: &str, path: &str) -> Result<String> {
        Ok(crate::http::get(self.standin(container)?, &format!("/files{path}"))?.text())
    }

    /// Makes an image of a stand-in with more instructions; it goes with the engine. Its name.
    pub fn build(&self, name: &str, instructions: &str) -> Result<String> {
        let image = format!("{}{name}", self.prefix);
        let context = tempfile::tempdir()?;
        let text = format!("FROM {}\n{instructions}\n", ImageName::StandIn.as_str());
        std::fs::write(context.path().join("Dockerfile"), text)?;
        let build = Program::named("docker").env("DOCKER_BUILDKIT", "0").args(["build", "--tag", &image]);
        build.arg(context.path()).succeed()?;
        self.images.lock().unwrap_or_else(PoisonError::into_inner).push(image.clone());
        Ok(image)
    }

    /// The processes of a container as this host sees them: number and command line.
    pub fn processes(&self, container: &str) -> Result<Vec<String>> {
        let text = Program::named("docker").args(["top", container, "-eo", "pid,args"]).succeed()?;
        Ok(text.lines().skip(1).map(|line| line.trim().to_owned()).collect())
    }

    /// Names of the containers that run.
    pub fn running(&self) -> Result<Vec<String>> {
        let text = Program::named("docker")
            .args(["ps", "--format", "{{ .Names }}", "--filter", &format!("name=^/?{}", self.prefix)])
            .succeed()?;
        let mut names: Vec<_> = text.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }
}

/// Seconds and nanoseconds, as `docker events` wants them.
fn show(moment: Moment) -> String {
    format!("{}.{:09}", moment.0 / 1_000_000_000, moment.0 % 1_000_000_000)
}

impl Drop for Engine {
    fn drop(&mut self) {
        let sweep = crate::repository().join("tests/sweep");
        // Nothing more can be done about what stays; `tests/run` sweeps again.
        let _ = Program::named(&sweep.display().to_string()).arg(&self.prefix).end();
        for image in self.images.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = Program::named("docker").args(["image", "rm", "--force", image]).end();
        }
    }
}

/// The services of one machine, as its rendered compose file describes them.
#[derive(Debug)]
pub struct Project {
    name: String,
    file: PathBuf,
}

impl Project {
    /// The project of that name (in small letters) of `file`.
    #[must_use]
    pub fn new(name: &str, file: &Path) -> Self {
        Self { name: name.to_lowercase(), file: file.to_owned() }
    }

    /// Creates and starts what is not running as described.
    pub fn up(&self) -> Result<String> {
        self.compose().args(["up", "--detach"]).succeed()
    }

    /// What compose understands, fully resolved.
    pub fn resolved(&self) -> Result<String> {
        self.compose().arg("config").succeed()
    }

    fn compose(&self) -> Program {
        Program::named("docker-compose")
            .args(["--project-name", &self.name, "--file"])
            .arg(&self.file)
            .env("HOSTNAME", "machine")
    }
}
