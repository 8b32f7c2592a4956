//! A leader of one machine in this process, real on the wire, and a machine in a temporary folder with a scripted engine.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use config_follower::{Config, DriftPolicy, Follower, Identity, Leader, Machine, Memory, Ring};
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{
    Bundle, Class, Code, Content, Directory, Enrolled, Enrolment, EnrolmentKey, File, KeyId, Keys, Problem, Report,
    UnixSeconds, open_report, open_snapshot, preferred_wait, routes, seal_bundle, seal_enrolled,
};
use pconf_bundle::{Moment, Origin};
use pconf_containers::Docker;
use pconf_files::StateFolder;
use pconf_names::{Owner, RevisionId};
use pconf_plan::{Limits, Snapshot};
use pconf_wire::{Ahead, Clock, Payload, Peers, Received, Receiver, Reply, reply, seal_nonce};
use scripted_engine::ScriptedEngine;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

pub fn keys() -> Arc<Keys> {
    keys_of(1, KEY)
}

pub fn keys_of(version: u32, key: &str) -> Arc<Keys> {
    Arc::new(Keys::derive(format!("co1.{version}").parse().unwrap(), &key.parse::<EnrolmentKey>().unwrap()))
}

/// A leader that serves one bundle to `co1`.
#[derive(Clone)]
pub struct TestLeader(Arc<Mutex<Served>>);

#[derive(Default)]
pub struct Served {
    pub bundle: Option<Bundle>,
    /// Whose signatures are taken; those of others get the answer that strangers get.
    pub keys: BTreeMap<String, Arc<Keys>>,
    /// With which keys it was asked, right ones only.
    pub asked: Vec<String>,
    /// What is answered to an enrolment.
    pub enrolled: Option<Result<Enrolled, Code>>,
    pub enrolments: Vec<Enrolment>,
    pub reports: Vec<Report>,
    /// What it was told of the machine.
    pub snapshots: Vec<Snapshot>,
    /// The status that every question gets instead of an answer.
    pub fault: Option<StatusCode>,
    pub takes_no_reports: bool,
    /// For how many seconds somebody was ready to wait.
    pub waits: Vec<u64>,
    pub lets_wait: bool,
    /// What every question is refused with.
    pub refusal: Option<Code>,
    pub pulls: Vec<StatusCode>,
}

struct OneMachine(TestLeader);

impl Peers for OneMachine {
    fn keys(&self, id: &KeyId) -> Option<Arc<Keys>> {
        self.0.change(|served| served.keys.get(&id.to_string()).cloned())
    }
}

/// A clock whose process started long ago, so that nothing is refused for being of an earlier life.
fn settled() -> Clock {
    let system = Clock::system();
    let first = Mutex::new(true);
    Clock::new(move || {
        let now = system.now();
        let is_first = std::mem::take(&mut *first.lock().unwrap());
        if is_first { Moment { wall: UnixSeconds(now.wall.0 - 20), ..now } } else { now }
    })
}

impl Default for TestLeader {
    fn default() -> Self {
        let keys = BTreeMap::from([("co1.1".to_owned(), keys())]);
        Self(Arc::new(Mutex::new(Served { keys, ..Served::default() })))
    }
}

