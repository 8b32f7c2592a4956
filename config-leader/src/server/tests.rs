//! Promises about trust, seen from outside: a whole leader, asked over HTTP by whoever has a key, a string, a token or nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test expects is what it promises")]

mod enrolment;
mod history;
mod orders;
mod rotation;
mod tls;
mod waiting;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};
use pconf_bundle::signature::Direction;
use pconf_bundle::{
    Code, Enrolled, Enrolment, EnrolmentKey, JoinString, KeyId, Keys, Moment, Origin, UnixSeconds, VerifiedBundle,
    open_bundle, open_enrolled, routes,
};
use pconf_daemon::{Shutdown, Trigger};
use pconf_names::MachineName;
use pconf_wire::{Answer, CallError, Client, Clock, Peer, Timeouts, Trust};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use crate::cli::MachineCommand;
use crate::folder::Folder;
use crate::orders::{Order, give};
use crate::terminal::{Failure, Said};

const SECONDS: Duration = Duration::from_secs(20);
const TIMEOUTS: Timeouts = Timeouts { connect: SECONDS, read: SECONDS, whole: SECONDS };

/// As if the system allowed so many open files: three quarters are seats for those who wait.
const OPEN_FILES: usize = 8;

/// A clock that can be set.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn ahead(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn clock(&self, always_ahead: i64) -> Clock {
        let (hands, system) = (self.clone(), Clock::system());
        Clock::new(move || {
            let Moment { wall, uptime } = system.now();
            let wall = UnixSeconds(wall.0.saturating_add_signed(hands.0.load(Ordering::SeqCst) + always_ahead));
            Moment { wall, uptime }
        })
    }
}

/// A platform of two roles, and its leader.
struct World {
    held: tempfile::TempDir,
    folder: Folder,
    address: SocketAddr,
    hands: Hands,
    trigger: Trigger,
    running: JoinHandle<Result<()>>,
}

impl World {
    /// A leader that serves these machines, all of role `app`; `config` is added to its configuration.
    fn of(machines: &[&str], config: &Value) -> Result<Self> {
        let held = tempfile::tempdir()?;
        std::fs::set_permissions(held.path(), std::fs::Permissions::from_mode(0o700))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut configuration = json!({ "listen": address });
        for (name, value) in config.as_object().into_iter().flatten() {
            configuration[name] = value.clone();
        }
        let write = |path: &str, content: &Value| -> Result<()> {
            let path = held.path().join(path);
            std::fs::create_dir_all(path.parent().context("a file in the folder")?)?;
            Ok(std::fs::write(path, content.as_str().map_or_else(|| content.to_string(), str::to_owned))?)
        };
        write("config-leader.json", &configuration)?;
        let machines: serde_json::Map<_, _> =
            machines.iter().map(|name| ((*name).to_owned(), json!({ "role": "app" }))).collect();
        write("platform.json", &json!({ "kind": "little", "settings": {}, "machines": machines }))?;
        let set = "templates/little";
        write(&format!("{set}/platform.schema.json"), &json!({ "type": "object" }))?;
        write(&format!("{set}/platform.example.json"), &json!({ "kind": "little", "settings": {}, "machines": {} }))?;
        write(&format!("{set}/derived.json.tera"), &json!("{}\n"))?;
        let secret = json!({ "description": "shared", "kind": "random", "roles": ["app"] });
        write(&format!("{set}/secrets.json"), &json!({ "shared": secret }))?;
        let files = json!({ "match": "**", "class": "config", "owner": "0:0", "mode": "0640" });
        let role = json!({ "description": "a role", "topology": "cluster", "files": [files], "directories": [] });
        write(&format!("{set}/app/role.json"), &role)?;
        write(&format!("{set}/app/app.json.tera"), &json!("{\"shared\": {{ secrets.shared | json }}}\n"))?;
        write(&format!("{set}/web/role.json"), &role)?;
        write(&format!("{set}/web/web.txt"), &json!("hello\n"))?;
        let folder = Folder::open(held.path(), None)?;
        let (trigger, shutdown) = Shutdown::by_hand();
        let hands = Hands::default();
        let running = run(&hands, &folder, listener, shutdown);
        Ok(Self { held, folder, address, hands, trigger, running })
    }

    /// Ends the leader and starts it again, as an upgrade does.
    async fn restart(mut self) -> Result<Self> {
        self.trigger.pull();
        self.running.await??;
        // What its clock was ahead of is remembered, and is over by now.
        self.hands.ahead(20);
        let (trigger, shutdown) = Shutdown::by_hand();
        let listener = TcpListener::bind(self.address)?;
        self.running = run(&self.hands, &self.folder, listener, shutdown);
        self.trigger = trigger;
        Ok(self)
    }

    /// Ends the leader and says whether it went well.
    async fn end(self) -> Result<()> {
        self.trigger.pull();
        self.running.await?
    }

    /// Gives an order as the command line does.
    async fn order(&self, order: Order) -> Result<Said, Failure> {
        let folder = self.folder.clone();
        // Before that the command would do it in its own process, and the leader would hear of it a moment later.
        while UnixStream::connect(folder.socket()).is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::task::spawn_blocking(move || give(&folder, order)).await.context("the order broke down")?
    }

    /// An order that is carried out.
    async fn said(&self, order: Order) -> Result<Value> {
        self.order(order).await.map(|said| said.json).map_err(|failure| anyhow::anyhow!("{failure:?}"))
    }

    async fn machine(&self, command: MachineCommand) -> Result<Value> {
        self.said(Order::Machine(command)).await
    }

