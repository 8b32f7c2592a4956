//! The shipped Pryv platform on one host: every machine on an address of its own, every image a local one.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::engine::{Engine, ImageName, Project};
use crate::platform::Platform;

/// Services whose programs are not at hand.
const STAND_INS: [&str; 12] = [
    "core",
    "hfs",
    "preview",
    "webhooks",
    "mfa",
    "mongodb",
    "influxdb",
    "register",
    "dns",
    "mail",
    "adminPanel",
    "webAuth",
];

/// Containers of the five-machine example, by machine.
pub const CONTAINERS: [(&str, usize); 5] = [("co1", 8), ("co2", 8), ("reg-master", 6), ("reg-slave", 3), ("static", 2)];

/// The five-machine example; with an engine, its followers restart what reads a changed file.
pub fn on_this_host(engine: Option<&Engine>) -> Result<Platform> {
    let mut platform = Platform::shipped("pryv", None)?;
    // The names that the platform derives for its leader are nobody's on this host.
    platform.configure_leader("urls", json!([format!("http://{}", platform.address())]))?;
    let network = platform.network();
    let prefix = engine.map_or_else(String::new, |engine| engine.prefix().to_owned());
    platform.edit(|document| {
        let settings = &mut document["settings"];
        // The socket of this host's log daemon is nobody's here.
        settings["audit"]["syslog"]["socket"] = Value::Null;
        let images = &mut settings["docker"]["images"];
        for service in STAND_INS {
            images[service] = json!(ImageName::StandIn.as_str());
        }
        images["nginx"] = json!(ImageName::Nginx.as_str());
        images["redis"] = json!(ImageName::Redis.as_str());
        for (number, (name, machine)) in (100..).zip(document["machines"].as_object_mut().into_iter().flatten()) {
            machine["ip"] = json!(network.address(number));
            machine["containerPrefix"] = json!(format!("{prefix}{name}_"));
            if machine.get("vpnIp").is_some() {
                machine["vpnIp"] = machine["ip"].clone();
            }
        }
    })?;
    if engine.is_some() {
        for (_, machine) in platform.machines() {
            machine.configure("docker", json!("/var/run/docker.sock"))?;
        }
    }
    Ok(platform)
}

/// Starts the services of every machine from the `pryv.yml` that its follower wrote.
pub fn start_services(engine: &Engine, platform: &mut Platform) -> Result<()> {
    let projects: Vec<_> = platform
        .machines()
        .map(|(name, machine)| Project::new(&format!("{}{name}", engine.prefix()), &machine.root().join("pryv.yml")))
        .collect();
    let starting: Vec<_> = projects.into_iter().map(|project| thread::spawn(move || project.up())).collect();
    for started in starting {
        started.join().map_err(|_| anyhow!("compose was not started"))??;
    }
    Ok(())
}

/// What takes a change without being started again.
const RELOADS: &str = "nginx";

/// The names of those containers that are to be started, each once.
#[must_use]
pub fn once_each(engine: &Engine, services: &[(&str, &[&str])]) -> BTreeMap<String, usize> {
    containers(engine, services, |service| service != RELOADS).map(|name| (name, 1)).collect()
}

/// The names of those containers that are to take a change while they run on.
#[must_use]
pub fn reloading(engine: &Engine, services: &[(&str, &[&str])]) -> BTreeSet<String> {
    containers(engine, services, |service| service == RELOADS).collect()
}

/// The containers that took a change while they ran on in the last cycle of their machine, by its report.
pub fn reloaded(platform: &Platform) -> Result<BTreeSet<String>> {
    let status = platform.status()?;
    let machines = status["machines"].as_object().into_iter().flatten();
    let services = machines.flat_map(|(_, machine)| machine["report"]["services"].as_array().into_iter().flatten());
    let reloaded = services.filter(|service| service["outcome"] == "reloaded");
    Ok(reloaded.filter_map(|service| service["name"].as_str().map(str::to_owned)).collect())
}

fn containers(
    engine: &Engine,
    services: &[(&str, &[&str])],
    is_meant: fn(&str) -> bool,
) -> impl Iterator<Item = String> {
    let prefix = engine.prefix();
    services.iter().flat_map(move |(machine, services)| {
        let meant = services.iter().filter(move |service| is_meant(service));
        meant.map(move |service| format!("{prefix}{machine}_{service}"))
    })
}
