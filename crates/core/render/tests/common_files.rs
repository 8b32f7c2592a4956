//! A file is rendered once for the machines of a role exactly where it is the same on each of them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pconf_names::MachineName;
use pconf_platform::{PlatformFile, SecretId};
use pconf_render::{Scene, SecretValue, SecretValues, TemplateSet};

use lab::SCHEMA;

const PLATFORM: &str = r#"{
  "kind": "lab",
  "settings": { "domain": "lab.example" },
  "machines": { "m1": { "role": "web" }, "m2": { "role": "web" }, "m3": { "role": "mail" }, "m4": { "role": "mail" } }
}"#;

const ROLE: &str = r#"{
  "description": "a server",
  "topology": "one",
  "trees": ["shared"],
  "files": [{ "match": "**", "class": "config", "owner": "0:0", "mode": "0644" }]
}"#;

const SECRETS: &str = r#"{
  "common": { "description": "of all", "kind": "random", "length": 32, "roles": ["web", "mail"] },
  "own": { "description": "of each", "kind": "random", "length": 32, "scope": "machine", "roles": ["web"] }
}"#;

const SHARED: [(&str, &str); 9] = [
    ("shared/plain.tera", "{{ settings.domain | json }} {{ machines | length | json }} {# machine #}\n"),
    ("shared/verbatim", "machine\n"),
    ("shared/named.tera", "{{ machine.name | json }}\n"),
    ("shared/asked.tera", "{% if machine.name == 'm2' %}two{% endif %}\n"),
    ("shared/included.tera", "{% include \"part.tera\" %}\n"),
    ("part.tera", "{{ machine['name'] | json }}"),
    ("shared/{{ machine.name }}.conf", "mine\n"),
    ("shared/secret.tera", "{{ secrets.common | json }}\n"),
    ("shared/accepted.tera", "{{ accepted.common | json }}\n"),
];

fn set(more: &[(&str, &str)]) -> TemplateSet {
    let fixed = [
        ("platform.schema.json", SCHEMA),
        ("secrets.json", SECRETS),
        ("web/role.json", ROLE),
        ("mail/role.json", ROLE),
        ("web/own.tera", "{{ secrets.own | json }}\n"),
    ];
    let all = fixed.iter().chain(&SHARED).chain(more);
    let files = all.map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    TemplateSet::load("lab", files).map_err(|problems| format!("{problems:?}")).unwrap()
}

fn secrets() -> SecretValues {
    let mut secrets = SecretValues::default();
    for id in ["common", "own@m1", "own@m2"] {
        secrets.insert(id.parse::<SecretId>().unwrap(), SecretValue::Text(format!("hush-{id}")).into());
    }
    secrets
}

fn scene(set: &TemplateSet) -> Scene {
    let file = PlatformFile::parse("platform.json", PLATFORM).unwrap();
    set.check(&file).and_then(|platform| set.derive(platform)).unwrap()
}

/// The files whose bytes two machines share when all are rendered together; each machine gets what it gets alone.
fn shared(set: &TemplateSet, one: &str, other: &str) -> BTreeSet<String> {
    let (scene, secrets) = (scene(set), secrets());
    let mut together = set.rendering(&scene, &secrets);
    let names: Vec<MachineName> = scene.machines().keys().cloned().collect();
    let rendered: BTreeMap<_, _> = names.iter().map(|name| (name.as_str(), together.machine(name).unwrap())).collect();
    for name in &names {
        assert_eq!(rendered[name.as_str()], set.render(&scene, name, &secrets).unwrap(), "{name}");
    }
    let files = rendered[one].files.iter();
    let is_shared = |path: &str, bytes: &Arc<[u8]>| {
        rendered[other].files.iter().any(|file| file.path.as_str() == path && Arc::ptr_eq(&file.bytes, bytes))
    };
    let shared = files.filter(|file| is_shared(file.path.as_str(), &file.bytes));
    shared.map(|file| file.path.to_string()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_asks_for_nothing_of_its_machine_is_shared_within_a_role() {
    let set = set(&[]);
    assert_eq!(shared(&set, "m1", "m2"), names(&["plain", "verbatim"]));
    // No secret of this role is a machine's own.
    assert_eq!(shared(&set, "m3", "m4"), names(&["accepted", "plain", "secret", "verbatim"]));
    assert_eq!(shared(&set, "m1", "m3"), names(&[]));
}

#[test]
fn where_names_do_not_tell_what_is_asked_for_every_machine_has_its_own() {
    for odd in [
        "{% component who(machine) %}{{ machine.name | json }}{% endcomponent who %}",
        "{% if settings.domain == '' %}{% set machine = 1 %}{% endif %}{{ machine | json }}",
        "{{ __tera_context | json }}",
    ] {
        let set = set(&[("odd.tera", odd)]);
        assert_eq!(shared(&set, "m1", "m2"), names(&["verbatim"]), "{odd}");
    }
}

#[test]
fn a_machine_is_told_of_the_secrets_in_its_own_files_and_in_those_that_it_shares() {
    let set = set(&[("shared/leak", "hush-own@m2 hush-common\n")]);
    let (scene, secrets) = (scene(&set), secrets());
    let mut together = set.rendering(&scene, &secrets);
    let mut held = |name: &str| {
        let machine = together.machine(&name.parse().unwrap()).unwrap();
        machine.secrets.iter().map(|secret| secret.confidential().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(held("m1"), ["hush-common", "hush-own@m1"]);
    assert_eq!(held("m2"), ["hush-common", "hush-own@m2"]);
    assert_eq!(held("m3"), ["hush-common"]);
}
