//! The manifests of a template set: what they mean, and what is said about a broken one.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{check, roles, schema, shown};
use pconf_names::OnChange;
use pconf_platform::{DhGroup, Problem, RoleManifest, Rotation, Schema, SecretKind, SecretScope, SecretsManifest};

const ROLE: &str = r#"{
  "description": "a machine that keeps data", // for people
  "topology": "cluster",
  "machines": { "min": 1 },
  "trees": ["_shared/nginx", "_shared/logs"],
  "files": [
    { "match": "**", "class": "config", "owner": "9999:9999", "mode": "0640" },
    { "match": "**/*.key", "class": "secret", "mode": "0400" },
    { "match": "redis/**", "owner": "999:999" },
    { "match": "*.sh", "mode": "0750" },
  ],
  "directories": [
    { "path": "mongodb/data", "owner": "9999:9999", "mode": "0700" },
    { "path": "core/log", "owner": "9999:9999", "mode": "0750" },
  ],
}"#;

/// A role that says everything that can be said of services.
const SERVICES: &str = r#"{
  "description": "a machine of many services",
  "topology": "cluster",
  "files": [
    { "match": "**", "class": "config", "owner": "9999:9999", "mode": "0640" },
    { "match": "dns/*", "onChange": { "reload": "SIGHUP" } },
    { "match": "dns/secret.json", "onChange": "stop-first" },
  ],
  "services": [
    { "match": "*", "health": { "running": 0 }, "limit": 120 },
    { "match": "nginx", "onChange": { "exec": ["nginx", "-s", "reload"] }, "check": { "run": ["nginx", "-t"] },
      "health": { "http": { "port": 80, "path": "/" } }, "upstreams": ["core"] },
    { "match": "core", "onChange": "restart", "check": { "exec": ["core", "--try", "{staged}/core.yml"] },
      "health": { "tcp": 3000 }, "after": ["db"] },
  ],
  "compose": [{ "file": "app.yml", "project": "app" }],
}"#;

#[test]
fn every_rule_that_matches_a_file_applies_field_by_field() {
    let role = RoleManifest::parse("core/role.json", ROLE).unwrap();
    let lands = |path: &str| {
        let attributes = role.attributes(&path.parse().unwrap());
        format!("{path} {:?} {} {}", attributes.class, attributes.owner, attributes.mode)
    };
    let seen: Vec<_> =
        ["core.yml", "a/b/core.yml", "tls.key", "redis/conf/tls.key", "run.sh", "bin/run.sh"].map(lands).into();
    assert_eq!(
        seen,
        [
            "core.yml Config 9999:9999 0640",
            "a/b/core.yml Config 9999:9999 0640",
            "tls.key Secret 9999:9999 0400",
            "redis/conf/tls.key Secret 999:999 0400",
            "run.sh Config 9999:9999 0750",
            "bin/run.sh Config 9999:9999 0640",
        ]
    );
    let directories: Vec<_> = role.directories.iter().map(|directory| directory.path.as_str()).collect();
    assert_eq!(directories, ["core/log", "mongodb/data"]);
    assert_eq!((role.machines.min, role.machines.max), (1, None));
    assert_eq!(role.trees.len(), 2);
}

