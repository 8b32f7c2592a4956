//! What a right platform.json comes to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod common;

use common::{check, schema, shown};
use pconf_platform::{Platform, PlatformFile, document};
use serde_json::{Value, json};

const EXAMPLE: &str = include_str!("set/platform.example.json");

fn usable(text: &str) -> Platform {
    check(text).unwrap_or_else(|problems| panic!("{}", shown(&problems, "platform.json", text)))
}

fn with_settings(settings: &str) -> Value {
    let machines =
        "{ \"reg\": { \"role\": \"reg-master\", \"ip\": \"203.0.113.10\" }, \"co1\": { \"role\": \"core\" } }";
    let text = format!("{{ \"kind\": \"small\", \"settings\": {settings}, \"machines\": {machines} }}");
    usable(&text).settings
}

#[test]
fn defaults_are_filled_in_and_references_resolved() {
    let platform = usable(EXAMPLE);
    let machines: Vec<_> = platform.machines.values().map(|machine| &machine.fields).collect();
    let usable = json!({ "settings": platform.settings, "machines": machines });
    insta::assert_json_snapshot!(usable);
}

#[test]
fn a_value_that_is_only_a_reference_keeps_the_type() {
    let settings = with_settings(
        r#"{ "domain": "a.example", "mail": { "sender": { "name": "x" }, "port": "${settings.uploads.maxSizeMb}" },
             "uploads": { "types": ["${settings.mail.method}/x"] }, "trace": "${settings.storage}" }"#,
    );
    assert_eq!(settings["mail"]["port"], json!(50));
    assert_eq!(settings["trace"], Value::Null);
    assert_eq!(settings["uploads"]["types"], json!(["plain/x"]));
}

#[test]
fn text_that_looks_like_another_syntax_is_only_text() {
    for (written, meant) in [
        ("{{ phone_number }}", "{{ phone_number }}"),
        ("{username} #{RESET_URL} $host $$", "{username} #{RESET_URL} $host $$"),
        ("$${settings.domain}", "${settings.domain}"),
        ("$$${settings.domain}", "$${settings.domain}"),
        ("\\u00e9\\n\\\"'", "é\n\"'"),
        ("${settings.uploads.maxSizeMb} MB", "50 MB"),
        ("${machines.reg.ip}", "203.0.113.10"),
        ("${settings.uploads.types.0}", "a/b"),
    ] {
        let settings = with_settings(&format!(
            r#"{{ "domain": "a.example", "uploads": {{ "types": ["a/b"] }},
                 "mail": {{ "sender": {{ "name": "x" }}, "host": "{written}" }} }}"#
        ));
        assert_eq!(settings["mail"]["host"], json!(meant), "{written}");
    }
}

#[test]
fn a_reference_brings_what_its_own_place_has_defaults_for() {
    let settings = with_settings(
        r#"{ "domain": "a.example", "mail": { "sender": { "name": "x", "address": "x@${settings.domain}" } } }"#,
    );
    assert_eq!(settings["mail"]["sender"]["address"], json!("x@a.example"));
    assert_eq!(settings["home"], json!("https://www.a.example/"));
    let machines = r#""reg": { "role": "reg-master", "ip": "203.0.113.10" }, "co1": { "role": "core" }"#;
    let borrowed = format!(
        r#"{{ "kind": "small", "settings": {{ "domain": "a.example", "people": {{ "one": {{ "name": "x" }} }},
              "mail": {{ "sender": "${{settings.people.one}}" }} }}, "machines": {{ {machines} }} }}"#
    );
    assert_eq!(usable(&borrowed).settings["mail"]["sender"], json!({ "name": "x", "address": "no-reply@a.example" }));
    // Half of `mail` has defaults, but its sender must be written: it does not appear by itself.
    assert_eq!(with_settings(r#"{ "domain": "a.example" }"#).get("mail"), None);
}

#[test]
fn later_stages_can_point_at_a_setting() {
    let platform = usable(EXAMPLE);
    let place = |pointer| platform.place_of(pointer).map(|span| &EXAMPLE[span]);
    assert_eq!(place("/settings/domain"), Some("\"small.example\""));
    assert_eq!(place("/settings/mail/sender"), Some("\"sender\""));
    assert_eq!(place("/settings/uploads/types/1"), Some("\"text/plain\""));
    assert_eq!(place("/settings/uploads/maxSizeMb"), None);
    let problem = platform.problem_at("/settings/uploads/maxSizeMb", "too-much", "the disk is full", "buy another");
    let seen = shown(&[problem], "platform.json", EXAMPLE);
    insta::assert_snapshot!(seen);
}

#[test]
fn the_documented_file_shows_every_setting_and_means_the_same() {
    let documented = document(&schema(), "platform.example.json", EXAMPLE).unwrap();
    let (before, after) = (usable(EXAMPLE), usable(&documented));
    assert_eq!((before.settings, before.machines), (after.settings, after.machines));
    let again = document(&schema(), "platform.example.json", EXAMPLE).unwrap();
    assert_eq!(documented, again);
    insta::assert_snapshot!(documented);
}

#[test]
fn every_line_that_is_switched_off_can_be_switched_on() {
    let shortest = r#"{ "kind": "small", "settings": { "domain": "a.example" },
        "machines": { "all": { "role": "singlenode" } } }"#;
    let documented = document(&schema(), "platform.example.json", shortest).unwrap();
    insta::assert_snapshot!(documented);
    let switched_on: Vec<_> = documented.lines().map(|line| without_mark(&without_mark(line))).collect();
    let switched_on = switched_on.join(
        "
",
    );
    let settings = usable(&switched_on).settings;
    assert_eq!(settings["mail"]["host"], json!("smtp.small.example"), "{switched_on}");
    assert_eq!(settings["uploads"], json!({ "maxSizeMb": 50, "types": [] }));
}

/// The line switched on, if it is a setting that is switched off.
fn without_mark(line: &str) -> String {
    let Some((indent, rest)) = line.split_once("// ") else { return line.to_owned() };
    let is_setting = ["\"", "}", "]"].iter().any(|start| rest.trim_start().starts_with(start));
    let is_inside = rest.starts_with("  //");
    if indent.trim().is_empty() && (is_setting || is_inside) { format!("{indent}{rest}") } else { line.to_owned() }
}

#[test]
fn the_kind_is_known_before_the_set_is() {
    let file = |text| PlatformFile::parse("platform.json", text).unwrap();
    let refused = |text| shown(&[file(text).kind().unwrap_err()], "platform.json", text);
    assert_eq!(file("{ \"kind\": \"small\" }").kind(), Ok("small"));
    assert!(refused("{ \"kind\": 1 }").contains("the kind has to be a text\n --> platform.json:1:11"));
    assert!(refused("{}").contains("`kind` is missing\n --> platform.json:1:1"));
}