    /// `machine add NAME --role app`: its string.
    async fn invite(&self, name: &str, approve: bool) -> Result<JoinString> {
        let said = self
            .machine(MachineCommand::Add {
                name: name.parse()?,
                role: "app".parse()?,
                approve,
                ttl: "1h".parse()?,
                url: None,
                fields: Vec::new(),
            })
            .await?;
        Ok(said["join"].as_str().context("the line holds a string")?.parse()?)
    }

    /// A key that was carried to a machine by hand.
    async fn identity(&self, name: &str) -> Result<Arc<Keys>> {
        let out = self.held.path().join("unused");
        let said = self.machine(MachineCommand::Identity { name: name.parse()?, out }).await?;
        let key = &said["identity"]["keys"][0];
        let version = u32::try_from(key["version"].as_u64().context("a version")?)?;
        derived(name, version, &key["key"].as_str().context("a key")?.parse()?)
    }

    fn client(&self) -> Result<Client> {
        self.client_that_trusts(Trust::System)
    }

    fn client_that_trusts(&self, trust: Trust) -> Result<Client> {
        // A little ahead: what is dated in the first second of a leader's life is not taken.
        Ok(Client::new(Direction::ToLeader, self.hands.clock(2), TIMEOUTS, 1 << 20, trust)?)
    }

    fn origin(&self) -> Result<Origin> {
        Ok(format!("http://{}", self.address).parse()?)
    }

    /// Asks for the bundle of a role.
    async fn ask(&self, keys: &Arc<Keys>, role: &str, known: Option<&str>) -> Result<Answer, CallError> {
        let peer = Peer::new(self.origin().expect("the leader has an address"), Arc::clone(keys));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(routes::SEALED_BUNDLE));
        if let Some(known) = known {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_str(known).expect("a tag is ASCII"));
        }
        let client = self.client().expect("a client can be made");
        loop {
            let answer = client.get(&peer, &format!("/conf/{role}"), headers.clone()).await?;
            if code(&answer) != Some(Code::Starting) {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The bundle that these keys get, and its tag.
    async fn bundle(&self, keys: &Arc<Keys>) -> Result<(VerifiedBundle, String)> {
        let answer = self.ask(keys, "app", None).await?;
        ensure!(answer.status == 200, "{} {:?}", answer.status, answer.problem());
        let revision = answer.header(routes::CONF_REVISION).context("a revision")?.parse()?;
        let tag = answer.header(http::header::ETAG).context("a tag")?.to_owned();
        Ok((open_bundle(keys, &"app".parse()?, revision, &answer.body)?, tag))
    }

    /// Whether these keys still get an answer of the leader's, and which code it has; `None` for a bundle.
    async fn refused(&self, keys: &Arc<Keys>) -> Result<Option<Code>> {
        Ok(code(&self.ask(keys, "app", None).await?))
    }

    /// Uses a string, as the guest with this number.
    async fn join(&self, string: &JoinString, guest: u8) -> Result<Answer, CallError> {
        let client = self.client().expect("a client can be made");
        self.join_by(&client, string, guest).await
    }

    async fn join_by(&self, client: &Client, string: &JoinString, guest: u8) -> Result<Answer, CallError> {
        let peer = Peer::new(string.leader.clone(), Arc::new(string.keys()));
        let body = serde_json::to_vec(&enrolment(guest)).expect("it can be said as JSON");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        client.post(&peer, routes::ENROLL, headers, Bytes::from(body)).await
    }

    /// As a follower does: until it has its key.
    async fn enrol(&self, string: &JoinString, guest: u8) -> Result<Arc<Keys>> {
        let enrolled = opened(string, guest, &self.join(string, guest).await?)?;
        derived(string.machine.as_str(), enrolled.version, &enrolled.key)
    }

    async fn status(&self) -> Result<Value> {
        self.said(Order::Status).await
    }

    /// What the audit log tells, without times.
    fn deeds(&self) -> Result<Vec<String>> {
        let entries = crate::audit::entries(&self.folder)?.into_iter();
        Ok(entries.map(|entry| format!("{} {}", entry.what, entry.object)).collect())
    }
}

/// A leader on a thread and a runtime of its own, as a daemon has them.
fn run(hands: &Hands, folder: &Folder, listener: TcpListener, shutdown: Shutdown) -> JoinHandle<Result<()>> {
    let (clock, folder) = (hands.clock(0), folder.clone());
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Box::pin(super::serve_by(clock, OPEN_FILES, folder, listener, shutdown)))
    })
}

/// An address that nobody uses and no other test asks for: this process has a loopback address of its own.
fn free() -> Result<SocketAddr> {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ok(TcpListener::bind((Ipv4Addr::new(127, 100 + high % 100, low, 2), 0))?.local_addr()?)
}

fn code(answer: &Answer) -> Option<Code> {
    answer.problem().map(|problem| problem.code)
}

fn enrolment(guest: u8) -> Enrolment {
    Enrolment::new([guest; 16], &[guest; 32])
}

fn opened(string: &JoinString, guest: u8, answer: &Answer) -> Result<Enrolled> {
    ensure!(answer.status == 200, "{} {:?}", answer.status, answer.problem());
    Ok(open_enrolled(&string.keys(), &enrolment(guest), &[guest; 32], &answer.body)?)
}

fn derived(machine: &str, version: u32, key: &EnrolmentKey) -> Result<Arc<Keys>> {
    let machine: MachineName = machine.parse()?;
    Ok(Arc::new(Keys::derive(KeyId { machine, version }, key)))
}

/// One plain request; status and body of the answer.
async fn plain(address: SocketAddr, path: &str, headers: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    Ok((head.split(' ').nth(1).context("an answer has a status")?.parse()?, body.to_owned()))
}
