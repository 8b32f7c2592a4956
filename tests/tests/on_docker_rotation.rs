//! A secret that two services share is rotated while requests go through both, and none of them fails.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use promises::{Engine, ImageName, Platform, TemplateSet, eventually, get};
use serde_json::json;

/// Lets those in who show an accepted token.
const VERIFIER: &str = r"pid /tmp/nginx.pid;
events {}
http {
  map_hash_bucket_size 128;
  map $http_x_token $is_good {
    default 0;
    {% for token in accepted.token %}{{ token | nginx }} 1;
    {% endfor %}
  }
  server {
    listen 8080;
    location / { if ($is_good = 0) { return 403; } return 200 welcome; }
  }
}
";

/// Shows the token for whoever comes.
const USER: &str = r"pid /tmp/nginx.pid;
events {}
http {
  server {
    listen 8080;
    location / { proxy_set_header X-Token {{ secrets.token | nginx }}; proxy_pass {{ settings.verifier | nginx }}; }
  }
}
";

/// Goes through both services without a pause until it is over; how often, or the first answer that was no welcome.
fn go_through(user: SocketAddr, is_over: &AtomicBool) -> Result<usize> {
    let mut welcomes = 0;
    while !is_over.load(Ordering::Relaxed) {
        let answer = get(user, "/")?;
        ensure!(
            answer.status == 200 && answer.text() == "welcome",
            "after {welcomes}: {} {}",
            answer.status,
            answer.text()
        );
        welcomes += 1;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(welcomes)
}

#[test]
fn no_request_fails_while_the_secret_between_two_services_is_rotated() -> Result<()> {
    let engine = Engine::here()?;
    let secret = json!({ "token": { "description": "x", "kind": "random", "rotation": "overlap", "roles": ["app"] } });
    let mut set = TemplateSet::little()
        .json("secrets.json", &secret)
        .text("app/verifier/nginx.conf.tera", VERIFIER)
        .text("app/user/nginx.conf.tera", USER);
    for service in ["verifier", "user"] {
        let rule = json!({
            "match": format!("{}{service}", engine.prefix()),
            "onChange": { "exec": ["/usr/sbin/nginx", "-c", "/app/conf/nginx.conf", "-s", "reload"] },
            // nginx says that it will, not that it has: the first answers after a reload may still be those of before.
            "health": { "running": 2 },
        });
        set = set.service("app", &rule)?;
    }
    let mut platform = Platform::little(&set, &["a", "b"])?;
    platform.set("/verifier", json!("http://127.0.0.1:8080"))?;
    for machine in ["a", "b"] {
        platform.machine(machine)?.configure("docker", json!("/var/run/docker.sock"))?;
    }
    platform.start()?;
    let run = |platform: &mut Platform, machine: &str, service: &str| -> Result<SocketAddr> {
        let conf = platform.machine(machine)?.root().join(service);
        let volume = format!("{}:/app/conf:ro", conf.display());
        let container = engine.run(service, ImageName::Nginx, &["--volume", &volume])?;
        Ok(SocketAddr::new(engine.standin(&container)?.ip(), 8080))
    };
    let verifier = run(&mut platform, "a", "verifier")?;
    platform.roll_out(|platform| platform.set("/verifier", json!(format!("http://{verifier}"))))?;
    let user = run(&mut platform, "b", "user")?;
    eventually("the services know each other", || Ok((get(user, "/")?.text() == "welcome").then_some(())))?;
    ensure!(get(verifier, "/")?.status == 403, "who shows nothing is let in");
    let old = platform.read_secret("token")?;

    let is_over = AtomicBool::new(false);
    let welcomes = thread::scope(|scope| -> Result<usize> {
        let going = scope.spawn(|| go_through(user, &is_over));
        let rotated = rotate(&mut platform, &old);
        is_over.store(true, Ordering::Relaxed);
        let welcomes = going.join().map_err(|_| anyhow!("a thread gave up"))??;
        rotated.map(|()| welcomes)
    })?;
    ensure!(welcomes > 100, "{welcomes}");
    ensure!(platform.read_secret("token")? != old, "the secret is still the old one");
    Ok(())
}

/// Announce, switch, retire: at its end the verifier accepts the new one alone.
fn rotate(platform: &mut Platform, old: &str) -> Result<()> {
    platform.publish(|platform| platform.command()?.args(["secret", "rotate", "token"]).succeed().map(drop))?;
    let conf = platform.machine("a")?.root().join("verifier/nginx.conf");
    eventually("the old one is forgotten", || Ok((!fs::read_to_string(&conf)?.contains(old)).then_some(())))
        .with_context(|| platform.logs())?;
    platform.converged().map(drop)
}
