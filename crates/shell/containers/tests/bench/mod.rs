//! A scripted engine, a folder with one file, and the client under test.

use std::fs;
use std::path::PathBuf;

use pconf_containers::{Acted, Container, Containers as _, Docker, Gate, How, act};
use scripted_engine::{ScriptedEngine, Spec};
use tempfile::TempDir;

pub(crate) struct Bench {
    pub(crate) engine: ScriptedEngine,
    pub(crate) docker: Docker,
    pub(crate) folder: TempDir,
}

impl Default for Bench {
    /// With nothing in it.
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = ScriptedEngine::start(&folder.path().join("docker.sock")).unwrap();
        let mut programs = engine.programs().into_os_string();
        programs.push(":/usr/bin:/bin");
        let docker = Docker::at(engine.socket()).with_programs_in(&programs);
        fs::create_dir(folder.path().join("conf")).unwrap();
        fs::write(folder.path().join("conf/core.yml"), "old").unwrap();
        Self { engine, docker, folder }
    }
}

#[allow(dead_code, reason = "each test program uses its part of the bench")]
impl Bench {
    /// With `core`, which mounts the folder of the file.
    pub(crate) fn with_core() -> Self {
        let bench = Self::default();
        bench.engine.add("core", &[(&bench.conf(), "/app/conf")]);
        bench
    }

    /// The same, with a HEALTHCHECK.
    pub(crate) fn with_healthcheck() -> Self {
        let bench = Self::default();
        let mounts = vec![(bench.conf(), "/app/conf".into())];
        bench.engine.add_with(Spec { name: "core".to_owned(), mounts, has_healthcheck: true, ..Spec::default() });
        bench
    }

    /// With `core` as compose made it before its file changed.
    pub(crate) fn of_compose() -> Self {
        let bench = Self::default();
        let mounts = vec![(bench.conf(), "/app/conf".into())];
        bench.engine.add_with(Spec { name: "core".to_owned(), mounts, ..Spec::default() }.of_compose("pryvio", "core"));
        let services = "services:\n  core:\n    container_name: core\n    volumes:\n      - ./conf:/app/conf\n";
        fs::write(bench.compose_file(), services).unwrap();
        bench
    }

    pub(crate) fn compose_file(&self) -> String {
        self.folder.path().join("pryv.yml").display().to_string()
    }

    pub(crate) fn conf(&self) -> PathBuf {
        self.folder.path().join("conf")
    }

    /// Changes the file.
    pub(crate) fn write(&self, text: &str) {
        fs::write(self.conf().join("core.yml"), text).unwrap();
    }

    /// What the container has read of the file.
    pub(crate) fn has_read(&self, name: &str) -> String {
        let bytes = self.engine.has_read(name).remove(&self.conf().join("core.yml"));
        String::from_utf8(bytes.unwrap_or_default()).unwrap()
    }

    pub(crate) async fn look(&self, name: &str) -> Container {
        self.docker.look(name).await.unwrap().unwrap()
    }

    pub(crate) async fn act(&self, name: &str, how: &How, gate: &Gate) -> Acted {
        let id = self.engine.id(name).unwrap();
        act(&self.docker, name, Some(&id), &self.placed(how), gate).await
    }

    /// With the compose file of this bench.
    pub(crate) fn placed(&self, how: &How) -> How {
        match how.clone() {
            How::Recreate { project, service, .. } => {
                How::Recreate { file: self.compose_file().into(), project, service }
            }
            other => other,
        }
    }
}

#[allow(dead_code, reason = "each test program uses its part of the bench")]
pub(crate) fn recreate(project: &str, service: &str) -> How {
    How::Recreate { file: PathBuf::new(), project: project.to_owned(), service: service.to_owned() }
}

pub(crate) fn strings<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
