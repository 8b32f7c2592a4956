//! A stand-in for compose: a script that hands its arguments to the engine through a folder, and waits for the answer.
//!
//! It understands `up` of named services and as much of a compose file as our tests write: block style, two blanks more
//! at each level, short volumes.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::answer::Answer;
use crate::call::Call;
use crate::container::State;
use crate::server::meet_fate;
use crate::spec::Spec;
use crate::{Inner, Shared};

/// How often the folder is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Whoever tests it runs it often, so it starts as few programs as it can. A request ends with a line of its own: half of
/// one is none.
const SCRIPT: &str = r#"#!/bin/sh
# Stands in for compose: hands its arguments to the scripted engine and waits for the answer.
socket="${DOCKER_HOST#unix://}"
[ "${0##*/}" = docker-compose ] || shift
[ "$1" != version ] || exit 0
request="$socket.compose/$$"
printf '%s\n' "$@" . > "$request.request"
while [ ! -e "$request.answer" ]; do
    [ -S "$socket" ] || exit 1
    sleep 0.02
done
{
    read -r code
    while IFS= read -r line; do printf '%s\n' "$line" >&2; done
} < "$request.answer"
exit "$code"
"#;

/// The folder of the script, and of its requests.
pub(crate) fn folder(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".compose");
    name.into()
}

/// Puts the script in its folder, under the names of both generations.
pub(crate) fn install(socket: &Path) -> io::Result<Requests> {
    let folder = folder(socket);
    fs::create_dir_all(&folder)?;
    for name in ["docker", "docker-compose"] {
        fs::write(folder.join(name), SCRIPT)?;
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(Requests { folder })
}

/// The requests of the script.
#[derive(Debug)]
pub(crate) struct Requests {
    folder: PathBuf,
}

impl Requests {
    /// Answers them, one after the other.
    pub(crate) async fn serve(self, shared: Arc<Shared>) {
        loop {
            for request in self.waiting() {
                let text = fs::read_to_string(&request).unwrap_or_default();
                let Some(arguments) = text.strip_suffix("\n.\n").map(str::to_owned) else { continue };
                drop(fs::remove_file(&request));
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let arguments: Vec<&str> = arguments.lines().collect();
                    let (code, text) = answer(&shared, &arguments).await;
                    let draft = request.with_extension("draft");
                    // The script that waits for an answer that cannot be written ends with the engine.
                    if fs::write(&draft, format!("{code}\n{text}\n")).is_ok() {
                        drop(fs::rename(&draft, request.with_extension("answer")));
                    }
                });
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn waiting(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "request")).collect()
    }
}

/// The exit code of compose, and what it writes.
async fn answer(shared: &Shared, arguments: &[&str]) -> (i32, String) {
    let after = |option: &str| {
        let at = arguments.iter().position(|argument| *argument == option)?;
        arguments.get(at + 1).map(|value| (*value).to_owned())
    };
    let Some(up) = arguments.iter().position(|argument| *argument == "up") else {
        return (1, format!("no such command: {}", arguments.join(" ")));
    };
    let services = arguments[up + 1..].iter().filter(|argument| !argument.starts_with('-'));
    let call = Call::ComposeUp {
        project: after("-p").unwrap_or_default(),
        file: after("-f").unwrap_or_default(),
        services: services.map(|service| (*service).to_owned()).collect(),
    };
    let mut outcome = (1, String::new());
    let met = meet_fate(shared, call, |inner, call| {
        outcome = up_all(inner, &call);
        Answer::Json(200, json!(null))
    });
    match met.await {
        Ok(Answer::Json(200, _)) => outcome,
        Ok(_) => (1, "Error response from daemon: scripted failure".to_owned()),
        Err(_) => (1, "Cannot connect to the Docker daemon".to_owned()),
    }
}

fn up_all(inner: &mut Inner, call: &Call) -> (i32, String) {
    let Call::ComposeUp { project, file, services } = call else { return (1, String::new()) };
    let mut said = Vec::new();
    for service in services {
        match up(inner, project, Path::new(file), service) {
            Ok(line) => said.push(line),
            Err(line) => {
                said.push(line);
                return (1, said.join("\n"));
            }
        }
    }
    (0, said.join("\n"))
}

