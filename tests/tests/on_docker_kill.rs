//! The follower is killed at random instants, again and again, on a real engine: whatever it was doing, the next one
//! finishes it, nobody suffers more than the kills explain, and status never says more than is true.
#![allow(clippy::print_stderr, reason = "the seed and the count are worth telling")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use promises::{Engine, ImageName, Platform, TemplateSet, eventually, get};
use serde_json::{Value, json};

/// As many kills as fit into the time, and no more than so many.
const MOST: usize = 300;

/// A machine that is so busy that it does not get to these says nothing.
const FEWEST: usize = 60;

/// How long killing goes on.
const BUDGET: Duration = Duration::from_secs(70);

/// The files of the set; all of them hold the number of the revision.
const FILES: [&str; 3] = ["conf/one", "conf/two", "conf/three"];

/// Numbers that look random, from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A container that reads the files, in the host's network: where it answers does not change with a start.
struct Reader {
    name: String,
    address: SocketAddr,
    deed: &'static str,
}

impl Reader {
    /// The number that each file had when it was read.
    fn taken(&self) -> Result<Vec<u32>> {
        let numbers = FILES.iter().map(|file| {
            let file = file.strip_prefix("conf").unwrap_or(file);
            Ok(get(self.address, &format!("/files/app/conf{file}"))?.text().trim().parse()?)
        });
        numbers.collect()
    }
}

fn start_readers(engine: &Engine, platform: &mut Platform) -> Result<Vec<Reader>> {
    let folder = platform.machine("a")?.root().join("conf");
    let mount = format!("{}:/app/conf:ro", folder.display());
    let ways = [
        ("restarts", "start", "restart"),
        ("reloads", "SIGHUP", "{\"reload\":\"SIGHUP\"}"),
        ("held", "start", "stop-first"),
        ("slow", "start", "restart"),
    ];
    let readers = (200..).zip(ways).map(|(number, (name, deed, way))| {
        let address = SocketAddr::new(platform.network().address(number).into(), 7777);
        let (label, listen) = (format!("config-follower.on-change={way}"), format!("STANDIN_LISTEN={address}"));
        let mut options = vec!["--network", "host", "--volume", &mount, "--label", &label, "--env", &listen];
        if name == "slow" {
            // It leaves the polite signal alone, and is killed after a second.
            options.extend(["--stop-signal", "SIGTERM", "--stop-timeout", "1"]);
        }
        let name = engine.run(name, ImageName::StandIn, &options)?;
        Ok(Reader { name, address, deed })
    });
    readers.collect()
}

/// What the files say.
fn on_disk(platform: &mut Platform) -> Result<Vec<u32>> {
    FILES.iter().map(|file| Ok(platform.machine("a")?.read(file)?.trim().parse()?)).collect()
}

/// Whether what `status` claims is true, at a moment when nobody may be at work but the engine.
fn check_claims(platform: &mut Platform, readers: &[Reader], numbers: &BTreeMap<String, u32>) -> Result<()> {
    let told = platform.machine("a")?.command("status")?.args(["--output", "json"]).succeed()?;
    let status: Value = serde_json::from_str(&told)?;
    let number = |claim: &Value| claim.as_str().and_then(|revision| numbers.get(revision)).copied();
    if let Some(claimed) = number(&status["onDisk"]) {
        let found = on_disk(platform)?;
        ensure!(found.iter().all(|found| *found == claimed), "on disk is {found:?}, claimed is {claimed}: {status:#}");
    }
    let standing: BTreeMap<_, _> = status["standing"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one["service"].as_str().unwrap_or_default(), number(&one["running"])))
        .collect();
    let of_all = number(&status["running"]);
    for reader in readers {
        // One that is being started by the engine cannot be asked; what it has taken never grows old.
        let Ok(taken) = reader.taken() else { continue };
        let least = taken.iter().min().copied();
        let claimed = standing.get(reader.name.as_str()).copied().flatten().max(of_all);
        ensure!(claimed <= least, "{} has taken {taken:?}, claimed is {claimed:?}: {status:#}", reader.name);
    }
    Ok(())
}

#[test]
fn killed_at_random_instants_it_always_gets_there_and_never_claims_more_than_is_true() -> Result<()> {
    let seed = match std::env::var("PCONF_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() % u128::from(u64::MAX))? | 1,
    };
    eprintln!("PCONF_SEED={seed}");
    let mut dice = Dice(seed);
    let engine = Engine::here()?;
    let mut set = TemplateSet::little();
    for file in FILES {
        set = set.text(&format!("app/{file}.tera"), "{{ settings.number | default(value=0) | json }}\n");
    }
    let mut platform = Platform::little(&set, &["a"])?;
    platform.machine("a")?.configure("docker", json!("/var/run/docker.sock"))?;
    platform.start()?;
    let readers = start_readers(&engine, &mut platform)?;
    let mut numbers = BTreeMap::from([(platform.revision()?, 0)]);
    platform.machine("a")?.stop()?;
    let paths: Vec<String> = platform.machine("a")?.tree()?.into_keys().collect();

    let (begun, mut kills) = (Instant::now(), 0);
    while kills < MOST && begun.elapsed() < BUDGET {
        let number = u32::try_from(numbers.len())?;
        let since = engine.moment()?;
        let revision = platform.publish(|platform| platform.set("/number", json!(number)))?;
        numbers.insert(revision, number);
        let here = 4 + usize::try_from(dice.below(16))?;
        for _ in 0..here {
            // Half of them in the first moments, where most is decided.
            let instant = if dice.below(2) == 0 { dice.below(80) } else { dice.below(500) };
            platform.machine("a")?.start()?;
            thread::sleep(Duration::from_millis(instant));
            platform.machine("a")?.kill()?;
            check_claims(&mut platform, &readers, &numbers)
                .with_context(|| format!("killed after {instant} ms, seed {seed}{}", platform.logs()))?;
        }
        kills += here;
        platform.machine("a")?.start()?;
        platform.converged()?;
        let context = || format!("number {number}, seed {seed}{}", platform.logs());
        let deeds = engine.deeds_since(since).with_context(context)?;
        for reader in &readers {
            eventually(&format!("{} runs with the new files", reader.name), || {
                Ok((reader.taken()? == [number; 3]).then_some(()))
            })
            .with_context(context)?;
            let done = deeds.iter().filter(|(name, deed)| {
                let deed = if deed == "kill 1" { "SIGHUP" } else { deed };
                *name == reader.name && deed == reader.deed
            });
            let done = done.count();
            ensure!((1..=here + 1).contains(&done), "{}: {done} times {}{}", reader.name, reader.deed, context());
        }
        platform.machine("a")?.stop()?;
        assert_eq!(on_disk(&mut platform)?, [number; 3]);
        assert_eq!(platform.machine("a")?.tree()?.into_keys().collect::<Vec<_>>(), paths, "nothing is left behind");
        check_claims(&mut platform, &readers, &numbers)?;
    }
    let revisions = numbers.len() - 1;
    eprintln!("{kills} kills over {revisions} revisions in {} s", begun.elapsed().as_secs());
    ensure!(kills >= FEWEST, "only {kills} kills in {} s", begun.elapsed().as_secs());
    Ok(())
}