#[test]
fn services_are_told_of_as_the_rules_say() {
    let role = RoleManifest::parse("core/role.json", SERVICES).unwrap();
    let lands = |path: &str| role.attributes(&path.parse().unwrap()).on_change;
    assert_eq!(
        ["core.yml", "dns/zone.json", "dns/secret.json"].map(lands),
        [None, Some(OnChange::Reload("SIGHUP".to_owned())), Some(OnChange::StopFirst)]
    );
    let told: Vec<_> = role.services.iter().map(|rule| serde_json::to_string(rule).unwrap()).collect();
    assert_eq!(
        told,
        [
            r#"{"match":"*","health":{"running":0},"limit":120}"#,
            r#"{"match":"nginx","onChange":{"exec":["nginx","-s","reload"]},"check":{"run":["nginx","-t"]},"health":{"http":{"port":80,"path":"/"}},"upstreams":["core"]}"#,
            r#"{"match":"core","onChange":"restart","check":{"exec":["core","--try","{staged}/core.yml"]},"health":{"tcp":3000},"after":["db"]}"#,
        ]
    );
    assert_eq!(serde_json::to_string(&role.compose).unwrap(), r#"[{"file":"app.yml","project":"app"}]"#);
}

#[test]
fn secrets_are_declared_with_their_readers() {
    let manifest = SecretsManifest::parse(
        "secrets.json",
        r#"{
          "core_system_key": { "description": "between core and register", "kind": "random", "roles": ["core", "reg-master"] },
          "sso_cookie_sign_secret": { "description": "signs cookies", "kind": "random", "length": 64, "scope": "machine", "roles": ["core"] },
          "tls": { "description": "TLS", "kind": "certificate", "roles": ["core"], "names": ["*.{{ settings.domain }}"] },
          "smtp_password": { "description": "of the mail server", "kind": "external", "roles": ["reg-master"] },
        }"#,
        &roles(),
    )
    .unwrap();
    let seen: Vec<_> =
        manifest.secrets.iter().map(|(name, secret)| (name.as_str(), secret.kind.clone(), secret.scope)).collect();
    let names = vec!["*.{{ settings.domain }}".to_owned()];
    let random = |length: usize| {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".to_owned();
        SecretKind::Random { length, alphabet }
    };
    assert_eq!(
        seen,
        [
            ("core_system_key", random(32), SecretScope::Platform),
            ("smtp_password", SecretKind::External, SecretScope::Platform),
            ("sso_cookie_sign_secret", random(64), SecretScope::Machine),
            ("tls", SecretKind::Certificate { names }, SecretScope::Platform),
        ]
    );
}

/// A mistake, the file that it is in, what reads that file, its text.
type Case<'c> = (&'c str, &'c str, &'c dyn Fn(&str) -> Vec<Problem>, String);

