//! Whatever is wrong with what an admin wrote: it is said where, and how to put it right, and nothing else happens.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use promises::{Outcome, Platform, TemplateSet};
use serde_json::{Value, json};

/// A platform of kind `little`, as its admin typed it.
const LITTLE: &str = r#"{
  // what to say
  "kind": "little",
  "settings": {
    "greeting": "hello"
  },
  "machines": {
    "a": { "role": "app", "url": "http://127.0.0.1:6000" }
  }
}
"#;

/// Each is `LITTLE` with one text replaced by another.
const BROKEN_TEXT: &[(&str, &str, &str)] = &[
    ("a missing comma", "\"little\",", "\"little\""),
    ("a missing colon", "\"settings\": {", "\"settings\" {"),
    ("a key without quotes", "\"kind\"", "kind"),
    ("single quotes", "\"hello\"", "'hello'"),
    ("an object that is not closed", "  }\n}\n", "  }\n"),
    ("a text that is not closed", "\"hello\"", "\"hello"),
    ("a comment that is not closed", "// what to say", "/* what to say"),
    ("something after the end", "\n}\n", "\n}\n}\n"),
    ("a key written twice", "\"greeting\": \"hello\"", "\"greeting\": \"hello\", \"greeting\": \"bye\""),
    ("two commas", "\"little\",", "\"little\",,"),
    ("a number with a leading zero", "\"hello\"", "007"),
    ("an escape that does not exist", "hello", "he\\llo"),
    ("a list at the top", LITTLE, "[]\n"),
    ("an empty file", LITTLE, ""),
    ("no kind", "  \"kind\": \"little\",\n", ""),
    ("a kind that does not exist", "\"little\"", "\"litle\""),
    ("a kind that climbs", "\"little\"", "\"../little\""),
    ("settings that are a list", "{\n    \"greeting\": \"hello\"\n  }", "[]"),
    ("a setting of the wrong type", "\"hello\"", "5"),
    ("null where there may be none", "\"hello\"", "null"),
    ("a reference to nothing", "hello", "${settings.greting}"),
    ("a reference to itself", "hello", "${settings.greeting}"),
    ("a reference that is not closed", "hello", "${settings.greeting"),
    ("a reference to a machine that is not there", "hello", "${machines.b.url}"),
    ("a machine without a role", "\"role\": \"app\", ", ""),
    ("a role that does not exist", "\"role\": \"app\"", "\"role\": \"ap\""),
    ("a machine's name that cannot be a file's", "\"a\": {", "\"a/b\": {"),
];

/// Each is a template set with one thing wrong.
fn broken_sets() -> Result<Vec<(&'static str, TemplateSet)>> {
    let little = TemplateSet::little;
    let with = |text: &str| little().text("app/app/conf/app.json.tera", text);
    let secret = json!({ "token": { "description": "A token.", "kind": "external", "roles": ["app"] } });
    let foreign = json!({ "token": { "description": "A token.", "kind": "random", "roles": ["web"] } });
    Ok(vec![
        ("an expression that is not closed", with("{\n  \"a\": {{ settings.greeting | json\n}\n")),
        ("a block that is not closed", with("{% if settings.greeting == \"x\" %}{}\n")),
        ("an undefined setting", with("{\n  \"a\": {{ settings.greting | json }}\n}\n")),
        ("an undefined setting in a condition", with("{% if settings.greting %}{}{% else %}{}{% endif %}\n")),
        ("an undefined variable", with("{{ greeting | json }}\n")),
        ("a filter that does not exist", with("{{ settings.greeting | jason }}\n")),
        ("a value without an encoder", with("{\"a\": \"{{ settings.greeting }}\"}\n")),
        ("an encoder that is not last", with("{{ settings.greeting | json | upper }}\n")),
        ("an include that does not exist", with("{% include \"_shared/none.tera\" %}\n")),
        ("a rendered file that is no JSON", with("{\"a\": {{ settings.greeting | json }},}\n")),
        ("a rendered file with a key twice", with("{\"a\": 1, \"a\": 2}\n")),
        (
            "a rendered file that is no YAML",
            little().text("app/app/conf/x.yml.tera", "a: [{{ settings.greeting | yaml }}\n"),
        ),
        ("a verbatim file that is no JSON", little().text("app/app/conf/x.json", "{,}\n")),
        ("a role that is no JSON", little().text("app/role.json", "{\"description\": }\n")),
        ("a role with an unknown field", little().edit("app/role.json", |role| role["directries"] = json!([]))?),
        ("a role without rules", little().edit("app/role.json", |role| role["files"] = json!([]))?),
        (
            "a role whose first rule is incomplete",
            little().edit("app/role.json", |role| {
                role["files"] = json!([{ "match": "**", "mode": "0640" }]);
            })?,
        ),
        ("a mode that is none", little().edit("app/role.json", |role| role["files"][0]["mode"] = json!("0999"))?),
        ("an owner by name", little().edit("app/role.json", |role| role["files"][0]["owner"] = json!("root:root"))?),
        (
            "a directory that climbs",
            little().edit("app/role.json", |role| role["directories"][0]["path"] = json!("../x"))?,
        ),
        ("a tree that does not exist", little().edit("app/role.json", |role| role["trees"] = json!(["_shared/x"]))?),
        ("too few machines of a role", little().edit("app/role.json", |role| role["machines"] = json!({ "min": 2 }))?),
        (
            "a secret of an unknown kind",
            little().json(
                "secrets.json",
                &json!({
                    "token": { "description": "A token.", "kind": "randm", "roles": ["app"] }
                }),
            ),
        ),
        ("a secret that nobody set", with("{{ secrets.token | json }}\n").json("secrets.json", &secret)),
        ("a secret of another role", with("{{ secrets.token | json }}\n").json("secrets.json", &foreign)),
        ("derived values that are no JSON", little().text("derived.json.tera", "{\"a\": }\n")),
        ("derived values that are no object", little().text("derived.json.tera", "[]\n")),
        ("a schema that is no JSON", little().text("platform.schema.json", "{\n")),
        (
            "a schema with an unknown type",
            little().edit("platform.schema.json", |schema| {
                schema["properties"]["settings"]["properties"]["greeting"]["type"] = json!("txt");
            })?,
        ),
    ])
}

