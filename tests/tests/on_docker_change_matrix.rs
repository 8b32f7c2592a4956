//! Five machines of a Pryv platform with all their containers: a change restarts who reads it, where it is read, once;
//! nginx takes it while it runs on.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use promises::pryv::{CONTAINERS, on_this_host, once_each, reloaded, reloading, start_services};
use promises::{Engine, eventually, get};
use serde_json::{Value, json};

/// Machines with the services that take a change there, by the names of their containers.
type Restarts = Vec<(&'static str, &'static [&'static str])>;

fn on_both_cores(services: &'static [&'static str]) -> Restarts {
    vec![("co1", services), ("co2", services)]
}

/// A setting, what it becomes, and who reads it.
fn settings() -> Vec<(&'static str, Value, Restarts)> {
    vec![
        (
            "/uploads/maxSizeMb",
            json!(21),
            vec![
                ("co1", &["core", "hfs", "nginx"]),
                ("co2", &["core", "hfs", "nginx"]),
                ("reg-master", &["nginx"]),
                ("reg-slave", &["nginx"]),
                ("static", &["nginx"]),
            ],
        ),
        ("/mfa/mode", json!("challenge-verify"), on_both_cores(&["mfa"])),
        ("/logs/keepDays", json!(61), on_both_cores(&["core", "hfs", "preview", "webhooks"])),
        ("/auth/sessionMaxAge", json!(1_209_600_001), on_both_cores(&["core", "preview"])),
        ("/auth/customFunction", json!("module.exports = (context, done) => done();"), on_both_cores(&["core"])),
        (
            "/dns/customEntries",
            json!({ "shop": { "ip": "203.0.113.99" } }),
            vec![("reg-master", &["dns", "register"]), ("reg-slave", &["dns"])],
        ),
        ("/mail/sender/name", json!("Somebody else"), vec![("reg-master", &["mail"])]),
        ("/mail/templates/welcomeEmail/fr/subject", json!("Bienvenue"), vec![("reg-master", &["mail"])]),
        ("/service/name", json!("Another name"), vec![("reg-master", &["mail", "register"])]),
        ("/accounts/invitationTokens", json!([]), vec![("reg-master", &["register"])]),
        ("/hostings/hosting1/name", json!("Hosting One"), vec![("reg-master", &["register"])]),
        ("/webApps/mfa", json!("https://mfa.example/app/"), vec![("static", &["nginx"])]),
    ]
}

/// A secret's file, and who reads it.
fn secrets() -> Vec<(&'static str, Restarts)> {
    vec![
        ("core_mail_key", vec![("co1", &["core"]), ("co2", &["core"]), ("reg-master", &["mail"])]),
        ("sso_cookie_sign_secret@co1", vec![("co1", &["core"])]),
        ("register_admin_key", vec![("reg-master", &["register"])]),
    ]
}

#[test]
fn a_change_restarts_exactly_its_readers_on_exactly_their_machines_once() -> Result<()> {
    let engine = Engine::here()?;
    let mut platform = on_this_host(Some(&engine))?;
    platform.start()?;
    start_services(&engine, &mut platform)?;
    let running = engine.running()?;
    assert_eq!(running.len(), CONTAINERS.iter().map(|(_, count)| count).sum::<usize>(), "{running:?}");

    let nginx = format!("{}co1_nginx", engine.prefix());
    let workers = || -> Result<Vec<String>> {
        Ok(engine.processes(&nginx)?.into_iter().filter(|process| process.contains("worker process")).collect())
    };
    let before = workers()?;
    ensure!(!before.is_empty());
    for (setting, value, expected) in settings() {
        let since = engine.moment()?;
        platform.roll_out(|platform| platform.set(setting, value))?;
        assert_eq!(engine.starts_since(since)?, once_each(&engine, &expected), "after {setting}{}", platform.logs());
        assert_eq!(reloaded(&platform)?, reloading(&engine, &expected), "after {setting}{}", platform.logs());
    }
    eventually("nginx works with what it read anew", || {
        let after = workers()?;
        Ok((!after.is_empty() && !after.iter().any(|worker| before.contains(worker))).then_some(()))
    })?;
    for (secret, expected) in secrets() {
        let since = engine.moment()?;
        platform.roll_out(|platform| platform.write_secret(secret, &"n3w".repeat(11)))?;
        assert_eq!(engine.starts_since(since)?, once_each(&engine, &expected), "after {secret}{}", platform.logs());
    }

    // What a container booted with is what lies on its machine.
    let core = format!("{}co1_core", engine.prefix());
    let booted = get(engine.standin(&core)?, "/files/app/conf/core.yml")?.text();
    assert_eq!(booted, platform.machine("co1")?.read("core/conf/core.yml")?);
    ensure!(booted.contains(&"n3w".repeat(11)));

    // One more core is told to those who answer for all of them.
    let since = engine.moment()?;
    platform.publish(|platform| {
        platform.add_machine("co3", "core")?;
        let ip = platform.network().address(200);
        platform.edit(|document| {
            document["machines"]["co3"]["ip"] = json!(ip);
            document["machines"]["co3"]["hosting"] = json!("hosting1");
        })
    })?;
    platform.machine("co3")?.start()?;
    platform.converged()?;
    let told: [(&str, &[&str]); 2] = [("reg-master", &["dns", "register"]), ("reg-slave", &["dns"])];
    assert_eq!(engine.starts_since(since)?, once_each(&engine, &told), "after a third core{}", platform.logs());

    // Another way to write the same is no change: no revision, no restart. The mistake in between shows that the leader
    // has looked at both.
    let since = engine.moment()?;
    let revision = platform.revision()?;
    platform.write_text("{")?;
    platform.wait_for_problems(true)?;
    platform.write_text(&format!("// the same, in one line\n{}", serde_json::to_string(platform.document())?))?;
    platform.wait_for_problems(false)?;
    assert_eq!(platform.converged()?, revision);
    assert_eq!(engine.starts_since(since)?, BTreeMap::new(), "{}", platform.logs());
    assert_eq!(engine.running()?, running);
    Ok(())
}
