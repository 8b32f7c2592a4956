//! The machines that the matrix begins with, and what the leader wants of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, TemplateSet, eventually};
use scripted_engine::{Script, ScriptedEngine, Spec, State};
use serde_json::{Value, json};

use crate::follower::Follower;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// A revision changes, adds and removes files and services.
    Forward,
    /// The same revision breaks a service, so the machine goes back.
    Back,
    /// A follower starts on an empty machine.
    First,
    /// Files are no longer as they were left, and are put right.
    Drift,
}

/// One machine that stands before its story, to be copied for every fault in it.
pub(crate) struct Scenario {
    pub(crate) story: Story,
    pub(crate) platform: Platform,
    /// The revision that the machine runs, and the one that the leader wants it to run.
    pub(crate) before: Option<String>,
    pub(crate) wanted: String,
    /// The machine's folder.
    folder: PathBuf,
    configuration: Value,
    identity: Vec<u8>,
}

const PROJECT: &str = "box";

impl Scenario {
    pub(crate) fn new(story: Story) -> Result<Self> {
        let mut platform = Platform::little(&set(Level::First, story)?, &["a"])?;
        platform.start_leader()?;
        let machine = platform.machine("a")?;
        machine.identify()?;
        let (text, identity) = (fs::read(machine.configuration_file())?, fs::read(machine.identity_file())?);
        let folder = platform.path("before");
        let wanted = eventually("the first revision is served", || Ok(Some(platform.revision()?)))
            .with_context(|| platform.logs())?;
        let configuration = serde_json::from_slice(&text)?;
        let mut scenario = Self { story, platform, before: None, wanted, folder, configuration, identity };
        fs::create_dir(&scenario.folder)?;
        if story == Story::First {
            return Ok(scenario);
        }
        let follower = scenario.follower(&scenario.folder, true)?;
        follower.succeed()?;
        add_containers(&follower.engine, &follower.root());
        scenario.wanted = scenario.platform.publish(|platform| platform.write_set(&set(Level::Before, story)?))?;
        follower.succeed()?;
        follower.succeed()?;
        scenario.before = Some(scenario.wanted.clone());
        if story != Story::Drift {
            scenario.wanted = scenario.platform.publish(|platform| platform.write_set(&set(Level::Wanted, story)?))?;
        }
        Ok(scenario)
    }

    /// A copy of the machine, with an engine of its own.
    pub(crate) fn copy(&self, name: &str) -> Result<Follower> {
        let folder = self.platform.path(name);
        fs::create_dir(&folder)?;
        if self.story == Story::First {
            let follower = self.follower(&folder, true)?;
            // It waits for its first configuration.
            follower.engine.add("web", &[(&follower.root().join("web/conf"), "/conf")]);
            return Ok(follower);
        }
        for part in ["root", "state"] {
            let copied =
                std::process::Command::new("cp").arg("-a").arg(self.folder.join(part)).arg(&folder).status()?;
            ensure!(copied.success(), "cannot copy the machine");
        }
        let follower = self.follower(&folder, true)?;
        let root = follower.root();
        for service in ["maker", "gone"] {
            follower.engine.add_of_compose(PROJECT, &root.join("pryv.yml"), service)?;
        }
        add_containers(&follower.engine, &root);
        if self.story == Story::Drift {
            fs::write(root.join("web/conf/web.yml"), "web: edited by hand\n")?;
            fs::write(root.join("proxy/proxy.conf"), "proxy: edited by hand\n")?;
            fs::write(root.join("store/conf/store.conf"), "")?;
            fs::remove_file(root.join("judge/conf/judge.conf"))?;
            fs::set_permissions(root.join("web/conf/mode.txt"), fs::Permissions::from_mode(0o666))?;
            fs::remove_dir(root.join("app/data"))?;
        }
        Ok(follower)
    }

    /// A follower of an empty folder that writes files only: what a revision is.
    pub(crate) fn of_files(&self, name: &str) -> Result<Follower> {
        let folder = self.platform.path(name);
        fs::create_dir(&folder)?;
        self.follower(&folder, false)
    }

