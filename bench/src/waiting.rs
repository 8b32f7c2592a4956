//! Ten thousand followers that wait at one leader: what they cost while nothing happens, how soon all of them have what is
//! new, and how they come back to a leader that was away. They are one process with real keys and signatures.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderValue, StatusCode};
use pconf_plan::{Urgency, wait};
use promises::{Platform, TemplateSet, get};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::asking::ask;
use crate::signed::Asker;
use crate::statistics::{Samples, megabytes, milliseconds};
use crate::table::Table;

/// How many there are, unless `BENCH_WAITING` says otherwise.
const FOLLOWERS: usize = 10_000;
/// Everybody asks anew once in that time.
const IDLE: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_mins(1);

/// When somebody was given a revision.
pub(crate) type Deliveries = Arc<Mutex<Vec<(String, Instant)>>>;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let followers = match std::env::var("BENCH_WAITING") {
        Ok(number) => number.parse().context("`BENCH_WAITING` is a number")?,
        Err(_) => FOLLOWERS,
    };
    // In memory: ten thousand keys are made, one after the other.
    let mut platform = Platform::little_below(Path::new("/dev/shm"), &TemplateSet::little(), &[])?;
    let metrics = SocketAddr::new(platform.address().ip(), 7002);
    platform.configure_leader("metrics", json!({ "listen": metrics }))?;
    let askers = askers(&mut platform, followers)?;
    platform.start_leader()?;
    // Requests of the second in which the leader started count as older than it.
    thread::sleep(Duration::from_secs(2));

    let name = |what: &str| format!("{followers} waiting followers: {what}");
    table.row(&name("leader resident before they come"), megabytes(platform.leader()?.resident()?), None, "");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let deliveries = Deliveries::default();
    for asker in askers {
        runtime.spawn(follow(asker, platform.address(), Arc::clone(&deliveries)));
    }
    all_wait(metrics, followers)?;

    let spent = worked(platform.leader()?.id())?;
    thread::sleep(IDLE);
    let spent = worked(platform.leader()?.id())?.saturating_sub(spent);
    let share = 100.0 * spent.as_secs_f64() / IDLE.as_secs_f64();
    table.row(&name("idle"), format!("{share:.1} % of a core"), None, "< 5 % of a core");
    table.row(&name("leader resident"), megabytes(platform.leader()?.resident()?), None, "<= 200 MB");

    let (latencies, largest) = one_publish(&mut platform, &deliveries, followers)?;
    let figures = format!("p50 {} p99 {}", milliseconds(latencies.median()), milliseconds(latencies.percentile(99)));
    table.row(&name("saved to delivered to all"), figures, None, "p99 <= 2 s");
    table.row(&name("leader resident while delivering"), megabytes(largest), None, "<= 200 MB");

    // Let all of them be back before the storm.
    all_wait(metrics, followers)?;
    platform.stop_leader()?;
    let start = Instant::now();
    platform.spawn_leader()?;
    let mut largest = 0;
    while waiters(metrics).unwrap_or_default() < followers {
        ensure!(start.elapsed() < PATIENCE, "only {} are back", waiters(metrics)?);
        largest = largest.max(platform.leader()?.resident()?);
        thread::sleep(Duration::from_millis(50));
    }
    table.row(&name("leader restarted to all back"), milliseconds(start.elapsed()), None, "<= 30 s");
    table.row(&name("leader resident in the storm"), megabytes(largest), None, "<= 200 MB");
    Ok(())
}

/// Declares so many machines without an address, and makes a key for each.
fn askers(platform: &mut Platform, followers: usize) -> Result<Vec<Asker>> {
    let names: Vec<String> = (0..followers).map(|number| format!("m{number}")).collect();
    platform.edit(|document| {
        for name in &names {
            document["machines"][name] = json!({ "role": "app" });
        }
    })?;
    with_keys(platform, &names, "app")
}