impl TestLeader {
    pub async fn start(&self) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin: Origin = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let authorities = [&origin].into_iter().collect();
        let state = tempfile::tempdir().unwrap();
        let ahead = Ahead::open(&Arc::new(StateFolder::open(&state.path().join("state")).unwrap())).unwrap();
        let machines = OneMachine(self.clone());
        let receiver = Receiver::new(Direction::ToLeader, authorities, machines, settled(), 1 << 20, ahead);
        let (receiver, leader) = (Arc::new(receiver), self.clone());
        let router =
            Router::new().fallback(move |ConnectInfo(from): ConnectInfo<SocketAddr>, request: Request| {
                let (receiver, leader) = (Arc::clone(&receiver), leader.clone());
                async move {
                    receiver.serve(request, from.ip(), |received| async move { leader.answer(&received).await }).await
                }
            });
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move {
            let served = axum::serve(listener, router).await;
            drop(state);
            served
        });
        origin
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Served) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub fn publish(&self, bundle: Bundle) {
        self.change(|served| served.bundle = Some(bundle));
    }

    pub fn last_report(&self) -> Report {
        self.change(|served| served.reports.last().cloned().unwrap())
    }

    /// Lets whoever is ready to wait do so, as long as somebody does not send all away.
    async fn answer(&self, request: &Received) -> Result<Reply, Problem> {
        let wait = request.header(routes::PREFER).and_then(preferred_wait);
        let deadline = wait.map(|wait| tokio::time::Instant::now() + wait);
        self.change(|served| served.waits.extend(wait.map(|wait| wait.as_secs())));
        loop {
            let answer = self.answer_now(request);
            let is_news = answer.as_ref().map_or(true, |answer| answer.status() != StatusCode::NOT_MODIFIED);
            let lets_wait = self.change(|served| served.lets_wait);
            let is_over = deadline.is_none_or(|deadline| deadline <= tokio::time::Instant::now());
            if is_news || is_over || !lets_wait {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn answer_now(&self, request: &Received) -> Result<Reply, Problem> {
        self.change(|served| {
            if request.path() == routes::SNAPSHOTS {
                if served.takes_no_reports {
                    return Err(Code::Internal.into());
                }
                let told = open_snapshot(request.keys(), &request.body).unwrap();
                served.snapshots.push(serde_json::from_slice(&told).unwrap());
                return Ok(reply(StatusCode::NO_CONTENT, Payload::empty()));
            }
            served.asked.push(request.key_id().to_string());
            if let Some(status) = served.fault {
                return Ok(reply(status, Payload::new("nonsense")));
            }
            if let Some(code) = served.refusal {
                return Err(code.into());
            }
            if request.path() == routes::REPORTS {
                if served.takes_no_reports {
                    return Err(Code::Internal.into());
                }
                served.reports.push(open_report(request.keys(), &request.body).unwrap());
                return Ok(reply(StatusCode::NO_CONTENT, Payload::empty()));
            }
            if request.path() == routes::ENROLL {
                let enrolment: Enrolment = serde_json::from_slice(&request.body).unwrap();
                let enrolled = served.enrolled.clone().unwrap_or(Err(Code::Starting))?;
                served.enrolments.push(enrolment.clone());
                let sealed = seal_enrolled(request.keys(), &enrolment, &[7; 32], &enrolled, seal_nonce().unwrap());
                let mut answer = reply(StatusCode::OK, Payload::new(sealed.unwrap()));
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_IDENTITY));
                return Ok(answer);
            }
            if request.path() != "/conf/core" {
                return Err(Problem::new(Code::RoleForbidden).with_detail("`co1` has the role `core`"));
            }
            let bundle = served.bundle.as_ref().ok_or(Code::Starting)?;
            let sealed = seal_bundle(request.keys(), bundle, seal_nonce().unwrap());
            let is_known = request.header(IF_NONE_MATCH) == Some(&sealed.tag.to_string());
            let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
            served.pulls.push(status);
            let mut answer = reply(status, Payload::new(sealed.bytes));
            answer.headers_mut().insert(ETAG, sealed.tag.to_header());
            if !is_known {
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(routes::SEALED_BUNDLE));
                let revision = HeaderValue::from_str(&sealed.revision.to_string()).unwrap();
                answer.headers_mut().insert(routes::CONF_REVISION, revision);
            }
            Ok(answer)
        })
    }
}

/// A machine `co1` in a temporary folder.
pub struct TestMachine {
    pub folder: TempDir,
    pub leader: TestLeader,
    pub origin: Origin,
    pub engine: ScriptedEngine,
    _socket: TempDir,
}