/// Makes the container of a service, or makes it anew when its definition has changed.
pub(crate) fn up(inner: &mut Inner, project: &str, file: &Path, service: &str) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("open {}: {error}", file.display()))?;
    let definition = Definition::find(&text, service).ok_or_else(|| format!("no such service: {service}"))?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut spec = definition.spec(project, service, folder);
    // As compose writes them: this is how others tell what a container was made from.
    for (label, path) in [("config_files", file), ("working_dir", folder)] {
        spec.labels.insert(format!("com.docker.compose.project.{label}"), path.display().to_string());
    }
    let hash = |labels: &BTreeMap<String, String>| labels.get(HASH_LABEL).cloned();
    let of_service = |labels: &BTreeMap<String, String>| {
        let label = |name: &str| labels.get(&format!("com.docker.compose.{name}")).map(String::as_str);
        (label("project"), label("service")) == (Some(project), Some(service))
    };
    let old = inner.containers.iter().find(|each| of_service(&each.spec.labels));
    let name = spec.name.clone();
    if old.is_some_and(|old| hash(&old.spec.labels) == hash(&spec.labels)) {
        let old = old.map(|old| (old.id.clone(), old.state.clone()));
        if let Some((id, State::Exited(_) | State::Created)) = old {
            start(inner, &id, &name)?;
        }
        return Ok(format!("Container {name}  Running"));
    }
    let verb = if old.is_some() { "Recreated" } else { "Created" };
    inner.containers.retain(|each| !of_service(&each.spec.labels));
    let id = inner.new_id();
    let spec = inner.on_disk(spec);
    inner.containers.push(crate::container::Container::new(id.clone(), spec));
    start(inner, &id, &name)?;
    Ok(format!("Container {name}  {verb}"))
}

fn start(inner: &mut Inner, id: &str, name: &str) -> Result<(), String> {
    let scripts = inner.scripts(name).to_vec();
    let container = inner.container(id).ok_or("it is gone")?;
    container.start(&scripts).map_err(|error| format!("Error response from daemon: {error}"))
}

const HASH_LABEL: &str = "com.docker.compose.config-hash";

/// The lines of a service, without their indentation, each with its depth below the service.
struct Definition(Vec<(usize, String)>);

impl Definition {
    fn find(text: &str, service: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        let lines = lines.map(|line| ((line.len() - line.trim_start().len()) / 2, line.trim().to_owned()));
        let mut lines = lines.skip_while(|(depth, line)| !(*depth == 0 && line == "services:")).skip(1);
        let head = format!("{service}:");
        lines.by_ref().take_while(|(depth, _)| *depth > 0).find(|(depth, line)| *depth == 1 && *line == head)?;
        Some(Self(lines.take_while(|(depth, _)| *depth > 1).map(|(depth, line)| (depth - 2, line)).collect()))
    }

    /// The value of a key, or the lines below it.
    fn values(&self, key: &str) -> Vec<String> {
        let head = format!("{key}:");
        let mut lines = self.0.iter().skip_while(|(depth, line)| *depth > 0 || !line.starts_with(&head));
        let Some((_, first)) = lines.next() else { return Vec::new() };
        let inline = first[head.len()..].trim();
        if !inline.is_empty() {
            return vec![plain(inline)];
        }
        // A list may stand at the depth of its key.
        let below = lines.take_while(|(depth, line)| *depth > 0 || line.starts_with('-'));
        below.map(|(_, line)| plain(line.trim_start_matches('-').trim())).collect()
    }

    fn spec(&self, project: &str, service: &str, folder: &Path) -> Spec {
        let here = |path: &str| path.strip_prefix("./").map_or_else(|| PathBuf::from(path), |rest| folder.join(rest));
        let mount = |volume: &String| {
            let (source, rest) = volume.split_once(':')?;
            let target = rest.split(':').next()?;
            let is_path = source.starts_with(['.', '/']);
            let source = if is_path { here(source) } else { PathBuf::from(format!("volume:{source}")) };
            Some((source, PathBuf::from(target)))
        };
        let label = |line: &String| {
            let (name, value) = line.split_once('=').or_else(|| line.split_once(": "))?;
            Some((plain(name), plain(value.trim())))
        };
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        for file in self.values("env_file") {
            fs::read(folder.join(file)).unwrap_or_default().hash(&mut hasher);
        }
        let name = self.values("container_name").into_iter().next();
        let mut spec = Spec {
            name: name.unwrap_or_else(|| format!("{project}_{service}_1")),
            mounts: self.values("volumes").iter().filter_map(mount).collect(),
            labels: self.values("labels").iter().filter_map(label).collect(),
            ..Spec::default()
        }
        .of_compose(project, service);
        spec.labels.insert(HASH_LABEL.to_owned(), format!("{:016x}", hasher.finish()));
        spec
    }
}

/// Without quotes.
fn plain(text: &str) -> String {
    text.trim_matches(['"', '\'']).to_owned()
}