/// Makes a key for each of these machines.
pub(crate) fn with_keys(platform: &Platform, names: &[String], role: &str) -> Result<Vec<Asker>> {
    let file = platform.path("identity.json");
    let mut askers = Vec::new();
    for name in names {
        platform.command()?.args(["machine", "identity", name, "--out"]).arg(&file).succeed()?;
        let identity: Value = serde_json::from_slice(&fs::read(&file)?)?;
        fs::remove_file(&file)?;
        let key = &identity["keys"][0];
        let version = key["version"].as_u64().context("a version")?;
        let key = (key["key"].as_str().context("a key")?.to_owned(), u32::try_from(version)?);
        askers.push(Asker::new(platform.address(), name, role, &key)?);
    }
    Ok(askers)
}

/// Saves a change; how long after it everybody had it, and how large the leader became meanwhile.
fn one_publish(platform: &mut Platform, deliveries: &Deliveries, followers: usize) -> Result<(Samples, u64)> {
    let before = platform.revision()?;
    deliveries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let saved = Instant::now();
    platform.set("/greeting", json!("for everybody"))?;
    let mut largest = 0;
    loop {
        ensure!(saved.elapsed() < PATIENCE, "not everybody has what is new");
        largest = largest.max(platform.leader()?.resident()?);
        let delivered = deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let news = delivered.iter().filter(|(revision, _)| *revision != before);
        let took: Vec<Duration> = news.map(|(_, at)| at.duration_since(saved)).collect();
        drop(delivered);
        if took.len() >= followers {
            return Ok((Samples::of(took), largest));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// How long a process has worked so far, with those of its threads that have ended since (proc(5), in hundredths).
fn worked(process: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, numbers) = text.rsplit_once(')').context("a name in brackets")?;
    let ticks = numbers.split_whitespace().skip(11).take(2).map(|ticks| Ok(ticks.parse::<u64>()?));
    Ok(Duration::from_millis(10 * ticks.sum::<Result<u64>>()?))
}

pub(crate) fn all_wait(metrics: SocketAddr, followers: usize) -> Result<()> {
    let start = Instant::now();
    while waiters(metrics)? < followers {
        ensure!(start.elapsed() < PATIENCE, "only {} wait", waiters(metrics)?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// How many followers wait, as the leader tells monitors.
fn waiters(metrics: SocketAddr) -> Result<usize> {
    let text = get(metrics, "/metrics")?.text();
    let line = text.lines().find_map(|line| line.strip_prefix("config_leader_waiters "));
    Ok(line.context("the leader tells how many wait")?.parse()?)
}

/// As a follower does: asks, waits, asks again; after trouble, and when sent away early, after a pause with full jitter.
async fn follow(asker: Asker, leader: SocketAddr, deliveries: Deliveries) {
    let (mut asker, mut failures) = (asker, 0);
    loop {
        // At the start, too: nobody starts ten thousand machines at once.
        let urgency = Urgency::Again { failures: failures + 1 };
        tokio::time::sleep(wait(POLL, urgency, getrandom::u32().unwrap_or_default())).await;
        let talked = talk(&mut asker, leader, &deliveries).await;
        failures = if talked.is_ok() { 0 } else { failures + 1 };
    }
}

/// Asks over one connection for as long as that goes well.
async fn talk(asker: &mut Asker, leader: SocketAddr, deliveries: &Deliveries) -> Result<()> {
    let mut connection = TcpStream::connect(leader).await?;
    connection.set_nodelay(true)?;
    loop {
        let start = Instant::now();
        let answer = ask(&mut connection, &asker.waiting_request()?.0).await?;
        match answer.status {
            // Sent away: the leader ends.
            StatusCode::NOT_MODIFIED if start.elapsed() < Duration::from_secs(50) => return Ok(()),
            StatusCode::NOT_MODIFIED => {}
            StatusCode::OK => {
                let revision = answer.header("conf-revision")?.to_owned();
                deliveries.lock().unwrap_or_else(PoisonError::into_inner).push((revision, Instant::now()));
                *asker = asker.clone().knowing(HeaderValue::from_str(answer.header("etag")?)?);
            }
            status => bail!("{status}"),
        }
    }
}