#[test]
fn a_broken_manifest_is_shown_like_a_broken_platform() {
    let role = |text: &str| RoleManifest::parse("core/role.json", text).err().unwrap_or_default();
    let secrets = |text: &str| SecretsManifest::parse("secrets.json", text, &roles()).err().unwrap_or_default();
    let of_schema = |text: &str| Schema::parse("platform.schema.json", text).err().unwrap_or_default();
    let cases: Vec<Case> = vec![
        ("an unknown field", "core/role.json", &role, ROLE.replace("trees", "tree")),
        ("nothing that is needed", "core/role.json", &role, "{}".to_owned()),
        ("a path that climbs out", "core/role.json", &role, ROLE.replace("core/log", "../log").replace("_shared/logs", "/etc")),
        ("no mode, no owner", "core/role.json", &role, ROLE.replace("0640", "640").replace("999:999\" }", "redis\" }")),
        ("setuid", "core/role.json", &role, ROLE.replace("0750", "4750")),
        ("no pattern", "core/role.json", &role, ROLE.replace("*.sh", "[*.sh")),
        ("no rule for every file", "core/role.json", &role, ROLE.replace("\"match\": \"**\", ", "\"match\": \"*\", ")),
        ("half a rule for every file", "core/role.json", &role, ROLE.replacen(", \"mode\": \"0640\"", "", 1)),
        ("an impossible count", "core/role.json", &role, ROLE.replace("\"min\": 1", "\"min\": 2, \"max\": 1")),
        ("a way to take a change that is none", "core/role.json", &role, SERVICES.replace("\"restart\"", "\"restat\"")),
        ("another word for a way", "core/role.json", &role, SERVICES.replace("{ \"reload\": \"SIGHUP\" }", "{ \"signal\": \"SIGHUP\" }")),
        ("no way at all", "core/role.json", &role, SERVICES.replace("{ \"reload\": \"SIGHUP\" }", "{}")),
        ("two ways at once", "core/role.json", &role, SERVICES.replace("\"SIGHUP\" }", "\"SIGHUP\", \"exec\": [\"x\"] }")),
        ("a signal that is none", "core/role.json", &role, SERVICES.replace("SIGHUP", "HUP").replace("\"stop-first\"", "{ \"reload\": 1 }")),
        ("commands of nothing", "core/role.json", &role, SERVICES.replace("[\"nginx\", \"-s\", \"reload\"]", "[]").replace("[\"nginx\", \"-t\"]", "[\"\"]")),
        ("a command line", "core/role.json", &role, SERVICES.replace("[\"nginx\", \"-t\"]", "\"nginx -t\"")),
        ("a check that cannot see the new files", "core/role.json", &role, SERVICES.replace("{staged}", "/app/conf")),
        ("health that is none", "core/role.json", &role, SERVICES.replace("\"tcp\": 3000", "\"udp\": 3000").replace("\"running\": 0", "\"running\": 601")),
        ("a port and a path that are none", "core/role.json", &role, SERVICES.replace("\"port\": 80, \"path\": \"/\"", "\"port\": 0, \"path\": \"status\"").replace("3000", "65536")),
        ("half an HTTP question", "core/role.json", &role, SERVICES.replace(", \"path\": \"/\"", "")),
        ("no time, too much time", "core/role.json", &role, SERVICES.replace("120", "0").replace("\"after\"", "\"limit\": 3601, \"after\"")),
        ("services in a circle", "core/role.json", &role, SERVICES.replace("\"after\": [\"db\"]", "\"upstreams\": [\"nginx\"]")),
        ("a service after itself", "core/role.json", &role, SERVICES.replace("\"limit\": 120", "\"after\": [\"db\"]")),
        ("names that are none", "core/role.json", &role, SERVICES.replace("[\"db\"]", "[\"db*\", \"core\", \"core\"]").replace("\"project\": \"app\"", "\"project\": \"My App\"")),
        ("a rule for no service", "core/role.json", &role, SERVICES.replace("\"match\": \"core\", ", "")),
        ("a compose file twice", "core/role.json", &role, SERVICES.replace("\"project\": \"app\" }", "\"project\": \"app\" }, { \"file\": \"app.yml\", \"project\": \"other\" }")),
        ("a directory twice", "core/role.json", &role, ROLE.replace("mongodb/data", "core/log")),
        (
            "a secret that cannot be named in a template",
            "secrets.json",
            &secrets,
            "{ \"core-key\": { \"description\": \"x\", \"kind\": \"random\", \"roles\": [\"core\"] } }".to_owned(),
        ),
        (
            "a secret for a role that is not there",
            "secrets.json",
            &secrets,
            "{ \"key\": { \"description\": \"x\", \"kind\": \"randm\", \"roles\": [\"cores\"] },\n  \"sign\": { \"description\": \"x\", \"kind\": \"random\", \"roles\": [] } }".to_owned(),
        ),
        (
            "fields of another kind",
            "secrets.json",
            &secrets,
            "{ \"a\": { \"description\": \"x\", \"kind\": \"external\", \"length\": 32, \"roles\": [\"core\"] },\n  \"b\": { \"description\": \"x\", \"kind\": \"random\", \"names\": [\"x\"], \"roles\": [\"cor\"] },\n  \"c\": { \"description\": \"x\", \"kind\": \"certificate\", \"roles\": [\"core\"] } }".to_owned(),
        ),
        (
            "every field with a kind that it is not for",
            "secrets.json",
            &secrets,
            r#"{
  "a": { "description": "x", "kind": "p256", "length": 32, "alphabet": "ab", "bytes": 16, "bits": 2048, "names": ["x"],
         "group": "ffdhe2048", "from": "b", "label": "x", "roles": ["core"] },
  "b": { "description": "x", "kind": "dh", "rotation": "overlap", "immutableAfterFirstUse": true, "neverRotate": "x",
         "roles": ["core"] },
  "c": { "description": "x", "kind": "derived", "roles": ["core"] }
}"#.to_owned(),
        ),
        (
            "weak alphabets and plans that cannot be followed",
            "secrets.json",
            &secrets,
            r#"{
  "a": { "description": "x", "kind": "random", "alphabet": "0123456789", "length": 24, "roles": ["core"] },
  "b": { "description": "x", "kind": "random", "alphabet": "abca", "length": 100, "roles": ["core"] },
  "d": { "description": "x", "kind": "certificate", "names": ["x"], "rotation": "overlap", "roles": ["core"] },
  "e": { "description": "x", "kind": "external", "rotation": "overlap", "neverRotate": "all mails",
         "immutableAfterFirstUse": true, "roles": ["core"] }
}"#.to_owned(),
        ),
        (
            "values that no kind has",
            "secrets.json",
            &secrets,
            r#"{
  "one": { "description": "x", "kind": "random", "scope": "roles", "rotation": "twice", "roles": ["core"] },
  "two": { "description": "x", "kind": "random", "alphabet": "é ", "length": 100, "roles": ["core"] },
  "key": { "description": "x", "kind": "rsa", "bits": 1024, "roles": ["core"] },
  "group": { "description": "x", "kind": "dh", "group": "modp2048", "neverRotate": "", "roles": ["core"] }
}"#.to_owned(),
        ),
        (
            "derived in circles, from keys and from what is shared otherwise",
            "secrets.json",
            &secrets,
            r#"{
  "one": { "description": "x", "kind": "random", "scope": "machine", "roles": ["core"] },
  "key": { "description": "x", "kind": "rsa", "roles": ["core"] },
  "a": { "description": "x", "kind": "derived", "from": "onne", "label": "a", "roles": ["core"] },
  "b": { "description": "x", "kind": "derived", "from": "b", "label": "b", "roles": ["core"] },
  "c": { "description": "x", "kind": "derived", "from": "key", "label": "c", "roles": ["core"] },
  "d": { "description": "x", "kind": "derived", "from": "one", "scope": "platform", "label": "d", "roles": ["core"] }
}"#.to_owned(),
        ),
        ("a schema that is none", "platform.schema.json", &of_schema, "{ \"type\": \"objekt\" }".to_owned()),
        ("a schema with an unknown format", "platform.schema.json", &of_schema, "{ \"properties\": { \"a\": { \"format\": \"ip\" } } }".to_owned()),
        ("a schema with a broken pattern", "platform.schema.json", &of_schema, "{ \"properties\": { \"a\": { \"pattern\": \"[\" } } }".to_owned()),
        (
            "a schema that refers elsewhere",
            "platform.schema.json",
            &of_schema,
            "{ \"$ref\": \"https://example.com/schema\", \"properties\": { \"a\": { \"$ref\": \"file:///etc/passwd\" } } }".to_owned(),
        ),
        ("a schema that refers to nothing", "platform.schema.json", &of_schema, "{ \"properties\": { \"a\": { \"$ref\": \"#/$defs/b\" } } }".to_owned()),
        (
            "defaults that the schema refuses",
            "platform.schema.json",
            &of_schema,
            "{ \"properties\": {\n  \"a\": { \"$ref\": \"#/$defs/port\", \"default\": 0 },\n  \"b\": { \"type\": \"array\", \"items\": { \"$ref\": \"#/$defs/port\" }, \"default\": [1, \"x\"] },\n  \"default\": { \"type\": \"string\" }\n}, \"$defs\": { \"port\": { \"type\": \"integer\", \"minimum\": 1 } } }".to_owned(),
        ),
    ];
    let one = |(mistake, file, parse, text): Case| {
        let problems = parse(&text);
        assert!(!problems.is_empty(), "{mistake}: nothing was found wrong with\n{text}");
        format!("## {mistake}\n\n{}", shown(&problems, file, &text))
    };
    let seen = cases.into_iter().map(one).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(seen);
}

