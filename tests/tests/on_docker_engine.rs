//! What the follower does to containers, one deed at a time, on a real engine: the value is read inside the container.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pconf_bundle::Health;
use pconf_containers::{
    Acted, Container, Containers as _, Docker, EngineError, Gate, HealthState, How, Mount, State, act,
};
use promises::{Engine, ImageName, Program, eventually, get};
use tempfile::TempDir;

const SOCKET: &str = "/var/run/docker.sock";

/// Long enough for anything here.
const LIMIT: Duration = Duration::from_secs(30);

/// The engine, asked by the operator's client and by ours, and a folder with configuration.
struct Bench {
    operator: Engine,
    docker: Docker,
    folder: TempDir,
}

impl Bench {
    fn new() -> Result<Self> {
        let (operator, folder) = (Engine::here()?, tempfile::tempdir()?);
        fs::create_dir(folder.path().join("conf"))?;
        Ok(Self { operator, docker: Docker::at(Path::new(SOCKET)), folder })
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("conf")
    }

    /// Writes a file of the configuration, anew.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text)?;
        Ok(fs::rename(draft, self.conf().join(name))?)
    }

    /// A stand-in that reads the configuration.
    fn standin(&self, name: &str, options: &[&str]) -> Result<String> {
        let volume = format!("{}:/app/conf:ro", self.conf().display());
        self.operator.run(name, ImageName::StandIn, &[&["--volume", &volume], options].concat())
    }

    /// An nginx that answers with a text.
    fn nginx(&self, name: &str, text: &str, options: &[&str]) -> Result<String> {
        self.write("nginx.conf", &nginx(text))?;
        let volume = format!("{}:/app/conf", self.conf().display());
        self.operator.run(name, ImageName::Nginx, &[&["--volume", &volume], options].concat())
    }

    async fn look(&self, name: &str) -> Result<Container> {
        self.docker.look(name).await?.with_context(|| format!("there is no `{name}`"))
    }
}

/// The containers with a label, as the operator sees them.
fn labelled(label: &str) -> Result<String> {
    let filter = format!("label={label}");
    Program::named("docker").args(["ps", "--all", "--filter", &filter, "--format", "{{ .Names }}"]).succeed()
}

fn nginx(text: &str) -> String {
    format!("pid /tmp/nginx.pid;\nevents {{}}\nhttp {{ server {{ listen 8080; return 200 {text}; }} }}\n")
}

fn strings<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn answers(port: u16) -> Gate {
    Gate { health: Some(Health::Http { port, path: "/".to_owned() }), limit: LIMIT }
}

fn runs(seconds: u32) -> Gate {
    Gate { health: Some(Health::Running(seconds)), limit: LIMIT }
}