impl TestMachine {
    pub async fn new() -> Self {
        let leader = TestLeader::default();
        let origin = leader.start().await;
        let socket = tempfile::tempdir().unwrap();
        let engine = ScriptedEngine::start(&socket.path().join("docker.sock")).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), leader, origin, engine, _socket: socket }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn config(&self) -> Config {
        Config {
            leader: self.origin.clone(),
            role: "core".parse().unwrap(),
            ring: Ring::new(&"co1".parse().unwrap(), 1, KEY.parse().unwrap()),
            root: self.root(),
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            urls: Vec::new(),
            docker: Some(self.engine.socket().to_owned()),
            state: self.folder.path().join("state"),
            authorities: None,
            drift: DriftPolicy::Repair,
            limits: Limits::default(),
            poll: Duration::from_hours(1),
            waits: false,
            metrics: None,
        }
    }

    /// A follower as after a start of the program.
    pub fn follower(&self) -> Follower<Docker> {
        self.follower_of(&self.config())
    }

    pub fn follower_of(&self, config: &Config) -> Follower<Docker> {
        let docker = Docker::at(self.engine.socket()).with_programs_in(self.engine.programs().as_os_str());
        let machine = Machine::new(&config.root, Some(docker));
        let memory = Memory::open(&config.state).unwrap();
        let identity = Identity::open(memory.folder(), &config.ring).unwrap();
        Follower::new(Leader::new(config, identity).unwrap(), machine, memory, config)
    }

    /// Its configuration file, with what else is said; `null` takes something out.
    pub fn configuration(&self, said: &Value) -> PathBuf {
        let path = self.folder.path().join("config-follower.json");
        let (leader, root, docker) = (self.origin.to_string(), self.root(), self.engine.socket());
        let mut all = json!({
            "leader": leader, "machine": "co1", "role": "core", "root": root, "docker": docker
        });
        for (name, value) in said.as_object().unwrap() {
            all[name] = value.clone();
        }
        std::fs::write(&path, all.to_string()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        if !self.identity_file().exists() {
            self.write_identity(&json!([{ "version": 1, "key": KEY, "state": "active" }]));
        }
        path
    }

    pub fn identity_file(&self) -> PathBuf {
        self.config().state.join("identity.json")
    }

    /// Gives it an identity with these keys.
    pub fn write_identity(&self, keys: &Value) {
        let path = self.identity_file();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(&path, json!({ "version": 1, "machine": "co1", "keys": keys }).to_string()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a command of the program; its exit code, results and complaints.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, &[]).await
    }

    /// The same, with variables in its environment.
    pub async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
        let path = self.folder.path().join("config-follower.json");
        if !path.exists() {
            self.configuration(&json!({}));
        }
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_config-follower"));
        let programs = format!("{}:{}", self.engine.programs().display(), std::env::var("PATH").unwrap());
        command.arg("--config").arg(path).args(arguments).env("PATH", programs);
        command.env("NO_COLOR", "1").env_remove("RUST_LOG").envs(variables.iter().copied());
        // The leader answers on this thread meanwhile.
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// What a command says as JSON, and its exit code.
    pub async fn ask(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, output, said) = self.run(&[arguments, &["--output", "json"]].concat()).await;
        (code, serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}{said}")))
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// A container that mounts a folder of the root.
    pub fn container(&self, name: &str, place: &str) {
        self.engine.add(name, &[(&self.root().join(place), "/app/conf")]);
    }
}

/// Every file below a folder, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// The set of `co1` at revision `1.number`; owned by whoever runs the tests.
pub fn bundle(number: u64, files: &[(&str, &str)]) -> Bundle {
    use std::os::unix::fs::MetadataExt as _;
    let stat = std::fs::metadata("/proc/self").unwrap();
    let owner = Owner { uid: stat.uid(), gid: stat.gid() };
    Bundle {
        directories: vec![Directory { path: "core/data".parse().unwrap(), owner, mode: "0750".parse().unwrap() }],
        files: files
            .iter()
            .map(|(path, text)| File {
                path: path.parse().unwrap(),
                class: Class::Config,
                owner,
                mode: "0640".parse().unwrap(),
                on_change: None,
                content: Content::from(text.as_bytes().to_vec()),
            })
            .collect(),
        // Nobody waits for scripted containers to run on.
        services: vec![serde_json::from_str(r#"{"match":"*","health":{"running":0}}"#).unwrap()],
        ..Bundle::empty(RevisionId { epoch: 1, number }, "co1".parse().unwrap(), "core".parse().unwrap())
    }
}