fn admin_wrote(set: &TemplateSet, text: &str) -> Result<Platform> {
    let platform = Platform::little(set, &["a"])?;
    platform.write_text(text)?;
    Ok(platform)
}

/// One line per problem: code, place, subject, message, way out.
fn problems(outcome: &Outcome) -> Result<String> {
    let found: Value = serde_json::from_str(&outcome.output).with_context(|| format!("no JSON: {outcome:?}"))?;
    let found = found["problems"].as_array().or(found.as_array()).context("a list of problems")?;
    let mut lines = Vec::new();
    for problem in found {
        let place = match (&problem["line"], &problem["column"]) {
            (Value::Null, _) => String::new(),
            (line, column) => format!(":{line}:{column}"),
        };
        let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
        lines.push(format!("  {}{place} [{}] {}: {}", text("file"), text("code"), text("subject"), text("message")));
        lines.push(format!("    => {}", text("help")));
    }
    Ok(lines.join("\n"))
}

#[test]
fn every_mistake_gets_its_place_and_the_way_out() -> Result<()> {
    let (mut said, mut accepted, mut helpless) = (Vec::new(), Vec::new(), Vec::new());
    let mut cases: Vec<(&str, Platform)> = Vec::new();
    for (name, from, to) in BROKEN_TEXT {
        ensure!(LITTLE.contains(from), "{name}: nothing to replace");
        cases.push((name, admin_wrote(&TemplateSet::little(), &LITTLE.replacen(from, to, 1))?));
    }
    for (name, set) in broken_sets()? {
        cases.push((name, admin_wrote(&set, LITTLE)?));
    }
    for (name, platform) in &cases {
        let outcome = platform.command()?.args(["check", "--output", "json"]).end()?;
        if outcome.code != Some(2) {
            accepted.push(format!("{name}: {outcome:?}"));
            continue;
        }
        let lines = problems(&outcome).context(*name)?;
        ensure!(!lines.is_empty(), "{name}: no problem is named");
        if lines.lines().any(|line| line.trim() == "=>") {
            helpless.push(format!("{name}:\n{lines}"));
        }
        // The folder is another one in each run.
        said.push(format!("{name}\n{}", lines.replace(&platform.path("templates").display().to_string(), "templates")));
    }
    ensure!(cases.len() >= 40);
    ensure!(accepted.is_empty(), "not refused: {accepted:#?}");
    ensure!(helpless.is_empty(), "without a way out:\n{}", helpless.join("\n"));
    insta::assert_snapshot!(said.join("\n"));
    Ok(())
}

#[test]
fn two_templates_for_one_path_are_refused() -> Result<()> {
    let set = TemplateSet::little().text("app/app/conf/app.json", "{}\n");
    let outcome = admin_wrote(&set, LITTLE)?.check()?;
    assert_eq!(outcome.code, Some(2), "app.json and app.json.tera of one folder: {outcome:?}");
    Ok(())
}

#[test]
fn a_file_where_a_folder_has_to_be_is_refused() -> Result<()> {
    let set = TemplateSet::little().text("app/app/data", "x\n");
    let outcome = admin_wrote(&set, LITTLE)?.check()?;
    assert_eq!(outcome.code, Some(2), "role.json declares the folder app/data, the set has a file there: {outcome:?}");
    Ok(())
}

#[test]
fn all_problems_are_said_at_once_and_underlined() -> Result<()> {
    let text = LITTLE.replace("\"hello\"", "5").replace("\"role\": \"app\"", "\"role\": \"ap\"");
    let outcome = admin_wrote(&TemplateSet::little(), &text)?.check()?;
    assert_eq!(outcome.code, Some(2));
    insta::assert_snapshot!(outcome.output + &outcome.errors);
    Ok(())
}

#[test]
fn what_is_right_is_said_to_be_right() -> Result<()> {
    let outcome = admin_wrote(&TemplateSet::little(), LITTLE)?.check()?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    Ok(())
}

#[test]
fn while_the_input_is_broken_the_last_good_revision_is_served_and_nothing_moves() -> Result<()> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    platform.start()?;
    let good = fs::read_to_string(platform.file())?;
    let revision = platform.revision()?;
    let files = platform.machine("a")?.tree()?;
    for text in ["", "{", "[]", &good.replace("\"little\"", "\"litle\""), &good.replace("\"app\"", "\"ap\"")] {
        platform.write_text(text)?;
        platform.wait_for_problems(true)?;
        assert_eq!(platform.revision()?, revision);
        platform.write_text(&good)?;
        platform.wait_for_problems(false)?;
        assert_eq!(platform.revision()?, revision, "the same input is the same revision");
    }
    for (name, set) in broken_sets()? {
        platform.write_set(&set)?;
        platform.wait_for_problems(true).context(name)?;
        assert_eq!(platform.revision()?, revision);
        platform.write_set(&TemplateSet::little())?;
        platform.wait_for_problems(false).context(name)?;
    }
    ensure!(platform.machine("a")?.tree()? == files, "a file was touched");
    platform.roll_out(|platform| platform.set("/greeting", json!("at last")))?;
    ensure!(platform.machine("a")?.read("app/conf/app.json")?.contains("at last"));
    Ok(())
}
