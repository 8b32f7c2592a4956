//! Every mistake in a platform.json is shown at its place, underlined, with the way out; all mistakes at once.
//!
//! The snapshots hold the whole text that an operator sees.
#![allow(clippy::panic, reason = "a panic is how a test fails")]

mod common;

use common::{check, shown};

/// What an operator sees for each text, under the name of the mistake.
fn seen(cases: &[(&str, &str)]) -> String {
    let one = |(mistake, text): &(&str, &str)| match check(text) {
        Ok(_) => panic!("{mistake}: nothing was found wrong with\n{text}"),
        Err(problems) => format!("## {mistake}\n\n{}", shown(&problems, "platform.json", text)),
    };
    cases.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// A platform that is right but for its settings.
macro_rules! settings {
    ($settings:literal) => {
        concat!(
            "{\n  \"kind\": \"small\",\n  \"settings\": { \"domain\": \"small.example\",\n    ",
            $settings,
            "\n  },\n  \"machines\": { \"reg\": { \"role\": \"reg-master\" }, \"co1\": { \"role\": \"core\" } }\n}\n"
        )
    };
}

/// A platform that is right but for its machines.
macro_rules! machines {
    ($machines:literal) => {
        concat!(
            "{\n  \"kind\": \"small\",\n  \"settings\": { \"domain\": \"small.example\" },\n  \"machines\": {\n    ",
            $machines,
            "\n  }\n}\n"
        )
    };
}

#[test]
fn a_slip_in_the_syntax_is_named() {
    let seen = seen(&[
        ("an empty file", ""),
        ("nothing but a comment", "// later\n"),
        ("a byte order mark", "\u{feff}{}"),
        ("a list", "[1, 2]"),
        ("an unquoted key", settings!("home: \"https://small.example\"")),
        ("single quotes", settings!("'home': 'x'")),
        ("a missing comma", settings!("\"trace\": true\n    \"home\": \"https://small.example\"")),
        ("a missing comma in a list", settings!("\"uploads\": { \"types\": [\"a/b\" \"c/d\"] }")),
        ("a comma too many", settings!("\"trace\": true,,")),
        ("a missing colon", settings!("\"trace\" true")),
        ("a missing value", settings!("\"trace\": ,")),
        ("a hexadecimal number", settings!("\"uploads\": { \"maxSizeMb\": 0x10 }")),
        ("a number with a plus", settings!("\"uploads\": { \"maxSizeMb\": +5 }")),
        ("a number with a bare point", settings!("\"uploads\": { \"maxSizeMb\": .5 }")),
        ("a number with leading zeros", settings!("\"uploads\": { \"maxSizeMb\": 007 }")),
        ("a number beyond all numbers", settings!("\"uploads\": { \"maxSizeMb\": 1e999 }")),
        ("no number at all", settings!("\"uploads\": { \"maxSizeMb\": NaN }")),
        ("a bare word", settings!("\"trace\": yes")),
        ("a text over two lines", settings!("\"home\": \"https:\n//small.example\"")),
        ("an unknown escape", settings!("\"home\": \"C:\\dir\"")),
        ("a tab in a text", settings!("\"home\": \"\t\"")),
        ("half a character", settings!("\"home\": \"\\u12\"")),
        ("an unclosed object", "{\n  \"kind\": \"small\",\n  \"settings\": {\n"),
        ("an unclosed list", "{ \"settings\": { \"uploads\": { \"types\": [ \"a/b\""),
        ("an unclosed comment", "{ /* \"kind\": \"small\" }"),
        ("a bracket that closes nothing", "{ \"kind\": ] }"),
        ("something after the end", "{ \"kind\": \"small\" }\n}, \"settings\": {}\n"),
        (
            "the same key twice, and again",
            settings!("\"trace\": true, \"mail\": { \"port\": 1, \"port\": 2 }, \"trace\": 1"),
        ),
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn a_value_that_the_schema_refuses_is_explained() {
    let seen = seen(&[
        ("nothing that is needed", "{}"),
        (
            "another kind",
            "{ \"kind\": \"smal\", \"settings\": { \"domain\": \"a.example\" }, \"machines\": { \"a\": { \"role\": \"singlenode\" } } }",
        ),
        ("unknown keys, near and far", settings!("\"hme\": \"https://small.example\", \"colour\": \"red\"")),
        ("a key that is there already", settings!("\"domains\": [\"a.example\"]")),
        ("a missing key deep down", settings!("\"mail\": { \"sender\": {} }")),
        ("wrong types", settings!("\"trace\": \"yes\", \"home\": null, \"uploads\": [], \"mail\": \"a@b.example\"")),
        ("a number in quotes", settings!("\"uploads\": { \"maxSizeMb\": \"50\" }")),
        ("a number that is not whole", settings!("\"uploads\": { \"maxSizeMb\": 1.5 }")),
        (
            "numbers out of range",
            settings!(
                "\"uploads\": { \"maxSizeMb\": 0 }, \"mail\": { \"sender\": { \"name\": \"x\" }, \"port\": 65536 }"
            ),
        ),
        ("no choice of the list", settings!("\"mail\": { \"sender\": { \"name\": \"x\" }, \"method\": \"cram_md5\" }")),
        (
            "texts too short and too long",
            settings!("\"mail\": { \"sender\": { \"name\": \"twenty-one characters\" }, \"host\": \"\" }"),
        ),
        (
            "formats",
            settings!(
                "\"home\": \"www.small.example\", \"mail\": { \"sender\": { \"name\": \"é\", \"address\": \"no reply\" } }"
            ),
        ),
        ("a list of the wrong things", settings!("\"uploads\": { \"types\": [\"a/b\", \"png\", \"a/b\", 4] }")),
        (
            "an alternative that is nearly right",
            settings!("\"storage\": { \"type\": \"s3\", \"bucket\": \"ab\", \"path\": \"/\" }"),
        ),
        ("no alternative at all", settings!("\"storage\": \"disk\"")),
        ("an alternative that does not exist", settings!("\"storage\": { \"type\": \"tape\" }")),
        (
            "a default that turns out wrong",
            "{ \"kind\": \"small\", \"settings\": { \"domain\": \"not a domain\" }, \"machines\": { \"a\": { \"role\": \"singlenode\" } } }",
        ),
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn references_that_multiply_are_stopped_before_they_fill_the_memory() {
    let chained = |level: usize| format!("\"a{}\": \"{}\"", level + 1, format!("${{settings.a{level}}}").repeat(10));
    let levels: Vec<String> = (0..12).map(chained).collect();
    let text = format!(
        "{{ \"kind\": \"small\", \"settings\": {{ \"a0\": \"{}\", {} }}, \"machines\": {{}} }}",
        "x".repeat(100),
        levels.join(", ")
    );
    let problems = check(&text).err().unwrap_or_default();
    assert!(problems.iter().any(|problem| problem.code == "references-too-large"), "{problems:#?}");
}

#[test]
fn a_reference_that_leads_nowhere_is_shown_where_it_stands() {
    let seen = seen(&[
        ("a misspelt name", settings!("\"home\": \"https://www.${settings.domian}/\"")),
        ("a misspelt name on the way", settings!("\"home\": \"https://${machine.co1.ip}/\"")),
        ("a name that is nowhere near", settings!("\"home\": \"https://${settings.zzz}/\"")),
        ("something of the environment", settings!("\"home\": \"${HOME}\"")),
        ("an empty name", settings!("\"home\": \"${}\"")),
        ("below a text", settings!("\"home\": \"https://${settings.domain.name}/\"")),
        ("never closed", settings!("\"home\": \"https://${settings.domain/\"")),
        ("the second of two", settings!("\"home\": \"https://${settings.domain}/${settings.domains}\"")),
        ("a machine that has no address", settings!("\"home\": \"https://${machines.co1.ip}/\"")),
        ("an object inside a text", settings!("\"home\": \"https://${settings.uploads}/\"")),
        ("null inside a text", settings!("\"home\": \"https://${settings.trace}/\"")),
        ("a value that is itself", settings!("\"home\": \"${settings.home}\"")),
        (
            "a circle of two",
            settings!(
                "\"home\": \"${settings.mail.host}\",\n    \"mail\": { \"sender\": { \"name\": \"x\" }, \"host\": \"${settings.home}\" }"
            ),
        ),
        (
            "a circle of three, and one who follows it",
            settings!(
                "\"trace\": \"${settings.mail.host}\",\n    \"home\": \"${settings.mail.sender.name}\",\n    \"mail\": {\n      \"host\": \"${settings.home}\",\n      \"sender\": { \"name\": \"${settings.mail.host}\" }\n    }"
            ),
        ),
        ("a circle through an object", settings!("\"mail\": { \"sender\": \"${settings.mail}\" }")),
        ("a reference to a value of the wrong type", settings!("\"home\": \"${settings.uploads.maxSizeMb}\"")),
        (
            "a reference to what is missing",
            "{ \"kind\": \"small\", \"settings\": { \"home\": \"https://${settings.domain}\" }, \"machines\": { \"a\": { \"role\": \"singlenode\" } } }",
        ),
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn machines_that_make_no_platform_are_counted() {
    let seen = seen(&[
        ("no machine", machines!("")),
        (
            "a list of machines",
            "{ \"kind\": \"small\", \"settings\": { \"domain\": \"a.example\" }, \"machines\": [\"co1\"] }",
        ),
        (
            "names that are no names",
            machines!(
                "\"reg\": { \"role\": \"reg-master\" }, \"co 1\": { \"role\": \"core\" }, \"Co2\": { \"role\": \"core\" }, \"\": { \"role\": \"core\" }"
            ),
        ),
        ("a machine that is a text", machines!("\"reg\": { \"role\": \"reg-master\" }, \"co1\": \"core\"")),
        ("no role", machines!("\"reg\": { \"role\": \"reg-master\" }, \"co1\": { \"ip\": \"203.0.113.21\" }")),
        (
            "a role that follows nothing",
            machines!("\"reg\": { \"role\": \"reg-master\" }, \"co1\": { \"role\": \"${settings.role}\" }"),
        ),
        (
            "an unknown role, near and far",
            machines!("\"reg\": { \"role\": \"reg-mastr\" }, \"co1\": { \"role\": \"zzz\" }"),
        ),
        (
            "an address that is none",
            machines!(
                "\"reg\": { \"role\": \"reg-master\" },\n    \"co1\": { \"role\": \"core\", \"ip\": \"10.0.0.300\" }"
            ),
        ),
        (
            "two of what there must be one",
            machines!(
                "\"reg1\": { \"role\": \"reg-master\" },\n    \"reg2\": { \"role\": \"reg-master\" },\n    \"co1\": { \"role\": \"core\" }"
            ),
        ),
        (
            "three of what there may be one",
            machines!(
                "\"reg\": { \"role\": \"reg-master\" }, \"co1\": { \"role\": \"core\" },\n    \"s1\": { \"role\": \"reg-slave\" }, \"s2\": { \"role\": \"reg-slave\" },\n    \"s3\": { \"role\": \"reg-slave\" }"
            ),
        ),
        ("none of what there must be", machines!("\"slave\": { \"role\": \"reg-slave\" }")),
        (
            "two topologies",
            machines!(
                "\"reg\": { \"role\": \"reg-master\" },\n    \"co1\": { \"role\": \"core\" },\n    \"all\": { \"role\": \"singlenode\" }"
            ),
        ),
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn programs_get_the_same_with_lines_and_columns() {
    let text = machines!(
        "\"é\": { \"role\": \"core\" }, \"a\": { \"role\": \"reg-master\", \"url\": \"é${settings.domian}\" },\n    \"b\": { \"role\": \"reg-master\" }"
    );
    let mut sources = pconf_platform::Sources::new();
    sources.insert("platform.json", text);
    let seen = pconf_platform::to_json(&check(text).err().unwrap_or_default(), &sources);
    insta::assert_json_snapshot!(seen);
}

#[test]
fn no_cut_of_a_file_upsets_the_check() {
    let text = include_str!("set/platform.example.json");
    for cut in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        let mut one_less = text.to_owned();
        one_less.remove(cut);
        for broken in [&text[..cut], &one_less] {
            let problems = check(broken).err().unwrap_or_default();
            for problem in &problems {
                let inside = problem.span.as_ref().is_none_or(|span| broken.get(span.clone()).is_some());
                assert!(inside, "{problem:?} points outside of\n{broken}");
            }
            assert!(problems.is_empty() || shown(&problems, "platform.json", broken).contains("-->"));
        }
    }
}
