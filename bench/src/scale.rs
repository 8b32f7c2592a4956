//! A platform of a thousand machines: what its admin waits for, how its leader starts, and how soon everybody has a change.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use http::StatusCode;
use pconf_bundle::open_bundle;
use pconf_files::Root;
use promises::{Platform, TemplateSet, get};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::asking::ask;
use crate::signed::Asker;
use crate::start::until_listening;
use crate::statistics::{Samples, milliseconds};
use crate::table::Table;
use crate::waiting::{Deliveries, all_wait, with_keys};

const MACHINES: [u32; 3] = [10, 100, 1000];
const FOLLOWERS: usize = 1000;
const CHANGES: usize = 9;
const STARTS: usize = 9;
/// After a change the history is written, and nothing of it is to fall into the next one.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    for kind in ["Pryv", "little"] {
        let mut each = Vec::new();
        for machines in MACHINES {
            let mut fleet = Fleet::of(kind, machines)?;
            fleet.platform.start_leader()?;
            // Requests of the second in which the leader started count as older than it.
            thread::sleep(2 * QUIET);
            let (offered, rendered) = fleet.changes()?;
            let promised = if machines == 1000 { "<= 1 s" } else { "" };
            let name = |what: &str| format!("{machines} machines ({kind}): {what}");
            table.row(&name("rendered and judged, by the leader"), milliseconds(rendered), None, promised);
            table.row(&name("saved to offered"), milliseconds(offered.median()), None, promised);
            each.push(rendered.as_secs_f64() / f64::from(machines));
            if machines == 1000 {
                fleet.platform.stop_leader()?;
                let (listens, answers) = fleet.starts()?;
                table.row(&name("leader, start to listening"), milliseconds(listens.median()), None, "");
                let figure = milliseconds(answers.median());
                table.row(&name("leader, start to the first bundle"), figure, None, "<= 200 ms");
            }
        }
        let shown = |seconds: f64| format!("{:.0} us", seconds * 1e6);
        if let [few, .., many] = each[..] {
            let yardstick = (format!("one of 10 {}", shown(few)), many / few);
            table.row(&format!("one machine of 1000 ({kind}), rendered"), shown(many), Some(yardstick), "<= 1");
        }
    }
    followers(table)
}

/// A platform of many machines, none of them real, and the keys that they would have.
struct Fleet {
    platform: Platform,
    askers: Vec<Asker>,
    metrics: SocketAddr,
    /// What every machine's files say: a setting and how it changes.
    setting: &'static str,
    value: fn(usize) -> Value,
}

impl Fleet {
    fn of(kind: &str, machines: u32) -> Result<Self> {
        // In memory: thousands of keys and secrets are made, one after the other.
        let folder = Path::new("/dev/shm");
        let (mut platform, role) = match kind {
            "Pryv" => (Platform::shipped_below(folder, "pryv", None)?, "core"),
            _ => (Platform::little_below(folder, &TemplateSet::little(), &[])?, "app"),
        };
        let metrics = SocketAddr::new(platform.address().ip(), 7002);
        platform.configure_leader("metrics", json!({ "listen": metrics }))?;
        platform.configure_leader("urls", json!([format!("http://{}", platform.address())]))?;
        let names: Vec<String> = (0..machines).map(|number| format!("m{number}")).collect();
        platform.edit(|document| {
            for (number, name) in names.iter().enumerate() {
                let ip = format!("10.0.{}.{}", number / 250, number % 250 + 1);
                document["machines"][name] = match kind {
                    "Pryv" => json!({ "role": role, "ip": ip, "hosting": "hosting1" }),
                    _ => json!({ "role": role }),
                };
            }
        })?;
        let askers = with_keys(&platform, &names, role)?;
        let (setting, value): (_, fn(usize) -> Value) = match kind {
            "Pryv" => ("/uploads/maxSizeMb", |number| json!(100 + number)),
            _ => ("/greeting", |number| json!(format!("change {number}"))),
        };
        Ok(Self { platform, askers, metrics, setting, value })
    }

    /// Saves changes; how long until the first machine was given each, and how long one rendering of all took.
    fn changes(&mut self) -> Result<(Samples, Duration)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let before = renderings(self.metrics)?;
        let mut samples = Vec::new();
        for number in 0..CHANGES {
            thread::sleep(QUIET);
            samples.push(self.one_change(&runtime, number)?);
        }
        let (count, seconds) = renderings(self.metrics)?;
        let rendered = Duration::from_secs_f64((seconds - before.1) / (count - before.0));
        Ok((Samples::of(samples), rendered))
    }

    fn one_change(&mut self, runtime: &Runtime, number: usize) -> Result<Duration> {
        let (leader, asker) = (self.platform.address(), self.askers.first().context("there are machines")?);
        let asker = asker.clone();
        runtime.block_on(async {
            let mut connection = TcpStream::connect(leader).await?;
            let present = ask(&mut connection, &asker.request()?).await?;
            let knowing = asker.knowing(present.headers.get("etag").context("a version")?.clone());
            let (request, _) = knowing.waiting_request()?;
            let edit = async {
                tokio::time::sleep(QUIET / 4).await;
                let saved = Instant::now();
                self.platform.set(self.setting, (self.value)(number))?;
                anyhow::Ok(saved)
            };
            let (answer, saved) = tokio::try_join!(ask(&mut connection, &request), edit)?;
            ensure!(answer.status == StatusCode::OK, "{}", answer.status);
            Ok(saved.elapsed())
        })
    }

    /// Starts the leader again and again; how long until it listens, and until it has given the first machine its bundle.
    fn starts(&mut self) -> Result<(Samples, Samples)> {
        let leader = self.platform.address();
        let (mut listens, mut answers) = (Vec::new(), Vec::new());
        for asker in self.askers.iter().take(STARTS) {
            thread::sleep(QUIET);
            let start = Instant::now();
            self.platform.spawn_leader()?;
            listens.push(until_listening(leader, start)?);
            loop {
                let request = String::from_utf8(asker.request_of_the_next_second()?)?;
                let answer = promises::repeat(leader, request.trim_end(), "")?;
                if answer.status == 200 {
                    break answers.push(start.elapsed());
                }
                ensure!(start.elapsed() < PATIENCE, "{}", answer.text());
            }
            self.platform.stop_leader()?;
        }
        Ok((Samples::of(listens), Samples::of(answers)))
    }
}

