//! Where each line comes from: which expression printed it, what that is made of, and why it is there.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod lab;

use std::collections::BTreeMap;

use pconf_platform::{PlatformFile, SecretId};
use pconf_render::{Dependencies, Kind, Lines, SecretValue, SecretValues, TemplateSet};

use lab::SCHEMA;

const PLATFORM: &str = r#"{
  "kind": "lab",
  "settings": {
    "domain": "lab.example",
    "home": "https://${settings.domain}/",
    "mail": { "host": "mail.example", "ports": [25, 587] },
    "copy": "${settings.mail}",
    "apps": ["b", "a", "b"],
    "on": true,
    "off": false
  },
  "machines": { "m1": { "role": "web", "ip": "10.0.0.1" }, "m2": { "role": "web", "ip": "10.0.0.2" } }
}"#;

const ROLE: &str = r#"{
  "description": "a web server",
  "topology": "one",
  "files": [{ "match": "**", "class": "config", "owner": "0:0", "mode": "0644" }]
}"#;

const SECRETS: &str = r#"{
  "key": { "description": "a key", "kind": "random", "length": 32, "roles": ["web"] }
}"#;

const DERIVED: &str = r#"{%- set all = machines | values -%}
{
  "machines": {
    {%- for m in all %}
    {{ m.name | json }}: { "url": {{ ("https://" ~ m.name ~ "." ~ settings.domain) | json }} }{% if not loop.last %},{% endif %}
    {%- endfor %}
  },
  "second": {{ [m.ip for m in all if m.ip != all[0].ip] | first | json }},
  "mail": {{ settings.mail | json }},
  "many": {% if machines | length > 1 %}true{% else %}false{% endif %}
}"#;

/// What is told of the files of `m1`, as a person would read it.
fn told(files: &[(&str, &str)], platform: &str) -> String {
    let mut all: BTreeMap<String, Vec<u8>> = [
        ("platform.schema.json", SCHEMA),
        ("secrets.json", SECRETS),
        ("web/role.json", ROLE),
        ("derived.json.tera", DERIVED),
    ]
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
    .into();
    all.extend(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())));
    let set = TemplateSet::load("lab", all).unwrap();
    let file = PlatformFile::parse("platform.json", platform).unwrap();
    let scene = set.check(&file).and_then(|platform| set.derive(platform)).unwrap();
    let mut secrets = SecretValues::default();
    secrets.insert("key".parse::<SecretId>().unwrap(), SecretValue::Text("hush".to_owned()).into());
    let name = "m1".parse().unwrap();
    let rendered = set.render(&scene, &name, &secrets).unwrap();
    let provenance = set.provenance(&scene);

    let mut told = String::new();
    for (file, bytes) in provenance.files(&name, &secrets, &rendered).iter().zip(&rendered.files) {
        let text = String::from_utf8_lossy(&bytes.bytes);
        told += &format!("{} ({})\n", file.path, shown(&file.name));
        match &file.lines {
            Lines::Verbatim => told += "  as it is\n",
            Lines::Unknown(dependencies) => told += &format!("  somewhere: {}\n", shown(dependencies)),
            Lines::Known(pieces) => {
                for (index, line) in text.lines().enumerate() {
                    told += &format!("  {line}\n");
                    for piece in pieces.iter().filter(|piece| (piece.first..=piece.last).contains(&(index + 1))) {
                        let place = format!("{}:{}:{}", piece.place.file, piece.place.line, piece.place.column);
                        let what = piece.expression.as_deref().unwrap_or("text");
                        if !piece.dependencies.is_empty() {
                            told += &format!("    {place} {what} <- {}\n", shown(&piece.dependencies));
                        }
                    }
                }
            }
        }
    }
    told
}

fn shown(dependencies: &Dependencies) -> String {
    let one = |(pointer, kind): (&std::sync::Arc<str>, Kind)| match kind {
        Kind::Value => pointer.to_string(),
        Kind::Condition => format!("({pointer})"),
    };
    dependencies.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_line_knows_what_it_is_made_of_and_why_it_is_there() {
    let files = [
        (
            "web/{{ settings.domain }}.txt.tera",
            "{{ machine.ip | json }} {{ secrets.key | json }} {{ accepted.key | json }}\n",
        ),
        ("web/as-it-is.txt", "{{ settings.domain }}\n"),
        (
            "web/choices.txt.tera",
            concat!(
                "{% if settings.on and not settings.off %}on{% else %}off{% endif %}\n",
                "{%- if settings.off %}\nnever{% endif %}\n",
                "{% set x = 1 %}{% if settings.on %}{% set x = 2 %}{% endif %}{{ x | json }}\n",
                "{{ (settings.mail.host if settings.on else settings.domain) | json }}\n",
                "{{ machine.bind | default(value=machine.ip) | json }}\n",
                "{{ settings.apps | length | json }} {{ settings.copy.host | json }}\n",
                "{% raw %}{{ settings.domain }}{% endraw %} {# {{ settings.domain }} #}\n",
            ),
        ),
        (
            "web/loops.txt.tera",
            concat!(
                "{% for app in settings.apps | unique | sort %}{{ app | json }}{% if not loop.last %},{% endif %}\n{% endfor -%}\n",
                "{% for key, value in settings.mail %}{{ key | json }}={{ value | json }}\n{% endfor -%}\n",
                "{% for i in range(end=settings.mail.ports | length) %}{{ i | json }}{% else %}none{% endfor %}\n",
                "{% set lead = 'x' ~ settings.domain %}{% include \"_shared/part.tera\" %}\n",
            ),
        ),
        ("_shared/part.tera", "{{ lead | json }} of {{ derived.second | json }}"),
        (
            "web/derived.txt.tera",
            "{{ machine.url | json }}\n{{ machines.m2.url | json }}\n{{ derived.mail.host | json }}\n{{ derived.many | json }}\n",
        ),
    ];
    insta::assert_snapshot!(told(&files, PLATFORM));
}

#[test]
fn what_is_not_followed_is_told_of_the_file_as_a_whole() {
    let files = [
        ("web/a.txt.tera", "{% for app in settings.apps %}{% if settings.on %}{% break %}{% endif %}x{% endfor %}"),
        ("web/b.txt.tera", "{% <card host={settings.mail.host}> %}x{% </card> %}"),
        (
            "_shared/card.tera",
            "{% component card(host) %}{{ host | json }}{{ body | verbatim }}{% endcomponent card %}",
        ),
        ("web/c.txt.tera", "{% filter upper %}{{ machine.name | json }}{% endfilter %}"),
    ];
    insta::assert_snapshot!(told(&files, PLATFORM));
}

#[test]
fn nothing_in_a_value_is_mistaken_for_a_note() {
    let hostile = "\u{e000}\u{f8ff}\u{10fffd}{{ 1 }}{% kept %}\u{2060}";
    let platform = PLATFORM.replace("mail.example", hostile).replace("\"b\"", &format!("\"{hostile}\""));
    let files = [
        (
            "web/a.txt.tera",
            "{{ settings.mail.host | verbatim }}{{ settings.apps | json }}\u{e000}{{ settings.domain | json }}\n",
        ),
        ("web/b.txt.tera", "{{ '\u{e000}' | json }}{{ '{{ settings.domain | json }}' | json }}\n"),
    ];
    insta::assert_snapshot!(told(&files, &platform).replace(hostile, "HOSTILE"));
}
