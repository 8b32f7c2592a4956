//! `machine …`: who belongs to the platform, and with which keys.

pub(crate) mod identity;

use anyhow::Context as _;
use pconf_bundle::UnixSeconds;
use pconf_names::{MachineName, RoleName};
use pconf_platform::{EditError, add_machine, remove_machine};
use pconf_render::{Scene, SceneMachine};
use pconf_wire::Clock;
use serde_json::{Map, Value, json};

use crate::audit::{self, Change};
use crate::cli::MachineCommand;
use crate::folder::Folder;
use crate::inputs::{Inputs, Missing, Reader, read_platform};
use crate::keys::{self, KeyRing};
use crate::orders::Actor;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder, command: MachineCommand, actor: &Actor) -> Result<Said, Failure> {
    match command {
        MachineCommand::Add { name, role, url, fields } => add(folder, &name, &role, url.as_deref(), &fields, actor),
        MachineCommand::List => list(folder),
        MachineCommand::Identity { name, .. } => identity::issue(folder, &name, actor),
        MachineCommand::Remove { name } => remove(folder, &name, actor),
    }
}

fn add(
    folder: &Folder,
    name: &MachineName,
    role: &RoleName,
    url: Option<&str>,
    fields: &[String],
    actor: &Actor,
) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let text = read_platform(folder)?;
    let mut declared = false;
    match add_machine(&text, name, role, url, &parse_fields(fields)?) {
        Ok(edited) => {
            // The edited text has to be good before it replaces the admin's: the key comes first, so that a leader that
            // publishes at once finds it.
            let scene = Reader::default().read_as(folder, edited.clone(), Missing::Imagine)?.scene;
            audit::append(folder, actor, "machine.add", name.as_str(), Change::default())?;
            keys::change(folder, name, |ring| Ok(ring.issue(pconf_wire::enrolment_key()?, now())))?;
            folder.replace_platform(&text, &edited)?;
            declared = true;
            instruct(folder, name, &scene, declared)
        }
        Err(EditError::AlreadyThere(_)) => {
            let scene = Reader::default().read_as(folder, text, Missing::Imagine)?.scene;
            let there = scene.machines().get(name).context("the machine is there and is not")?;
            if there.role != *role {
                return Err(anyhow::anyhow!(
                    "machine `{name}` is declared already, with the role {}: remove it first",
                    there.role
                )
                .into());
            }
            instruct(folder, name, &scene, declared)
        }
        Err(error) => Err(error.into()),
    }
}

/// Prints what to run on the machine. The key travels in a here-document: it shows in no process list.
fn instruct(folder: &Folder, name: &MachineName, scene: &Scene, declared: bool) -> Result<Said, Failure> {
    let machine = scene.machines().get(name).context("the machine was declared a moment ago")?;
    let (version, key) = keys::change(folder, name, |ring| {
        if ring.spoken().is_none() {
            ring.issue(pconf_wire::enrolment_key()?, now());
        }
        let spoken = ring.spoken().context("a key was issued a moment ago")?;
        Ok((spoken.version, spoken.key.clone()))
    })?;
    let leader = leader_url(folder, machine);
    let mut config = Map::new();
    config.insert("leader".into(), leader.clone().into());
    config.insert("machine".into(), name.as_str().into());
    config.insert("role".into(), machine.role.as_str().into());
    config.insert("key".into(), key.to_text().as_str().into());
    config.insert("keyVersion".into(), version.into());
    config.insert("root".into(), machine.text("root").unwrap_or("/srv/platform").into());
    config.insert("urls".into(), machine.text("url").into_iter().collect());
    let config = Value::Object(config);
    let verb = if declared { "declared in platform.json" } else { "declared already" };
    let text = format!(
        "machine {name}  role {}  {verb}\n\n\
         On {name}, as root (this holds its key: treat it as a password):\n\n\
         umask 077 && mkdir -p /etc/config-follower && cat > /etc/config-follower/config-follower.json <<'END'\n{config:#}\nEND\n\
         config-follower run --config /etc/config-follower/config-follower.json\n",
        machine.role,
    );
    let json = json!({ "ok": true, "machine": name, "role": machine.role, "declared": declared, "follower": config });
    Ok(Said { text, json })
}

/// How a machine reaches the leader: as this leader is configured, else as the platform derives it.
fn leader_url(folder: &Folder, machine: &SceneMachine) -> String {
    let configured = folder.config().urls.first().map(String::as_str);
    configured.or(machine.text("leader")).map_or_else(|| format!("http://{}", folder.config().listen), str::to_owned)
}

fn list(folder: &Folder) -> Result<Said, Failure> {
    let Inputs { scene, .. } = Reader::default().read(folder, Missing::Imagine)?;
    let width = scene.machines().keys().map(|name| name.as_str().len()).max().unwrap_or_default().max("MACHINE".len());
    let mut text = format!("{:width$}  {:12}  {:4}  URL\n", "MACHINE", "ROLE", "KEY");
    let mut machines = Vec::new();
    let (keys, _) = KeyRing::default().reread(folder, Clock::system().now());
    for (name, machine) in scene.machines() {
        let (url, has_key) = (machine.text("url"), keys.of(name).is_some_and(|held| held.spoken().is_some()));
        let key = if has_key { "yes" } else { "no" };
        text += &format!("{:width$}  {:12}  {key:4}  {}\n", name.as_str(), machine.role.as_str(), url.unwrap_or("-"));
        machines.push(json!({ "machine": name, "role": machine.role, "url": url, "key": has_key }));
    }
    Ok(Said { text, json: json!({ "ok": true, "machines": machines }) })
}

fn remove(folder: &Folder, name: &MachineName, actor: &Actor) -> Result<Said, Failure> {
    let _alone = folder.lock()?;
    let text = read_platform(folder)?;
    let edited = remove_machine(&text, name)?;
    Reader::default().read_as(folder, edited.clone(), Missing::Imagine)?;
    audit::append(folder, actor, "machine.remove", name.as_str(), Change::default())?;
    keys::change(folder, name, |ring| Ok(ring.revoke()))?;
    folder.replace_platform(&text, &edited)?;
    let text = format!(
        "machine {name}  removed from platform.json; its follower is refused from now on\n\
         Its files stay where they are; stop its follower with ./stop-config-follower.\n"
    );
    Ok(Said { text, json: json!({ "ok": true, "machine": name }) })
}

fn now() -> UnixSeconds {
    Clock::system().now().wall
}

/// `ip=203.0.113.23` or `bindIp=null`: a value that reads as JSON is JSON, any other is text.
fn parse_fields(fields: &[String]) -> anyhow::Result<Map<String, Value>> {
    let parse = |field: &String| {
        let (name, value) = field.split_once('=').with_context(|| format!("`{field}` is no FIELD=VALUE"))?;
        Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
    };
    fields.iter().map(parse).collect()
}
