//! The core decides and never touches the world, and each heavy dependency has one door.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What the core may be built of: its own crates, and libraries that compute.
const PURE: [&str; 26] = [
    "annotate-snippets",
    "aws-lc-rs",
    "base64",
    "chacha20poly1305",
    "deser-hjson",
    "globset",
    "hkdf",
    "hmac",
    "http",
    "jsonc-parser",
    "jsonschema",
    "pconf-bundle",
    "pconf-names",
    "pconf-platform",
    "pconf-render",
    "saphyr",
    "serde",
    "serde_json",
    "sha2",
    "similar",
    "strsim",
    "subtle",
    "tera",
    "thiserror",
    "x25519-dalek",
    "zeroize",
];

/// The normal dependencies of every package that a build for this platform contains.
fn dependencies() -> Result<BTreeMap<String, BTreeSet<String>>> {
    // The metadata name optional dependencies too; the tree has those that are built.
    let tree = cargo(&["tree", "--workspace", "--locked", "--edges=normal,build", "--prefix=none", "--format={p}"])?;
    let built: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--locked"])?)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let normal = |dep: &Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    let nodes = list(&metadata["resolve"]["nodes"]);
    let found = nodes.iter().map(|node| {
        let deps = list(&node["deps"]);
        let deps = deps.iter().filter(|dep| normal(dep)).filter_map(|dep| names.get(&text(&dep["pkg"])).cloned());
        Some((names.get(&text(&node["id"]))?.clone(), deps.filter(|name| built.contains(name.as_str())).collect()))
    });
    let found = found.filter(|found| found.as_ref().is_none_or(|(name, _)| built.contains(name.as_str())));
    found.collect::<Option<_>>().context("cargo names a package that it does not list")
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(folder).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What `deny.toml` bans: the crate, and who alone may use it.
fn bans() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let deny: toml::Table = include_str!("../../deny.toml").parse()?;
    let entries = deny["bans"]["deny"].as_array().context("deny.toml bans nothing")?;
    let ban = |entry: &toml::Value| {
        let wrappers = entry.get("wrappers").and_then(toml::Value::as_array).into_iter().flatten();
        let wrappers = wrappers.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        Some((entry.get("crate")?.as_str()?.to_owned(), wrappers))
    };
    entries.iter().map(ban).collect::<Option<_>>().context("a ban names no crate")
}

#[test]
fn every_heavy_dependency_has_the_doors_that_deny_toml_gives_it() -> Result<()> {
    let dependencies = dependencies()?;
    for (banned, doors) in bans()? {
        let users: BTreeSet<String> =
            dependencies.iter().filter(|(_, deps)| deps.contains(&banned)).map(|(name, _)| name.clone()).collect();
        assert!(users.is_subset(&doors), "{banned} is used by {users:?}, but only {doors:?} may");
        assert_eq!(doors.is_empty(), !dependencies.contains_key(&banned), "{banned}: a ban without use is out of date");
    }
    Ok(())
}

#[test]
fn the_core_is_built_of_nothing_that_reaches_the_world() -> Result<()> {
    let pure: BTreeSet<String> = PURE.iter().map(|name| (*name).to_owned()).collect();
    let dependencies = dependencies()?;
    for name in ["names", "platform", "render", "bundle", "publish", "plan"].map(|room| format!("pconf-{room}")) {
        let foreign: Vec<_> = dependencies[&name].difference(&pure).collect();
        assert!(foreign.is_empty(), "{name} depends on {foreign:?}");
    }
    Ok(())
}

#[test]
fn the_follower_sees_no_settings_and_the_leader_touches_no_machine() -> Result<()> {
    let dependencies = dependencies()?;
    let reach = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(name) = open.pop() {
            if reached.insert(name.clone()) {
                open.extend(dependencies.get(&name).into_iter().flatten().cloned());
            }
        }
        reached
    };
    let follower = reach("config-follower");
    for room in ["pconf-platform", "pconf-render", "pconf-publish"] {
        assert!(!follower.contains(room), "the follower reaches {room}");
    }
    // It plans with what machines told (adr/032), and has nothing to carry a plan out with.
    assert!(!reach("config-leader").contains("pconf-containers"), "the leader reaches pconf-containers");
    Ok(())
}