#[test]
fn the_small_set_of_these_tests_is_right_itself() {
    schema();
    assert!(check(include_str!("set/platform.example.json")).is_ok());
}

#[test]
fn a_secret_says_how_it_is_made_who_shares_it_and_how_it_changes() {
    let manifest = SecretsManifest::parse(
        "secrets.json",
        r#"{
  "token": { "description": "x", "kind": "hex", "bytes": 24, "scope": "role", "rotation": "overlap", "introducedIn": "1.9",
             "roles": ["core"] },
  "part": { "description": "x", "kind": "derived", "from": "token", "label": "part", "roles": ["reg-master"] },
  "salt": { "description": "x", "kind": "random", "alphabet": "0123456789abcdef", "neverRotate": "every password",
            "immutableAfterFirstUse": true, "roles": ["core"] },
  "dh": { "description": "x", "kind": "dh", "group": "ffdhe4096", "roles": ["core"] }
}"#,
        &roles(),
    )
    .unwrap();
    let secret = |name: &str| &manifest.secrets[&name.parse().unwrap()];
    assert_eq!(secret("token").rotation, Rotation::Overlap);
    assert_eq!(secret("token").introduced_in.as_deref(), Some("1.9"));
    // Shared as its source is, which its readers read with it.
    assert_eq!(secret("part").scope, SecretScope::Role);
    let token = "token".parse().unwrap();
    let readers: Vec<_> = manifest.readers(&token).into_iter().map(ToString::to_string).collect();
    assert_eq!(readers, ["core", "reg-master"]);
    assert_eq!((secret("salt").is_immutable, secret("salt").loss.as_deref()), (true, Some("every password")));
    assert_eq!(secret("dh").kind, SecretKind::DiffieHellman { group: DhGroup::Ffdhe4096 });
}
