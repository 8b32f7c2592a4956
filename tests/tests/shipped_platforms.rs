//! The Pryv platform as it ships: complete from the first minute, the same every time, secrets where they belong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use promises::{Platform, Program, Tree, read_tree, repository};
use serde_json::json;

fn files(tree: &Tree) -> BTreeMap<String, (Vec<u8>, u32)> {
    tree.iter().filter_map(|(path, entry)| Some((path.clone(), (entry.content.clone()?, entry.mode)))).collect()
}

#[test]
fn every_role_has_the_files_that_its_services_read() -> Result<()> {
    let mut listed = Vec::new();
    for (example, machines) in [(None, vec!["co1", "reg-master", "reg-slave", "static"]), (Some("singlenode"), vec![])]
    {
        let mut platform = Platform::shipped("pryv", example)?;
        let rendered = platform.render("rendered")?;
        let names: Vec<String> = platform.machines().map(|(name, _)| name.to_owned()).collect();
        for name in names.iter().filter(|name| machines.is_empty() || machines.contains(&name.as_str())) {
            let tree = files(&read_tree(&rendered.join(name))?);
            listed.push(format!("{name}: {} files", tree.len()));
            listed.extend(tree.iter().map(|(path, (_, mode))| format!("  {:04o} {path}", mode & 0o7777)));
        }
    }
    insta::assert_snapshot!(listed.join("\n"));
    Ok(())
}

#[test]
fn rendering_again_changes_no_byte() -> Result<()> {
    for example in [None, Some("singlenode")] {
        let platform = Platform::shipped("pryv", example)?;
        let first = files(&read_tree(&platform.render("first")?)?);
        let second = files(&read_tree(&platform.render("second")?)?);
        ensure!(first == second);
    }
    Ok(())
}

#[test]
fn init_never_overwrites() -> Result<()> {
    let platform = Platform::shipped("pryv", None)?;
    let before = files(&read_tree(&platform.path("leader"))?);
    platform.command()?.args(["init", "pryv"]).end()?;
    let after = files(&read_tree(&platform.path("leader"))?);
    for (path, content) in &before {
        ensure!(after.get(path) == Some(content), "`{path}` was overwritten");
    }
    Ok(())
}

#[test]
fn secrets_are_made_private_and_different() -> Result<()> {
    let (mut one, other) = (Platform::shipped("pryv", None)?, Platform::shipped("pryv", None)?);
    one.machine("co1")?.identify()?;
    for platform in [&one, &other] {
        platform.render("rendered")?;
    }
    for folder in ["leader/secrets", "leader/keys"] {
        let mode = fs::metadata(one.path(folder))?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{folder}");
    }
    let secrets = files(&read_tree(&one.path("leader/secrets"))?);
    ensure!(secrets.len() >= 8, "{:?}", secrets.keys());
    let mut values = Vec::new();
    for (name, (envelope, mode)) in &secrets {
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let value = one.read_secret(name)?;
        ensure!(!String::from_utf8_lossy(envelope).contains(&value), "`{name}` lies in clear");
        values.push(value);
    }
    ensure!(!values.contains(&other.read_secret("core_system_key")?), "two platforms share a secret");
    values.sort();
    values.dedup();
    assert_eq!(values.len(), secrets.len(), "two secrets are equal");
    Ok(())
}

#[test]
fn no_placeholder_and_no_foreign_secret_reaches_a_machine() -> Result<()> {
    let platform = Platform::shipped("pryv", None)?;
    let rendered = platform.render("rendered")?;
    let mut secrets = Vec::new();
    for name in files(&read_tree(&platform.path("leader/secrets"))?).into_keys() {
        secrets.push((name.clone(), platform.read_secret(&name)?));
    }
    let catalogue: serde_json::Value =
        serde_json::from_slice(&fs::read(repository().join("templates/pryv/secrets.json"))?)?;
    let roles = platform.document()["machines"].as_object().context("machines")?;
    for (machine, declared) in roles {
        let role = &declared["role"];
        for (path, (content, _)) in files(&read_tree(&rendered.join(machine))?) {
            let text = String::from_utf8_lossy(&content);
            for placeholder in ["REPLACE_ME", "SECRET_KEY", "{%", "${settings"] {
                ensure!(!text.contains(placeholder), "{machine}/{path} has `{placeholder}`");
            }
            for (file, value) in &secrets {
                let (name, of) = file.split_once('@').map_or((file.as_str(), None), |(name, of)| (name, Some(of)));
                let may = catalogue[name]["roles"].as_array().is_some_and(|roles| roles.contains(role))
                    && of.is_none_or(|of| of == machine);
                ensure!(may || !text.contains(value), "{machine}/{path} has the secret `{file}`");
            }
        }
    }
    Ok(())
}