fn ill(acted: &Acted) -> Result<(&str, &[String])> {
    match acted {
        Acted::Unhealthy { reason, log } => Ok((reason, log)),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stopped_container_is_no_dead_one_and_a_restart_reads_what_was_replaced() -> Result<()> {
    let bench = Bench::new()?;
    bench.write("a.txt", "old")?;
    let name = bench.standin("core", &[])?;
    let before = bench.look(&name).await?;
    assert_eq!((before.state, before.restarts, before.health), (State::Running, 0, None));
    bench.write("a.txt", "new")?;
    bench.docker.restart(&before).await?;
    let restarted = bench.look(&name).await?;
    assert_ne!(restarted.started, before.started);
    let booted = eventually("an answer", || Ok(Some(get(bench.operator.standin(&name)?, "/files/app/conf/a.txt")?)))?;
    assert_eq!(booted.text(), "new");

    bench.docker.stop(&restarted).await?;
    // The image has SIGKILL as its stop signal.
    let stopped = State::Exited { code: 137, died: false };
    assert_eq!(
        (bench.look(&name).await?.state, bench.docker.states().await?.get(&name).map(|seen| seen.state)),
        (stopped, Some(stopped))
    );
    bench.docker.start(&restarted).await?;
    assert_eq!(bench.look(&name).await?.state, State::Running);
    bench.docker.remove(&restarted).await?;
    assert_eq!(bench.docker.look(&name).await?, None);
    bench.docker.remove(&restarted).await?;
    Ok(())
}

#[tokio::test]
async fn a_signal_makes_nginx_read_its_new_configuration_and_it_runs_on() -> Result<()> {
    let bench = Bench::new()?;
    let name = bench.nginx("proxy", "one", &[])?;
    let before = bench.look(&name).await?;
    bench.write("nginx.conf", &nginx("two"))?;
    let acted = act(&bench.docker, &name, Some(&before.id), &How::Signal("SIGHUP".to_owned()), &answers(8080)).await;
    assert_eq!(acted, Acted::Healthy { id: before.id, started: before.started });
    let at = (bench.look(&name).await?.addresses[0], 8080).into();
    eventually("the new answer", || Ok((get(at, "/")?.text() == "two").then_some(())))?;

    bench.write("nginx.conf", &nginx("three"))?;
    let reload = How::Exec(strings(["/usr/sbin/nginx", "-c", "/app/conf/nginx.conf", "-s", "reload"]));
    let acted = act(&bench.docker, &name, Some(&name), &reload, &answers(8080)).await;
    ensure!(matches!(acted, Acted::Healthy { .. }), "{acted:?}");
    eventually("the newer answer", || Ok((get(at, "/")?.text() == "three").then_some(())))
}

#[tokio::test]
async fn a_command_in_a_container_ends_with_its_code_and_output_or_at_its_limit() -> Result<()> {
    let bench = Bench::new()?;
    let name = bench.nginx("proxy", "one", &[])?;
    let proxy = bench.look(&name).await?;
    let check = strings(["/usr/sbin/nginx", "-t", "-c", "/app/conf/nginx.conf"]);
    let good = bench.docker.execute(&proxy, &check, LIMIT).await?;
    assert_eq!(good.code, 0, "{good:?}");
    ensure!(good.output.ends_with("test is successful\n"), "{good:?}");
    bench.write("nginx.conf", "no configuration")?;
    let bad = bench.docker.execute(&proxy, &check, LIMIT).await?;
    assert_eq!(bad.code, 1, "{bad:?}");
    ensure!(bad.output.contains("/app/conf/nginx.conf:1"), "{bad:?}");
    let missing = bench.docker.execute(&proxy, &strings(["/no/such/program"]), LIMIT).await;
    ensure!(matches!(&missing, Ok(ended) if matches!(ended.code, 126 | 127)), "{missing:?}");

    let redis = bench.operator.run_as("redis", ImageName::Redis, &[], &["--port", "6379"])?;
    let redis = bench.look(&redis).await?;
    let endless = strings(["/usr/bin/redis-server", "--port", "6380"]);
    let error = bench.docker.execute(&redis, &endless, Duration::from_secs(1)).await.err().context("it ended")?;
    ensure!(matches!(error, EngineError::NotEnded { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn staged_files_are_tried_in_a_container_like_the_service_s_which_does_not_notice() -> Result<()> {
    let bench = Bench::new()?;
    let (near, far) = (format!("{}near", bench.operator.prefix()), format!("{}far", bench.operator.prefix()));
    for network in [&near, &far] {
        Program::named("docker").args(["network", "create", network]).succeed()?;
    }
    bench.operator.run("upstream", ImageName::StandIn, &["--network", &far, "--network-alias", "upstream"])?;
    let logs = bench.folder.path().join("logs");
    fs::create_dir(&logs)?;
    let logs = format!("{}:/app/log", logs.display());
    let options = ["--network", &near, "--env", "A=b", "--tmpfs", "/tmp", "--volume", &logs];
    let name = bench.nginx("proxy", "one", &options)?;
    Program::named("docker").args(["network", "connect", &far, &name]).succeed()?;
    let proxy = bench.look(&name).await?;
    let staged = bench.folder.path().join("staged");
    fs::create_dir(&staged)?;
    let check = strings(["/usr/sbin/nginx", "-t", "-c", "/app/conf/nginx.conf"]);
    let swaps = [(bench.conf(), staged.clone())];

    // nginx asks for the address of an upstream when it reads its configuration: in the service's second network.
    // It opens its logs for writing, too, where it must not touch those of the service.
    let upstream = nginx("two").replace("return 200 two;", "location / { proxy_pass http://upstream:7777; }");
    fs::write(staged.join("nginx.conf"), format!("error_log /app/log/tried.log;\n{upstream}"))?;
    let good = bench.docker.try_out(&proxy, &check, &swaps, LIMIT).await?;
    assert_eq!(good.code, 0, "{good:?}");
    assert_eq!(
        fs::read_dir(bench.folder.path().join("logs"))?.count(),
        0,
        "the service's own folder is not written to"
    );
    fs::write(staged.join("nginx.conf"), "events {}\nno such directive;\n")?;
    let bad = bench.docker.try_out(&proxy, &check, &swaps, LIMIT).await?;
    assert_eq!(bad.code, 1, "{bad:?}");
    ensure!(bad.output.contains("unknown directive \"no\" in /app/conf/nginx.conf:2"), "{bad:?}");

    let endless = strings(["/usr/sbin/nginx", "-c", "/app/conf/nginx.conf", "-g", "daemon off;"]);
    fs::write(staged.join("nginx.conf"), nginx("three"))?;
    let error = bench.docker.try_out(&proxy, &endless, &swaps, Duration::from_secs(1)).await.err();
    ensure!(matches!(error, Some(EngineError::NotEnded { .. })), "{error:?}");

    let missing = bench.docker.try_out(&proxy, &strings(["/no/such/program"]), &swaps, LIMIT).await?;
    assert_eq!(missing.code, 127, "{missing:?}");
    ensure!(missing.output.contains("/no/such/program"), "{missing:?}");

    assert_eq!(labelled(&format!("config-follower.check-of={name}"))?, "", "nothing is left");
    let after = bench.look(&name).await?;
    assert_eq!((after.id, after.started), (proxy.id, proxy.started), "the service did not notice");
    Ok(())
}

#[tokio::test]
async fn a_trial_that_a_crash_left_is_no_service_and_is_swept() -> Result<()> {
    let bench = Bench::new()?;
    let label = format!("config-follower.check-of={}left", bench.operator.prefix());
    let left = bench.standin("left", &["--label", &label])?;
    let service = bench.standin("service", &["--label", "config-follower.check=none"])?;
    let ours = |name: &str| name.starts_with(bench.operator.prefix());
    let listed = bench.docker.list(|seen| ours(&seen.name)).await?;
    assert_eq!(listed.into_iter().map(|each| each.name).collect::<Vec<_>>(), std::slice::from_ref(&service));
    bench.docker.sweep().await?;
    assert_eq!(bench.docker.look(&left).await?, None);
    ensure!(bench.docker.look(&service).await?.is_some(), "a service with a check of its own stays");
    Ok(())
}

#[tokio::test]
async fn a_container_that_dies_of_its_files_is_ill_with_its_last_words() -> Result<()> {
    let bench = Bench::new()?;
    bench.write("a.txt", "good")?;
    let name = bench.standin("core", &[])?;
    bench.write("a.txt", "standin:crash")?;
    let acted = act(&bench.docker, &name, Some(&name), &How::Restart, &runs(3)).await;
    let (reason, log) = ill(&acted)?;
    assert_eq!(reason, format!("exited with code 1: see `docker logs {name}`"));
    assert_eq!(log.last().map(String::as_str), Some("`/app/conf/a.txt` asks for a crash: standin:crash"));
    assert_eq!(bench.docker.last_lines(&name, 1).await?, ["`/app/conf/a.txt` asks for a crash: standin:crash"]);
    let died = State::Exited { code: 1, died: true };
    assert_eq!(
        (bench.look(&name).await?.state, bench.docker.states().await?.get(&name).map(|seen| seen.state)),
        (died, Some(died))
    );

    bench.write("a.txt", "good")?;
    let acted = act(&bench.docker, &name, Some(&name), &How::Start, &answers(7777)).await;
    ensure!(ill(&acted).is_ok_and(|(reason, _)| reason.contains("`GET /` on port 7777: status 404")), "{acted:?}");
    let health = Gate { health: Some(Health::Http { port: 7777, path: "/health".to_owned() }), limit: LIMIT };
    let acted = act(&bench.docker, &name, Some(&name), &How::Restart, &health).await;
    ensure!(matches!(acted, Acted::Healthy { .. }), "{acted:?}");
    Ok(())
}

#[tokio::test]
async fn a_container_that_the_engine_starts_again_and_again_is_ill_and_counted_from_our_start() -> Result<()> {
    let bench = Bench::new()?;
    bench.write("a.txt", "good")?;
    let name = bench.standin("core", &["--restart", "always"])?;
    bench.write("a.txt", "standin:crash")?;
    let acted = act(&bench.docker, &name, Some(&name), &How::Restart, &runs(10)).await;
    assert_eq!(ill(&acted)?.0, format!("keeps dying and being started again: see `docker logs {name}`"));

    bench.write("a.txt", "good")?;
    let acted = act(&bench.docker, &name, Some(&name), &How::Restart, &runs(1)).await;
    ensure!(matches!(acted, Acted::Healthy { .. }), "{acted:?}");
    assert_eq!(bench.look(&name).await?.restarts, 0);
    Ok(())
}

#[tokio::test]
async fn a_container_that_cannot_be_started_is_ill_in_the_words_of_the_engine() -> Result<()> {
    let bench = Bench::new()?;
    let port = ["--publish", "127.53.7.1:53711:7777"];
    let first = bench.standin("first", &port)?;
    bench.docker.stop(&bench.look(&first).await?).await?;
    bench.standin("second", &port)?;
    for _ in 0..2 {
        let acted = act(&bench.docker, &first, Some(&first), &How::Start, &runs(1)).await;
        ensure!(ill(&acted)?.0.contains("port is already allocated"), "{acted:?}");
    }
    ensure!(matches!(bench.look(&first).await?.state, State::Exited { died: true, .. }), "it is no stopped one");
    Ok(())
}

#[tokio::test]
async fn the_healthcheck_of_the_image_is_waited_for_and_believed() -> Result<()> {
    let bench = Bench::new()?;
    let image = format!("pconf/with-healthcheck:{}", std::process::id());
    let context = bench.folder.path().join("image");
    fs::create_dir(&context)?;
    fs::write(
        context.join("Dockerfile"),
        "FROM pconf/standin\nHEALTHCHECK --interval=300ms --retries=1 CMD [\"/standin\", \"health\"]\n",
    )?;
    let build = Program::named("docker").args(["build", "--quiet", "--tag", &image]).arg(&context);
    build.env("DOCKER_BUILDKIT", "0").succeed()?;
    let name = format!("{}checked", bench.operator.prefix());
    let volume = format!("{}:/app/conf", bench.conf().display());
    Program::named("docker").args(["run", "--detach", "--name", &name, "--volume", &volume, &image]).succeed()?;
    let gate = Gate { health: None, limit: LIMIT };
    let acted = act(&bench.docker, &name, Some(&name), &How::Restart, &gate).await;
    ensure!(matches!(acted, Acted::Healthy { .. }), "{acted:?}");
    let now = bench.look(&name).await?;
    assert_eq!(now.health, Some(HealthState::Healthy));
    ensure!(now.passed.is_some(), "a check has passed");

    // It runs on, and its next check passes.
    let acted = act(&bench.docker, &name, Some(&name), &How::Signal("SIGHUP".to_owned()), &gate).await;
    ensure!(matches!(acted, Acted::Healthy { .. }), "{acted:?}");
    assert_ne!(bench.look(&name).await?.passed, now.passed);

    bench.write("a.txt", "standin:unhealthy")?;
    let acted = act(&bench.docker, &name, Some(&name), &How::Restart, &gate).await;
    assert_eq!(ill(&acted)?.0, "its HEALTHCHECK says that it is unhealthy");
    Program::named("docker").args(["rm", "--force", &name]).succeed()?;
    Program::named("docker").args(["rmi", &image]).succeed().map(drop)
}

#[tokio::test]
async fn a_volume_that_is_another_name_of_a_folder_is_that_folder() -> Result<()> {
    let bench = Bench::new()?;
    let (bound, plain) = (format!("{}bound", bench.operator.prefix()), format!("{}plain", bench.operator.prefix()));
    let device = format!("device={}", bench.conf().display());
    let options = ["--opt", "type=none", "--opt", "o=bind", "--opt", &device];
    Program::named("docker").args(["volume", "create"]).args(options).arg(&bound).succeed()?;
    let (bound, kept) = (format!("{bound}:/app/conf:ro"), format!("{plain}:/data"));
    let name = bench.operator.run("core", ImageName::StandIn, &["--volume", &bound, "--volume", &kept])?;
    let mut mounts = bench.look(&name).await?.mounts;
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    let data = Path::new("/var/lib/docker/volumes").join(plain).join("_data");
    let expected = [
        Mount { source: bench.conf(), destination: "/app/conf".into(), writable: false },
        Mount { source: data, destination: "/data".into(), writable: true },
    ];
    assert_eq!(mounts, expected);
    let conf = bench.conf();
    let found = bench.docker.list(|seen| seen.mounts.iter().any(|mount| mount.source == conf)).await?;
    assert_eq!(found.into_iter().map(|each| each.name).collect::<Vec<_>>(), [name]);
    Ok(())
}

#[tokio::test]
async fn compose_makes_only_the_named_service_anew() -> Result<()> {
    let bench = Bench::new()?;
    let project = format!("{}project", bench.operator.prefix());
    let file = bench.folder.path().join("pryv.yml");
    let compose = |value: &str| {
        let service = |name: &str| {
            format!(
                "  {name}:\n    image: pconf/standin\n    container_name: {}{name}\n    network_mode: bridge\n    \
                 environment:\n      A: {value}\n    stop_grace_period: 7s\n",
                bench.operator.prefix()
            )
        };
        fs::write(&file, format!("version: '3.5'\nservices:\n{}{}", service("core"), service("mail")))
    };
    let how =
        |service: &str| How::Recreate { file: file.clone(), project: project.clone(), service: service.to_owned() };
    let (core, mail) = (format!("{}core", bench.operator.prefix()), format!("{}mail", bench.operator.prefix()));
    compose("one")?;
    for service in ["core", "mail"] {
        let made = act(&bench.docker, service, None, &how(service), &runs(0)).await;
        ensure!(matches!(made, Acted::Healthy { .. }), "{made:?}");
    }
    let (old_core, old_mail) = (bench.look(&core).await?, bench.look(&mail).await?);
    assert_eq!(old_core.compose(), Some((project.as_str(), "core")));
    assert_eq!(old_core.stop_grace, Duration::from_secs(7));

    let unchanged = act(&bench.docker, "core", Some(&old_core.id), &how("core"), &runs(0)).await;
    assert_eq!(unchanged, Acted::Healthy { id: old_core.id.clone(), started: old_core.started.clone() });

    compose("two")?;
    let acted = act(&bench.docker, "core", Some(&old_core.id), &how("core"), &runs(0)).await;
    let new_core = bench.look(&core).await?;
    assert_eq!(acted, Acted::Healthy { id: new_core.id.clone(), started: new_core.started });
    assert_ne!(new_core.id, old_core.id);
    let environment = bench.operator.inspect(&core, "{{ .Config.Env }}")?;
    ensure!(environment.contains("A=two"), "{environment}");
    let new_mail = bench.look(&mail).await?;
    assert_eq!((new_mail.id, new_mail.started), (old_mail.id, old_mail.started), "nobody named it");

    fs::write(&file, "version: '3.5'\nservices:\n  core:\n    image: pconf/nobody-has-it\n")?;
    let acted = act(&bench.docker, "core", Some(&core), &how("core"), &runs(0)).await;
    let (reason, log) = ill(&acted)?;
    assert_eq!(reason, "compose ended with code 1");
    ensure!(log.join("\n").contains("nobody-has-it"), "{log:?}");
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_named() -> Result<()> {
    let error = Docker::at(Path::new("/nowhere/docker.sock")).list(|_| true).await.err().context("it answered")?;
    let expected =
        "cannot reach the Docker engine at `/nowhere/docker.sock` (is it running, and may this user use it?)";
    assert_eq!(error.to_string(), expected);
    Ok(())
}