/// How often the leader has rendered everything, and for how many seconds in all.
fn renderings(metrics: SocketAddr) -> Result<(f64, f64)> {
    let text = get(metrics, "/metrics")?.text();
    let value = |name: &str| -> Result<f64> {
        let prefix = format!("config_leader_render_duration_seconds_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        Ok(line.with_context(|| format!("the leader tells `{prefix}`"))?.parse()?)
    };
    Ok((value("count")?, value("sum")?))
}

/// A thousand followers in one process: real keys and signatures, answers verified, seals opened, files replaced and synced as
/// a follower does it, in memory. They wait at the leader, as machines do that it cannot reach.
fn followers(table: &mut Table) -> Result<()> {
    let mut platform = Platform::little_below(Path::new("/dev/shm"), &TemplateSet::little(), &[])?;
    let metrics = SocketAddr::new(platform.address().ip(), 7002);
    platform.configure_leader("metrics", json!({ "listen": metrics }))?;
    let names: Vec<String> = (0..FOLLOWERS).map(|number| format!("m{number}")).collect();
    platform.edit(|document| {
        for name in &names {
            document["machines"][name] = json!({ "role": "app" });
        }
    })?;
    let askers = with_keys(&platform, &names, "app")?;
    platform.start_leader()?;
    thread::sleep(2 * QUIET);

    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let written = Deliveries::default();
    let mut tasks = JoinSet::new();
    for (name, asker) in names.iter().zip(askers) {
        let root = platform.path("machines").join(name);
        fs::create_dir_all(root.join("app/conf"))?;
        tasks.spawn_on(follow(asker, platform.address(), root, Arc::clone(&written)), runtime.handle());
    }
    all_wait(metrics, FOLLOWERS)?;

    let mut samples = Vec::new();
    for number in 0..CHANGES {
        thread::sleep(QUIET);
        written.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let saved = Instant::now();
        platform.set("/greeting", json!(format!("change {number}")))?;
        while written.lock().unwrap_or_else(PoisonError::into_inner).len() < FOLLOWERS {
            if let Some(ended) = tasks.try_join_next() {
                return Err(ended?.err().unwrap_or_else(|| anyhow!("a follower ended")));
            }
            ensure!(saved.elapsed() < PATIENCE, "not everybody has what is new");
            thread::sleep(Duration::from_millis(20));
        }
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        samples.extend(written.iter().map(|(_, at)| at.duration_since(saved)));
        drop(written);
        all_wait(metrics, FOLLOWERS)?;
    }
    let samples = Samples::of(samples);
    let figures = format!("p50 {} p99 {}", milliseconds(samples.median()), milliseconds(samples.percentile(99)));
    let name = format!("saved to written, {FOLLOWERS} followers in one process, in memory");
    table.row(&name, figures, None, "p99 <= 250 ms");
    Ok(())
}

/// Waits at the leader, opens what comes and writes it below `root`; tells when it is on the disk.
async fn follow(mut asker: Asker, leader: SocketAddr, root: PathBuf, written: Deliveries) -> Result<()> {
    let (root, role) = (Root::open(&root)?, "app".parse()?);
    let mut connection = TcpStream::connect(leader).await?;
    connection.set_nodelay(true)?;
    loop {
        let (request, sent) = asker.waiting_request()?;
        let answer = ask(&mut connection, &request).await?;
        let head = sent.verify_head(answer.status, &answer.headers).map_err(|cause| anyhow!("{cause}"))?;
        match answer.status {
            StatusCode::NOT_MODIFIED => continue,
            StatusCode::OK => {}
            status => return Err(anyhow!("{status}")),
        }
        let revision = answer.header("conf-revision")?.to_owned();
        asker = asker.knowing(answer.headers.get("etag").context("a version")?.clone());
        let sealed = head.with_body(answer.body).map_err(|cause| anyhow!("{cause}"))?;
        let bundle = open_bundle(asker.keys(), &role, revision.parse()?, &sealed)?;
        for file in &bundle.files {
            root.write(&file.path, file.content.as_bytes(), file.owner, file.mode)?;
        }
        written.lock().unwrap_or_else(PoisonError::into_inner).push((revision, Instant::now()));
    }
}
