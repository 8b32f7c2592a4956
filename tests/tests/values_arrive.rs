//! What an admin writes is what a service reads: byte for byte, whatever it looks like.

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, Program, TemplateSet};
use serde_json::{Value, json};

/// Texts that some syntax on the way would like to take for its own.
const AWKWARD: &[&str] = &[
    "{{ phone_number }}",
    "{% if x %}{# y #}",
    "https://{username}.pryv.example",
    "#{RESET_URL}?resetToken=#{RESET_TOKEN}",
    "$host ${HOME} $$ $1",
    "a \"quoted\" word",
    "it's",
    "line one\nline two\n",
    "# no comment",
    "key: value # x",
    "é ü 漢字 \u{1f600}",
    "back\\slash \\n \\u0041",
    "<b>&amp;</b>",
    "no",
    "0123",
    "12:30:45",
    "2019-01-01",
    "null",
    "~",
    "",
    " leading and trailing ",
    "\ttab\r",
    "*anchor &alias @at %percent !bang |pipe >fold",
    "- dash",
    "`tick`",
];

fn set_of_every_format() -> Result<TemplateSet> {
    TemplateSet::little()
        .text("app/app/conf/value.json.tera", "{\"value\": {{ settings.value | json }}}\n")
        .text("app/app/conf/value.yml.tera", "value: {{ settings.value | yaml }}\nafter: true\n")
        .text("app/app/conf/value.txt.tera", "{{ settings.text | verbatim }}")
        .text("app/app/conf/plain.txt", "{{ not.a.template }} {% nor this %} ${settings.value}\n")
        .edit("platform.schema.json", |schema| {
            schema["properties"]["settings"]["properties"]["value"] = json!({});
            schema["properties"]["settings"]["properties"]["text"] = json!({ "type": "string", "default": "" });
        })
}

/// A literal `${` is written `$${` in platform.json.
fn as_written(text: &str) -> String {
    text.replace("${", "$${")
}

fn yaml(text: &str) -> Result<Value> {
    let program = "import sys, yaml, json; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    let text = Program::named("/usr/bin/python3").args(["-c", program, text]).succeed()?;
    Ok(serde_json::from_str(&text)?)
}

#[test]
fn text_that_looks_like_syntax_arrives_as_it_was_written() -> Result<()> {
    let mut platform = Platform::little(&set_of_every_format()?, &["a"])?;
    for text in AWKWARD {
        platform
            .edit(|document| document["settings"] = json!({ "value": as_written(text), "text": as_written(text) }))?;
        let rendered = platform.render("rendered")?.join("a/app/conf");
        let read =
            |name: &str| std::fs::read_to_string(rendered.join(name)).with_context(|| format!("{name} of {text:?}"));
        assert_eq!(serde_json::from_str::<Value>(&read("value.json")?)?, json!({ "value": text }), "{text:?}");
        assert_eq!(yaml(&read("value.yml")?)?, json!({ "value": text, "after": true }), "{text:?}");
        assert_eq!(&read("value.txt")?, text);
        assert_eq!(read("plain.txt")?, "{{ not.a.template }} {% nor this %} ${settings.value}\n");
    }
    Ok(())
}

#[test]
fn what_is_no_text_keeps_its_type() -> Result<()> {
    let mut platform = Platform::little(&set_of_every_format()?, &["a"])?;
    let values =
        [json!(null), json!([]), json!({}), json!(0), json!(-1.5), json!(true), json!(["no", 0, null, { "é": [[]] }])];
    for value in values {
        platform.edit(|document| document["settings"] = json!({ "value": value }))?;
        let rendered = platform.render("rendered")?.join("a/app/conf");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(rendered.join("value.json"))?)?;
        let yaml = yaml(&std::fs::read_to_string(rendered.join("value.yml"))?)?;
        assert_eq!((&json["value"], &yaml["value"]), (&value, &value));
    }
    Ok(())
}

#[test]
fn a_reference_carries_the_type_of_what_it_names() -> Result<()> {
    let mut platform = Platform::little(&set_of_every_format()?, &["a"])?;
    platform.edit(|document| {
        document["settings"] =
            json!({ "greeting": "é", "value": ["${settings.text}", "<${settings.greeting}>"], "text": "x" });
    })?;
    let rendered = std::fs::read_to_string(platform.render("rendered")?.join("a/app/conf/value.json"))?;
    assert_eq!(serde_json::from_str::<Value>(&rendered)?, json!({ "value": ["x", "<é>"] }));
    Ok(())
}

#[test]
fn every_byte_of_a_binary_file_arrives_and_survives_ten_pushes() -> Result<()> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let set = TemplateSet::little().file("app/app/conf/every.bin", every_byte.clone());
    let mut platform = Platform::little(&set, &["a"])?;
    platform.start()?;
    let first = platform.machine("a")?.tree()?;
    for push in 0..10 {
        platform.roll_out(|platform| platform.set("/greeting", json!(format!("push {push}"))))?;
    }
    let last = platform.machine("a")?.tree()?;
    assert_eq!(last["app/conf/every.bin"].content.as_deref(), Some(every_byte.as_slice()));
    ensure!(last["app/conf/every.bin"] == first["app/conf/every.bin"], "an unchanged file was written again");
    assert_eq!(platform.machine("a")?.read("app/conf/app.json")?.trim_end(), r#"{"greeting":"push 9"}"#);
    Ok(())
}

#[test]
fn rendering_again_changes_no_byte() -> Result<()> {
    let mut platform = Platform::little(&set_of_every_format()?, &["a", "b"])?;
    platform.edit(|document| {
        document["settings"]["value"] = json!(AWKWARD.iter().map(|text| as_written(text)).collect::<Vec<_>>());
    })?;
    let (first, second) = (platform.render("first")?, platform.render("second")?);
    let contents = |folder| -> Result<Vec<_>> {
        Ok(promises::read_tree(folder)?.into_iter().map(|(path, entry)| (path, entry.content, entry.mode)).collect())
    };
    assert_eq!(contents(&first)?, contents(&second)?);
    Ok(())
}
