//! Secrets come in from outside, and a whole leader goes to another folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use promises::{Daemon, Platform, Program, TemplateSet, eventually};
use serde_json::json;

const VALUE: &str = "hunter2-hunter2-hunter2";

/// A platform that needs a value from outside, and makes one itself.
fn platform() -> Result<Platform> {
    let secrets = json!({
        "token": { "description": "x", "kind": "external", "roles": ["app"] },
        "own": { "description": "x", "kind": "random", "roles": ["app"] }
    });
    let set = TemplateSet::little()
        .json("secrets.json", &secrets)
        .text("app/app/token.json.tera", "[{{ secrets.token | json }}, {{ secrets.own | json }}]\n");
    Platform::little(&set, &["a"])
}

#[test]
fn a_secret_in_the_environment_is_taken_and_the_environment_forgets_it() -> Result<()> {
    let platform = platform()?;
    let program = platform.command()?.env("SECRET_TOKEN", VALUE).arg("serve");
    let leader = Daemon::start(program, &platform.path("leader.log"))?;
    eventually("a revision is served", || Ok(platform.revision().ok()))?;
    let environment = fs::read(format!("/proc/{}/environ", leader.id()))?;
    ensure!(!String::from_utf8_lossy(&environment).contains(VALUE), "the environment still holds it");
    assert_eq!(platform.read_secret("token")?, VALUE);
    leader.end()?;
    // What is there stays, whatever the environment says next.
    let leader =
        Daemon::start(platform.command()?.env("SECRET_TOKEN", "another").arg("serve"), &platform.path("leader.log"))?;
    eventually("the leader answers", || Ok(platform.revision().ok()))?;
    assert_eq!(platform.read_secret("token")?, VALUE);
    leader.end()?;
    Ok(())
}

#[test]
fn an_export_restores_a_leader_in_an_empty_folder_and_opens_with_its_passphrase_only() -> Result<()> {
    let mut platform = platform()?;
    platform.write_secret("token", VALUE)?;
    platform.start_leader()?;
    eventually("a revision is served", || Ok(platform.revision().ok()))?;
    let own = platform.read_secret("own")?;
    let file = platform.path("leader.export");
    let export = |passphrase: &str| -> Result<Program> {
        Ok(platform.command()?.args(["secret", "export"]).arg(&file).env("CONFIG_LEADER_EXPORT_PASSPHRASE", passphrase))
    };
    export("correct horse")?.succeed()?;
    ensure!(export("correct horse")?.end()?.code == Some(1), "an export was overwritten");
    let bytes = fs::read(&file)?;
    let text = String::from_utf8_lossy(&bytes);
    ensure!(!text.contains(VALUE) && !text.contains(&own) && !text.contains("platform.json"));
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);

    let there = platform.path("restored");
    let leader = || -> Result<Program> {
        let templates = platform.path("templates");
        Ok(Program::ours("config-leader")?.arg("--dir").arg(&there).arg("--templates").arg(templates))
    };
    let import = |passphrase: &str| -> Result<Program> {
        Ok(leader()?.args(["secret", "import"]).arg(&file).env("CONFIG_LEADER_EXPORT_PASSPHRASE", passphrase))
    };
    let refused = import("another")?.end()?;
    ensure!(refused.code == Some(1) && refused.errors.contains("the passphrase is another"), "{refused:?}");
    ensure!(!there.join("platform.json").exists());
    import("correct horse")?.succeed()?;
    let again = import("correct horse")?.end()?;
    ensure!(again.code == Some(1) && again.errors.contains("is no empty folder"), "{again:?}");

    assert_eq!(leader()?.args(["secret", "show", "own"]).succeed()?.trim_end(), own);
    assert_eq!(leader()?.args(["secret", "show", "token"]).succeed()?.trim_end(), VALUE);
    let whole = leader()?.args(["audit", "verify"]).succeed()?;
    ensure!(!whole.is_empty());
    ensure!(fs::read(there.join("kek"))? != fs::read(platform.path("leader/kek"))?, "two leaders share a key");
    let (one, other) = (platform.path("rendered"), platform.path("rendered-there"));
    platform.command()?.args(["render", "--out"]).arg(&one).succeed()?;
    leader()?.args(["render", "--out"]).arg(&other).succeed()?;
    assert_eq!(fs::read(one.join("a/app/token.json"))?, fs::read(other.join("a/app/token.json"))?);
    Ok(())
}

#[test]
fn values_come_out_of_a_sops_file_that_the_operators_own_sops_opens() -> Result<()> {
    let platform = platform()?;
    let file = platform.path("secrets.enc.yaml");
    fs::write(&file, "token: ENC[AES256_GCM,data:…]\n")?;
    let import = |path: &str| -> Result<Program> {
        Ok(platform.command()?.args(["secret", "import", "--sops"]).arg(&file).env("PATH", path))
    };
    let missing = import("/nonexistent")?.end()?;
    ensure!(missing.code == Some(1) && missing.errors.contains("cannot run `sops`: install it"), "{missing:?}");

    // Stands in for sops: the file that it is asked for, opened.
    let tools = platform.path("tools");
    fs::create_dir_all(&tools)?;
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = \"--decrypt --output-type json {}\" ] && echo '{{\"token\": \"{VALUE}\"}}'\n",
        file.display()
    );
    fs::write(tools.join("sops"), script)?;
    fs::set_permissions(tools.join("sops"), fs::Permissions::from_mode(0o700))?;
    import(&tools.display().to_string())?.succeed()?;
    assert_eq!(platform.read_secret("token")?, VALUE);
    Ok(())
}