/// Parsers of the languages that the services themselves are written in, or of the same standard.
const PARSE: &str = r#"
import json, subprocess, sys, yaml
def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return dict(pairs)
for path in sys.stdin.read().splitlines():
    text = open(path, encoding="utf-8").read()
    if path.endswith(".json"): json.loads(text, object_pairs_hook=no_duplicates)
    elif path.endswith((".yml", ".yaml")): yaml.safe_load(text)
    elif path.endswith(".hjson"): subprocess.run(["hjson-cli", "-j", path], check=True, stdout=subprocess.DEVNULL)
    elif path.endswith(".js"): subprocess.run(["node", "--check", path], check=True)
    elif path.endswith((".crt", "-key.pem")): subprocess.run(["openssl", "x509" if path.endswith(".crt") else "pkey", "-noout", "-in", path], check=True)
    else: continue
    print(path.rsplit(".", 1)[1])
"#;

#[test]
fn real_parsers_accept_every_file() -> Result<()> {
    for example in [None, Some("singlenode")] {
        let platform = Platform::shipped("pryv", example)?;
        let rendered = platform.render("rendered")?;
        let list: Vec<_> =
            files(&read_tree(&rendered)?).keys().map(|path| rendered.join(path).display().to_string()).collect();
        let parsed = parse(&platform.path("list"), &list.join("\n"))?;
        for format in ["json", "yml", "hjson", "js", "crt", "pem"] {
            ensure!(parsed.lines().any(|line| line == format), "no {format} file was parsed");
        }
    }
    Ok(())
}

fn parse(scratch: &Path, list: &str) -> Result<String> {
    fs::write(scratch, list)?;
    let script = format!("exec /usr/bin/python3 -c \"$PARSE\" <'{}'", scratch.display());
    Program::named("bash").args(["-c", &script]).env("PARSE", PARSE).succeed()
}

#[test]
fn texts_that_look_like_templates_reach_the_services() -> Result<()> {
    let mut platform = Platform::shipped("pryv", None)?;
    platform.set("/mfa/endpoints/single/body", json!("{\"phone_number\":\"{{ phone_number }}\"} # 'é'"))?;
    platform.set("/mail/templates/welcomeEmail/fr/subject", json!("Bienvenue #{USERNAME} \"é\""))?;
    platform.set("/service/name", json!("L'été # \"$host\" \\ {{ x }}"))?;
    let rendered = platform.render("rendered")?;
    let read = |path: &str| fs::read_to_string(rendered.join(path));
    let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
    let mfa = Program::named("/usr/bin/python3")
        .args(["-c", program])
        .arg(rendered.join("co1/mfa/conf/mfa.yml"))
        .succeed()?;
    ensure!(
        serde_json::from_str::<serde_json::Value>(&mfa)?
            .to_string()
            .contains(&serde_json::to_string("{\"phone_number\":\"{{ phone_number }}\"} # 'é'")?),
        "{mfa}"
    );
    ensure!(read("reg-master/mail/templates/welcome-email/fr/subject.pug")?.contains("Bienvenue #{USERNAME} \"é\""));
    let register: serde_json::Value = serde_json::from_str(&read("reg-master/register/conf/register.json")?)?;
    ensure!(register.to_string().contains(&serde_json::to_string("L'été # \"$host\" \\ {{ x }}")?), "{register:#}");
    ensure!(register.to_string().contains("https://{username}.pryv.example"));
    Ok(())
}

#[test]
fn null_and_an_empty_list_stay_apart() -> Result<()> {
    let mut platform = Platform::shipped("pryv", None)?;
    for value in [json!(null), json!([]), json!(["enough"])] {
        platform.set("/accounts/invitationTokens", value.clone())?;
        let rendered = platform.render("rendered")?;
        let text = fs::read_to_string(rendered.join("reg-master/register/conf/register.json"))?;
        let register: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(find(&register, "invitationTokens"), Some(&value));
    }
    Ok(())
}

fn find<'v>(value: &'v serde_json::Value, key: &str) -> Option<&'v serde_json::Value> {
    let object = value.as_object()?;
    object.get(key).or_else(|| object.values().find_map(|value| find(value, key)))
}
