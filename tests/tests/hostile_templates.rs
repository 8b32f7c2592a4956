//! Whoever edits templates or platform.json reaches neither the leader's environment nor its files, and cannot make it
//! include itself for ever.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use promises::{Platform, TemplateSet};
use serde_json::{Value, json};

const CANARY: &str = "canary-1f0e9d8c";

fn with(template: &str) -> TemplateSet {
    TemplateSet::little().text("app/app/conf/x.json.tera", template)
}

fn schema(keyword: &str, value: Value) -> Result<TemplateSet> {
    TemplateSet::little().edit("platform.schema.json", |schema| schema["properties"]["settings"][keyword] = value)
}

/// What each of them tries is refused by `check`; `CANARY_FILE` stands for a file that only the leader can read.
fn hostile_sets() -> Result<Vec<(&'static str, TemplateSet)>> {
    let deep = |depth: usize| format!("{}{{}}{}", "{% if true %}".repeat(depth), "{% endif %}".repeat(depth));
    let itself = "{% include \"app/app/conf/x.json.tera\" %}";
    Ok(vec![
        ("the environment", with("{{ get_env(name=\"CANARY\") | json }}\n")),
        ("a file by its absolute path", with("{% include \"CANARY_FILE\" %}\n")),
        ("a file above the set", with("{% include \"../../../canary\" %}\n")),
        ("a file that is read by a function", with("{{ read_file(path=\"CANARY_FILE\") | json }}\n")),
        ("a file as the parent of a template", with("{% extends \"CANARY_FILE\" %}\n")),
        ("a template that includes itself", with(itself)),
        (
            "two templates that include each other",
            with("{% include \"_shared/y.tera\" %}").text("_shared/y.tera", itself),
        ),
        ("a range without an end in sight", with("{% for i in range(end=1000000000) %}{{ i | json }}{% endfor %}\n")),
        (
            "loops that print for ever",
            with("{% for i in range(end=900000) %}{{ settings.greeting | json }}, and so on, and so on{% endfor %}\n"),
        ),
        (
            "loops in loops",
            with("{% for i in range(end=90000) %}{% for j in range(end=90000) %}{% endfor %}{% endfor %}\n"),
        ),
        ("a hundred thousand blocks in each other", with(&deep(100_000))),
        ("an expression of brackets", with(&format!("{{{{ {}1{} | json }}}}", "(".repeat(50_000), ")".repeat(50_000)))),
        ("a schema in a file", schema("$ref", json!("file://CANARY_FILE"))?),
        ("a schema on the network", schema("$ref", json!("http://127.0.0.1:1/schema.json"))?),
        (
            "a file outside the root",
            TemplateSet::little().edit("app/role.json", |role| {
                role["directories"][0]["path"] = json!("/etc/canary");
            })?,
        ),
        (
            "a tree outside the set",
            TemplateSet::little().edit("app/role.json", |role| {
                role["trees"] = json!(["../../canary"]);
            })?,
        ),
    ])
}

#[test]
fn a_hostile_template_reaches_nothing_and_ends() -> Result<()> {
    for (name, set) in hostile_sets()? {
        let platform = Platform::little(&TemplateSet::little(), &["a"])?;
        let file = platform.path("canary");
        fs::write(&file, CANARY)?;
        platform.write_set(&set.replacing("CANARY_FILE", &file.display().to_string()))?;
        let start = Instant::now();
        let outcome = platform.command()?.arg("check").env("CANARY", CANARY).end()?;
        ensure!(outcome.code == Some(2), "{name}: {outcome:?}");
        let said = outcome.output + &outcome.errors;
        ensure!(!said.contains(CANARY), "{name}: {said}");
        ensure!(start.elapsed() < Duration::from_secs(10), "{name}: took {:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn a_template_that_asks_for_everything_gets_what_its_role_may_know() -> Result<()> {
    let secret = |roles: &[&str]| json!({ "description": "A token.", "kind": "random", "roles": roles });
    let set = with("{{ __tera_context | json }}\n")
        .json("secrets.json", &json!({ "own": secret(&["app"]), "foreign": secret(&["web"]) }))
        .text("web/x.json.tera", "{{ secrets.foreign | json }}\n")
        .json(
            "web/role.json",
            &json!({
                "description": "Another role.", "topology": "cluster",
                "files": [{ "match": "**", "class": "config", "owner": "0:0", "mode": "0600" }]
            }),
        );
    let mut platform = Platform::little(&set, &["a"])?;
    platform.add_machine("w", "web")?;
    platform.write()?;
    let rendered = platform.render("rendered")?;
    let known: Value = serde_json::from_slice(&fs::read(rendered.join("a/app/conf/x.json"))?)?;
    let foreign: Value = serde_json::from_slice(&fs::read(rendered.join("w/x.json"))?)?;
    ensure!(known["secrets"].get("own").is_some() && known["secrets"].get("foreign").is_none(), "{known:#}");
    ensure!(!known.to_string().contains(foreign.as_str().unwrap_or_default()), "{known:#}");
    Ok(())
}

#[test]
fn a_link_in_a_template_set_brings_no_file_of_the_leader() -> Result<()> {
    let platform = Platform::little(&TemplateSet::little(), &["a"])?;
    let file = platform.path("leader/private");
    fs::write(&file, CANARY)?;
    std::os::unix::fs::symlink(&file, platform.path("templates/little/app/app/conf/linked.txt"))?;
    let outcome = platform.command()?.args(["render", "--out"]).arg(platform.path("rendered")).end()?;
    if outcome.code == Some(0) {
        let tree = promises::read_tree(&platform.path("rendered"))?;
        ensure!(tree.values().all(|entry| !entry.text().contains(CANARY)), "the link was followed: {tree:?}");
    }
    Ok(())
}
