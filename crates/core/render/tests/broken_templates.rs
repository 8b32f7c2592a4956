//! Every fault of a template is told at once, at its place, with the way out.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod lab;

use std::collections::BTreeMap;

use pconf_platform::{PlatformFile, Problem, SecretId, Sources, render_text};
use pconf_render::{SecretValue, SecretValues, TemplateSet};

use lab::SCHEMA;

const PLATFORM: &str = r#"{
  "kind": "lab",
  "settings": { "domain": "lab.example", "greeting": "50 $ {{ name }}", "list": [1] },
  "machines": { "m1": { "role": "web" } }
}"#;

const ROLE: &str = r#"{
  "description": "a web server",
  "topology": "one",
  "files": [{ "match": "**", "class": "config", "owner": "0:0", "mode": "0644" }]
}"#;

const SECRETS: &str = r#"{
  "password": { "description": "what the mail server wants", "kind": "external", "roles": ["web"] },
  "one": { "description": "first", "kind": "random", "length": 32, "roles": ["web"] },
  "two": { "description": "second", "kind": "random", "length": 32, "roles": ["web"] }
}"#;

/// A set of one role whose own folder holds these files.
fn set(files: &[(&str, &str)]) -> Result<TemplateSet, String> {
    let mut all: BTreeMap<String, Vec<u8>> = [
        ("platform.schema.json", SCHEMA),
        ("secrets.json", SECRETS),
        ("web/role.json", ROLE),
        ("derived.json.tera", r#"{ "machines": { "m1": { "url": "http://m1" } }, "port": 80 }"#),
    ]
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
    .into();
    let mut sources = Sources::new();
    for (path, text) in files {
        all.insert((*path).to_owned(), text.as_bytes().to_vec());
        sources.insert(format!("templates/lab/{path}"), *text);
    }
    TemplateSet::load("templates/lab", all).map_err(|problems| render_text(&problems, &sources, false))
}

/// The files of `m1`, as `path: text`, or the problems as an operator sees them.
fn outcome(files: &[(&str, &str)]) -> String {
    let set = match set(files) {
        Ok(set) => set,
        Err(shown) => return shown,
    };
    let mut sources = set.sources().clone();
    sources.insert("platform.json", PLATFORM);
    let show = |problems: Vec<Problem>| render_text(&problems, &sources, false);
    let file = PlatformFile::parse("platform.json", PLATFORM).unwrap();
    let scene = match set.check(&file).and_then(|platform| set.derive(platform)) {
        Ok(scene) => scene,
        Err(problems) => return show(problems),
    };
    let mut secrets = SecretValues::default();
    for name in ["one", "two"] {
        let id: SecretId = name.parse().unwrap();
        secrets.insert(id, SecretValue::Text("hunter2".to_owned()).into());
    }
    match set.render(&scene, &"m1".parse().unwrap(), &secrets) {
        Err(problems) => show(problems),
        Ok(machine) => {
            let show =
                |file: pconf_render::RenderedFile| format!("{}: {}\n", file.path, String::from_utf8_lossy(&file.bytes));
            machine.files.into_iter().map(show).collect()
        }
    }
}

#[test]
fn a_good_set_renders_and_what_is_no_template_arrives_as_it_is() {
    let files = [
        ("web/conf/{{ settings.domain }}.json.tera", "{{ settings.greeting | json }}"),
        ("web/conf/verbatim.pug", "{{ not.rendered }} #{USERNAME}"),
        ("web/url.txt.tera", "{{ machine.url | verbatim }} {{ derived.port | nginx }}"),
    ];
    assert_eq!(
        outcome(&files),
        "conf/lab.example.json: \"50 $ {{ name }}\"\n\
         conf/verbatim.pug: {{ not.rendered }} #{USERNAME}\n\
         url.txt: http://m1 80\n"
    );
}

/// As [`ROLE`], with a compose file that the role does not have under that name.
const COMPOSE: &str = r#"{
  "description": "a web server",
  "topology": "one",
  "files": [{ "match": "**", "class": "config", "owner": "0:0", "mode": "0644" }],
  "compose": [{ "file": "app.yml.tera", "project": "app" }]
}"#;

#[test]
fn every_fault_is_told_at_its_place_with_the_way_out() {
    let cases: [&[(&str, &str)]; 17] = [
        &[("web/a.tera", "{{ settings.domain }}\n{{ machine.name | upper }}")],
        &[("web/a.tera", "{{ settings.domian | json }}\n{{ derived.prot | json }}\n{% if settings.gone %}{% endif %}")],
        &[("web/a.tera", "{{ settings.domain | jsno }}"), ("web/b.tera", "{% if %}")],
        &[("web/a.tera", "{% include \"/etc/passwd\" %}")],
        &[("web/a.tera", "{{ get_env(name=\"HOME\") | json }}")],
        &[("web/a.tera", "{{ settings.list | group_by(attribute=\"x\") | json }}")],
        &[("web/a.conf.tera", "server_name {{ settings.greeting | nginx }};\nlist {{ settings.list | nginx }};")],
        &[("web/a.tera", "{{ secrets.password | json }}")],
        &[("web/a.tera", "{{ secrets.unknown | json }}")],
        &[("web/a.json.tera", "{\n  {{ secrets.one | json }}: 1,\n  {{ secrets.two | json }}: 2\n}")],
        &[("web/a.yml.tera", "a: {{ settings.list | json }}: b")],
        &[("web/../a.tera", "x")],
        &[("web/{{ machine.url }}.txt", "x")],
        &[("web/{{ settings.list }.txt", "x")],
        &[("web/a.json", "{}"), ("web/a.json.tera", "{}")],
        &[("web/data", "x"), ("web/data/more/a.txt", "x")],
        &[("web/role.json", COMPOSE), ("web/app.yml.tera", "services: {}")],
    ];
    let shown: Vec<String> = cases.iter().map(|files| outcome(files)).collect();
    let shown = shown.join("\n------------------------------------------------------------\n");
    assert!(!shown.contains("hunter2"), "a secret shows:\n{shown}");
    insta::assert_snapshot!(shown);
}
