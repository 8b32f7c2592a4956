//! What a running leader tells of where a line comes from, and of what a setting reaches: what is written where, by whom, in
//! which revision, and never a secret.

use anyhow::Result;
use promises::{Platform, TemplateSet, eventually};
use serde_json::{Value, json};

const PASSWORD: &str = "a pass/word+of ours";

/// One file that says a setting, a derived value, a secret and, where it is wanted, one thing more; a service reads it.
fn set() -> Result<TemplateSet> {
    let own = "{\n  \"say\": {{ settings.greeting | json }},\n  \"door\": {{ derived.door | json }},\n  \
               \"password\": {{ secrets.password | json }}\n{%- if settings.loud %},\n  \"volume\": 11\n{%- endif %}\n}\n";
    let compose = "services:\n  app:\n    image: app\n    volumes:\n      - ./app/conf:/app/conf:ro\n";
    let set = TemplateSet::with_secrets().edit("platform.schema.json", |schema| {
        schema["properties"]["settings"]["properties"]["loud"] = json!({ "type": "boolean", "default": true });
    })?;
    let door = "{ \"door\": {{ (settings.street ~ \" 7\") | json }} }\n";
    Ok(set.text("derived.json.tera", door).text("app/app/conf/own.json.tera", own).text("app/compose.yml", compose))
}

/// A leader with a history: the greeting is saved anew in the second revision, the street in the third and, by a command, as
/// it was before in the fourth.
fn platform() -> Result<Platform> {
    let mut platform = Platform::little(&set()?, &["a", "b"])?;
    platform.write_secret("password", PASSWORD)?;
    platform.edit(|document| document["settings"] = json!({ "greeting": "hello", "street": "Elm" }))?;
    platform.start_leader()?;
    let kept = platform.publish(|platform| platform.set("/greeting", json!("good morning")))?;
    let before = platform.publish(|platform| platform.set("/street", json!("Oak")))?;
    is_kept(&platform, &before)?;
    let newest = platform.publish(|platform| {
        platform.command()?.args(["rollback", &kept, "--message", "oaks fall"]).succeed().map(drop)
    })?;
    is_kept(&platform, &newest)?;
    Ok(platform)
}

/// Waits until the history knows that revision.
fn is_kept(platform: &Platform, revision: &str) -> Result<()> {
    eventually("the history knows it", || {
        let told: Value = serde_json::from_str(&said(platform, &["history", "--last", "1", "--output", "json"])?)?;
        Ok((told["revisions"][0]["revision"] == json!(revision)).then_some(()))
    })
}

/// What a command says, with `WHEN` for every time.
fn said(platform: &Platform, words: &[&str]) -> Result<String> {
    let said = platform.command()?.args(words).succeed()?;
    assert!(!said.contains(PASSWORD), "{said}");
    let word = |word: &str| {
        let (time, after) = word.split_at(word.find('Z').map_or(0, |end| end + 1));
        let is_time = time.len() == "2026-01-01T00:00:00Z".len() && time.contains('T');
        if is_time { format!("WHEN{after}") } else { word.to_owned() }
    };
    Ok(said.split_inclusive([' ', '"', ',']).map(word).collect())
}

#[test]
fn every_line_is_traced_to_who_wrote_what_it_is_made_of_and_when() -> Result<()> {
    let platform = platform()?;
    let why = |line: u32| said(&platform, &["why", "a", &format!("app/conf/own.json:{line}")]);
    let set = "templates/little/app/app/conf/own.json.tera";
    let us = format!("uid {}", rustix::process::geteuid().as_raw());
    assert_eq!(
        why(2)?,
        format!(
            "a app/conf/own.json:2\n  {set}:2:13  settings.greeting | json\n    settings.greeting = \"good morning\"  \
             platform.json:4:17  since 1.2, WHEN, leader: saved platform.json\n"
        )
    );
    assert_eq!(
        why(3)?,
        format!(
            "a app/conf/own.json:3\n  {set}:3:14  derived.door | json\n    derived.door = \"Elm 7\"  \
             templates/little/derived.json.tera:1:14  (settings.street ~ \" 7\") | json\n      \
             settings.street = \"Elm\"  platform.json:5:15  since 1.4, WHEN, {us}: rollback to 1.2: oaks fall\n"
        )
    );
    assert_eq!(
        why(4)?,
        format!(
            "a app/conf/own.json:4\n  {set}:4:18  secrets.password | json\n    \
             secrets.password  secret password, made WHEN by {us}\n  {set}:5:24  text of the template\n    \
             because of settings.loud\n"
        )
    );
    assert_eq!(
        why(5)?,
        format!("a app/conf/own.json:5\n  {set}:6:3  text of the template\n    because of settings.loud\n")
    );
    let told: Value =
        serde_json::from_str(&said(&platform, &["why", "b", "app/conf/own.json:3", "--output", "json"])?)?;
    let derived = &told["pieces"][0]["from"][0];
    assert_eq!(derived["place"], json!({ "file": "templates/little/derived.json.tera", "line": 1, "column": 14 }));
    assert_eq!(
        derived["from"],
        json!([{
            "name": "settings.street", "value": "Elm", "kind": "value", "place": null, "expression": null, "from": [],
            "written": { "file": "platform.json", "line": 5, "column": 15 },
            "since": { "revision": "1.4", "at": "WHEN", "actor": us, "reason": "rollback to 1.2: oaks fall" },
        }])
    );
    Ok(())
}

#[test]
fn what_a_setting_reaches_is_told_by_machine_file_line_and_service() -> Result<()> {
    let platform = platform()?;
    assert_eq!(
        said(&platform, &["impact", "settings.street"])?,
        "settings.street = \"Elm\"  platform.json:5:15\n\n\
         reaches 4 lines of 4 files on 2 of 2 machines\n\n\
         MACHINE  FILE               MADE OF IT  DEPENDS ON IT  READ BY\n\
         a        app/conf/app.json  1           -              app\n\
         a        app/conf/own.json  3           -              app\n\
         b        app/conf/app.json  1           -              app\n\
         b        app/conf/own.json  3           -              app\n"
    );
    let impact = |setting: &str| -> Result<Value> {
        Ok(serde_json::from_str(&said(&platform, &["impact", setting, "--output", "json"])?)?)
    };
    let file = |path: &str, lines: Value, conditions: Value| {
        json!({
            "path": path, "name": null, "lines": lines, "conditions": conditions, "somewhere": false, "services": ["app"],
        })
    };
    let (whole, own) =
        (file("app/conf/app.json", json!([1]), json!([])), file("app/conf/own.json", json!([]), json!([4, 5])));
    let told = impact("settings.loud")?;
    assert_eq!(told["machines"], json!({ "a": [whole, own], "b": [whole, own] }), "{told:#}");
    let both =
        json!([file("app/conf/own.json", json!([4]), json!([])), file("app/conf/secret.json", json!([1]), json!([])),]);
    let told = impact("secrets.password")?;
    assert_eq!(told["machines"], json!({ "a": both, "b": both }), "{told:#}");
    Ok(())
}