    fn follower(&self, folder: &Path, has_engine: bool) -> Result<Follower> {
        let engine = ScriptedEngine::start(&folder.join("docker.sock"))?;
        let mut configuration = self.configuration.clone();
        for (name, path) in [("root", "root"), ("state", "state"), ("docker", "docker.sock")] {
            configuration[name] = json!(folder.join(path));
        }
        if !has_engine {
            configuration["docker"] = Value::Null;
        }
        if self.story == Story::Drift {
            configuration["drift"] = json!("repair");
        }
        engine.script("web", [Script::DiesIf { contains: "broken".to_owned() }]);
        Follower::new(folder, engine, &configuration, &self.identity).context("cannot make a follower")
    }
}

/// Containers that nobody made with compose.
fn add_containers(engine: &ScriptedEngine, root: &Path) {
    for name in ["web", "store", "judge", "scribe", "idle", "other"] {
        engine.add(name, &[(&root.join(name).join("conf"), "/conf")]);
    }
    engine.add_with(Spec {
        name: "proxy".to_owned(),
        mounts: vec![(root.join("proxy/proxy.conf"), "/etc/proxy.conf".into())],
        has_healthcheck: true,
        ..Spec::default()
    });
    engine.set_state("idle", State::Exited(0));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// What ran before `Before`: so there is a bundle to forget.
    First,
    Before,
    Wanted,
}

/// The platform's set. Every way to take a change is somebody's, and what is not changed is somebody's too.
fn set(level: Level, story: Story) -> Result<TemplateSet> {
    let is_wanted = level == Level::Wanted || story == Story::First;
    let text = |name: &str| format!("{name}: {level:?}\n");
    let web = if level == Level::Wanted && story == Story::Back { "web: broken\n".to_owned() } else { text("web") };
    let compose = format!(
        "services:\n{}{}",
        service("maker", level),
        service(if is_wanted { "added" } else { "gone" }, Level::Before)
    );
    // Its container is stopped before `Before`, so that nothing is owed to it when the story begins.
    let idle = if is_wanted { text("idle") } else { "idle: as ever\n".to_owned() };
    let set = TemplateSet::little()
        .compose("app", "pryv.yml", PROJECT)?
        .service("app", &json!({ "match": "*", "limit": 3 }))?
        .service("app", &json!({ "match": "proxy", "onChange": { "reload": "SIGHUP" }, "upstreams": ["maker"] }))?
        .service("app", &json!({ "match": "store", "onChange": "stop-first" }))?
        .service(
            "app",
            &json!({
                "match": "judge", "onChange": { "exec": ["judged", "reload"] }, "check": { "run": ["judged", "-t"] },
                "health": { "exec": ["judged", "ping"] }
            }),
        )?
        .service(
            "app",
            &json!({
                "match": "scribe", "onChange": { "exec": ["scribe", "reload"] },
                "check": { "exec": ["scribe", "-t", "{staged}"] }
            }),
        )?
        .edit("app/role.json", |role| {
            let mode = if is_wanted { "0600" } else { "0640" };
            if let Some(files) = role["files"].as_array_mut() {
                files.push(json!({ "match": "web/conf/mode.txt", "mode": mode }));
            }
        })?
        .text("app/pryv.yml", &compose)
        .text("app/web/conf/web.yml", &web)
        .text("app/web/conf/mode.txt", "the same\n")
        .text("app/proxy/proxy.conf", &text("proxy"))
        .text("app/maker/conf/maker.conf", &text("maker"))
        .text("app/store/conf/store.conf", &text("store"))
        .text("app/judge/conf/judge.conf", &text("judge"))
        .text("app/scribe/conf/scribe.conf", &text("scribe"))
        .text("app/idle/conf/idle.conf", &idle)
        .text("app/other/conf/other.conf", "nothing ever changes here\n");
    // A file comes with its folder, another one goes with its own.
    let (name, text) = if is_wanted { ("new", "new\n") } else { ("old", "old\n") };
    Ok(set.text(&format!("app/web/conf/{name}/{name}.yml"), text))
}

fn service(name: &str, level: Level) -> String {
    format!(
        "  {name}:\n    image: scripted\n    container_name: {name}\n    environment:\n      - LEVEL={level:?}\n    \
         volumes:\n      - ./maker/conf:/conf\n"
    )
}
