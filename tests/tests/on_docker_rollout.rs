//! Twenty machines with a real container each, and a change that crashes the service of one of them: those after it are never
//! touched, those before it are as they were, and whoever applied the change hears of it.
#![allow(clippy::print_stderr, reason = "how long it took is worth telling")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use promises::{Engine, ImageName, Platform, TemplateSet, Tree};
use serde_json::json;

const MACHINES: usize = 20;

/// The limit of the gate, in seconds.
const LIMIT: u64 = 10;

/// What the whole way there and back may take beyond the gate's limit.
const BEYOND: Duration = Duration::from_secs(2);

fn name(number: usize) -> String {
    format!("m{number:02}")
}

struct Fleet {
    platform: Platform,
    /// Dropped after the followers.
    engine: Engine,
}

impl Fleet {
    fn start() -> Result<Self> {
        let engine = Engine::here()?;
        let set = TemplateSet::little()
            .text(
                "app/app/conf/service.conf.tera",
                "{% if machine.name == settings.victim %}standin:crash {% endif %}{{ settings.greeting | json }}\n",
            )
            .edit("app/role.json", |role| {
                role["services"] = json!([{ "match": "*", "health": { "running": 1 }, "limit": LIMIT }]);
            })?;
        let names: Vec<String> = (1..=MACHINES).map(name).collect();
        let mut platform = Platform::little(&set, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        platform.edit(|document| {
            document["settings"] = json!({ "victim": "nobody", "greeting": "first" });
            document["rollout"] =
                json!({ "publish": "manual", "canary": [name(1)], "batch": 6, "healthyFor": "1s", "failures": 0 });
        })?;
        for name in &names {
            platform.machine(name)?.configure("docker", json!("/var/run/docker.sock"))?;
        }
        platform.start()?;
        for name in &names {
            let mount = format!("{}:/app/conf:ro", platform.machine(name)?.root().join("app/conf").display());
            engine.run(name, ImageName::StandIn, &["--volume", &mount])?;
        }
        Ok(Self { platform, engine })
    }

    fn trees(&mut self) -> Result<Vec<Tree>> {
        (1..=MACHINES).map(|number| self.platform.machine(&name(number))?.tree()).collect()
    }

    /// Saves a change that crashes the service of that machine, and applies it: how long that took, and the starts.
    fn break_at(&mut self, victim: usize, greeting: &str) -> Result<(Duration, BTreeMap<String, usize>)> {
        self.platform.edit(|document| {
            document["settings"] = json!({ "victim": name(victim), "greeting": greeting });
        })?;
        let (since, begun) = (self.engine.moment()?, Instant::now());
        let ended = self.platform.command()?.arg("apply").end()?;
        let took = begun.elapsed();
        ensure!(ended.code == Some(3), "{ended:?}\n{}", self.platform.logs());
        ensure!(ended.errors.contains(&name(victim)) && ended.errors.contains("exited with code 1"), "{ended:?}");
        self.platform.converged()?;
        let starts = self.engine.starts_since(since)?;
        let starts = starts.into_iter().map(|(container, times)| {
            let name = container.strip_prefix(self.engine.prefix()).unwrap_or(&container);
            (name.to_owned(), times)
        });
        Ok((took, starts.collect()))
    }
}

/// Content, owner and mode of everything, whenever it was written.
fn shown(trees: &[Tree]) -> Vec<String> {
    trees.iter().map(|tree| format!("{tree:?}")).collect()
}

/// So many starts of each of these machines' containers.
fn starts(machines: std::ops::RangeInclusive<usize>) -> BTreeMap<String, usize> {
    machines.map(|number| (name(number), 2)).collect()
}

#[test]
fn what_crashes_one_machine_of_twenty_reaches_none_after_it() -> Result<()> {
    let mut fleet = Fleet::start()?;
    let before = fleet.trees()?;

    // On the canary: there and back, and nobody else.
    let (took, seen) = fleet.break_at(1, "second")?;
    eprintln!("the canary was back after {} ms, with a limit of {LIMIT} s", took.as_millis());
    ensure!(took < Duration::from_secs(LIMIT) + BEYOND, "{took:?}");
    assert_eq!(seen, starts(1..=1), "{}", fleet.platform.logs());
    let back = fleet.trees()?;
    assert_eq!(shown(&back), shown(&before));
    // Not even written again.
    assert_eq!(back[1..], before[1..]);

    // On the seventh: those before it went there and back, those after it were never told.
    let (_, seen) = fleet.break_at(7, "third")?;
    assert_eq!(seen, starts(1..=7), "{}", fleet.platform.logs());
    let back = fleet.trees()?;
    assert_eq!(shown(&back), shown(&before));
    assert_eq!(back[7..], before[7..]);

    // Without the fault it goes through.
    fleet.platform.edit(|document| document["settings"] = json!({ "victim": "nobody", "greeting": "fourth" }))?;
    let since = fleet.engine.moment()?;
    fleet.platform.command()?.arg("apply").succeed().with_context(|| fleet.platform.logs())?;
    fleet.platform.converged()?;
    assert_eq!(fleet.engine.starts_since(since)?.values().copied().collect::<Vec<_>>(), [1; MACHINES]);
    for number in 1..=MACHINES {
        assert_eq!(fleet.platform.machine(&name(number))?.read("app/conf/service.conf")?, "\"fourth\"\n");
    }
    Ok(())
}
