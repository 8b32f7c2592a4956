//! The programs that will read the rendered files accept them: a real nginx, a real redis, docker-compose.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use promises::{Engine, ImageName, Platform, Program, Project, eventually};

/// Both examples that ship.
const EXAMPLES: [Option<&str>; 2] = [None, Some("singlenode")];

/// The names that Docker's name server knows on a machine.
const NEIGHBOURS: [&str; 9] =
    ["core", "hfs", "mfa", "preview", "register", "mail", "admin_panel", "app_web_auth3", "webhooks"];

/// Every machine of both examples, rendered, with its name.
fn each_machine(mut judge: impl FnMut(&str, &Path) -> Result<()>) -> Result<()> {
    for example in EXAMPLES {
        let mut platform = Platform::shipped("pryv", example)?;
        let rendered = platform.render("rendered")?;
        let names: Vec<_> = platform.machines().map(|(name, _)| name.to_owned()).collect();
        ensure!(!names.is_empty());
        for name in names {
            judge(&name, &rendered.join(&name)).with_context(|| format!("{name} of example {example:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn nginx_accepts_the_servers_of_every_machine() -> Result<()> {
    let engine = Engine::here()?;
    each_machine(|_, files| {
        let mut hosts = Vec::new();
        for name in NEIGHBOURS {
            hosts.extend(["--add-host".to_owned(), format!("{name}:127.0.0.1")]);
        }
        let outcome = Program::named("docker")
            .args(["run", "--rm", "--network", "none", "--tmpfs", "/app/log"])
            .args(["--name", &format!("{}nginx", engine.prefix())])
            .args(hosts)
            .args(["--volume", &format!("{}:/app/conf:ro", files.join("nginx/conf").display())])
            .args([ImageName::Nginx.as_str(), "-t", "-c", "/app/conf/nginx.conf"])
            .end()?;
        ensure!(outcome.code == Some(0) && !outcome.errors.contains("[warn]"), "{}", outcome.errors);
        Ok(())
    })
}

#[test]
fn redis_starts_with_the_configuration_of_every_machine_that_has_one() -> Result<()> {
    let engine = Engine::here()?;
    let mut started = 0;
    each_machine(|name, files| {
        let configuration = files.join("redis/conf");
        if !configuration.is_dir() {
            return Ok(());
        }
        let mount = format!("{}:/app/conf:ro", configuration.display());
        let options = ["--volume", &mount, "--tmpfs", "/app/data:mode=777", "--tmpfs", "/app/log:mode=777"];
        let container = engine.run(&format!("redis-{name}-{started}"), ImageName::Redis, &options)?;
        started += 1;
        eventually("redis answers", || {
            let running = engine.inspect(&container, "{{ .State.Running }}")?;
            ensure!(
                running == "true",
                "it ended: {}",
                Program::named("docker").args(["logs", &container]).end()?.output
            );
            let address = engine.standin(&container)?.ip();
            let mut connection = std::net::TcpStream::connect((address, 6379))?;
            std::io::Write::write_all(&mut connection, b"PING\r\n")?;
            let mut answer = [0; 7];
            std::io::Read::read_exact(&mut connection, &mut answer)?;
            Ok((&answer == b"+PONG\r\n").then_some(()))
        })
    })?;
    assert_eq!(started, 3, "reg-master, reg-slave and the single node have a redis");
    Ok(())
}

#[test]
fn compose_accepts_the_services_of_every_machine() -> Result<()> {
    each_machine(|name, files| {
        let resolved = Project::new(&format!("judge-{name}"), &files.join("pryv.yml")).resolved()?;
        ensure!(resolved.contains("reverse_proxy"), "{resolved}");
        Ok(())
    })
}
