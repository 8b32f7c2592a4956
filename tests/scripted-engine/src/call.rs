//! The calls of the engine's API that it understands.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::Value;

use crate::Inner;

/// A command that waits to be run in a container.
#[derive(Debug, Clone)]
pub(crate) struct Exec {
    pub(crate) container: String,
    pub(crate) command: Vec<String>,
    pub(crate) is_running: bool,
    /// Its exit code once it has run.
    pub(crate) code: Option<i64>,
}

/// A call; containers are named as in the request, by id or name.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Version,
    List { label: Option<String> },
    Look(String),
    Volumes,
    Log { container: String, tail: Option<usize> },
    Start(String),
    Stop(String),
    Restart(String),
    Signal { container: String, signal: String },
    Remove(String),
    PrepareExec { container: String, command: Vec<String> },
    Exec(String),
    ExecState(String),
    PrepareTrial { like: String, command: Vec<String>, mounts: Vec<(String, String)> },
    Wait(String),
    Connect,
    ComposeUp { project: String, file: String, services: Vec<String> },
    Unknown(String),
}

impl Call {
    /// Reads a request, with or without the version before its path.
    pub(crate) fn read(method: &Method, path: &str, query: &str, body: &Value) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let is_version = |part: &&str| part.starts_with("v1.");
        let parts = if parts.first().is_some_and(is_version) { &parts[1..] } else { &parts[..] };
        let query = parameters(query);
        let is_get = method == Method::GET;
        let id = |id: &&str| (*id).to_owned();
        match parts {
            ["version"] => Self::Version,
            ["containers", "json"] => Self::List { label: query.get("filters").and_then(|text| label(text)) },
            ["containers", "create"] => Self::trial(body),
            ["containers", container, "json"] => Self::Look(id(container)),
            ["containers", container, "logs"] => {
                Self::Log { container: id(container), tail: query.get("tail").and_then(|tail| tail.parse().ok()) }
            }
            ["containers", container, "start"] => Self::Start(id(container)),
            ["containers", container, "stop"] => Self::Stop(id(container)),
            ["containers", container, "restart"] => Self::Restart(id(container)),
            ["containers", container, "wait"] => Self::Wait(id(container)),
            ["containers", container, "kill"] => {
                let signal = query.get("signal").map_or("SIGKILL", String::as_str);
                Self::Signal { container: id(container), signal: signal.to_owned() }
            }
            ["containers", container, "exec"] => {
                Self::PrepareExec { container: id(container), command: texts(&body["Cmd"]) }
            }
            ["containers", container] if method == Method::DELETE => Self::Remove(id(container)),
            ["exec", exec, "start"] => Self::Exec(id(exec)),
            ["exec", exec, "json"] => Self::ExecState(id(exec)),
            ["volumes"] if is_get => Self::Volumes,
            ["networks", _, "connect"] => Self::Connect,
            _ => Self::Unknown(format!("{method} {path}")),
        }
    }

    fn trial(body: &Value) -> Self {
        let mount = |mount: &Value| {
            let (typ, text) = (mount["Type"].as_str()?, |key: &str| mount[key].as_str().unwrap_or_default().to_owned());
            let source = if typ == "volume" { format!("volume:{}", text("Source")) } else { text("Source") };
            Some((source, text("Target")))
        };
        let mut labels = body["Labels"].as_object().into_iter().flatten();
        let like = labels.find_map(|(_, value)| value.as_str()).unwrap_or_default().to_owned();
        let mounts = body["HostConfig"]["Mounts"].as_array().into_iter().flatten().filter_map(mount).collect();
        Self::PrepareTrial { like, command: texts(&body["Entrypoint"]), mounts }
    }

    /// What it is called when calls are counted and remembered, and whether it changes something. One that only prepares
    /// another, or tidies up after it, does not.
    pub(crate) fn describe(&self, inner: &Inner) -> (String, bool) {
        let name = |id: &String| {
            let found = inner.containers.iter().find(|each| each.id == *id || each.spec.name == *id);
            found.map_or_else(|| id.clone(), |each| each.spec.name.clone())
        };
        let trial = |id: &String| {
            let found = inner.containers.iter().find(|each| each.id == *id)?;
            found.trial.clone()
        };
        match self {
            Self::Version => ("version".to_owned(), false),
            Self::List { label: None } => ("list".to_owned(), false),
            Self::List { label: Some(label) } => (format!("list {label}"), false),
            Self::Look(container) => (format!("look {}", name(container)), false),
            Self::Volumes => ("volumes".to_owned(), false),
            Self::Log { container, .. } => (format!("log {}", name(container)), false),
            Self::Start(container) => match trial(container) {
                Some(trial) => (format!("try {} {}", trial.like, trial.command.join(" ")), true),
                None => (format!("start {}", name(container)), true),
            },
            Self::Stop(container) => (format!("stop {}", name(container)), true),
            Self::Restart(container) => (format!("restart {}", name(container)), true),
            Self::Signal { container, signal } => (format!("signal {} {signal}", name(container)), true),
            Self::Remove(container) => match trial(container) {
                Some(trial) => (format!("discard {}", trial.like), false),
                None => (format!("remove {}", name(container)), true),
            },
            Self::PrepareExec { container, command } => {
                (format!("prepare exec {} {}", name(container), command.join(" ")), false)
            }
            Self::Exec(id) => match inner.execs.get(id) {
                Some(exec) => (format!("exec {} {}", name(&exec.container), exec.command.join(" ")), true),
                None => (format!("exec {id}"), false),
            },
            Self::ExecState(_) => ("exec state".to_owned(), false),
            Self::PrepareTrial { like, command, .. } => (format!("prepare try {like} {}", command.join(" ")), false),
            Self::Wait(container) => match trial(container) {
                Some(trial) => (format!("wait {}", trial.like), false),
                None => (format!("wait {}", name(container)), false),
            },
            Self::Connect => ("connect".to_owned(), false),
            Self::ComposeUp { services, .. } => (format!("compose up {}", services.join(" ")), true),
            Self::Unknown(what) => (what.clone(), false),
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The first label that a filter asks for: `{"label": ["name"]}`, or `{"label": {"name": true}}`.
fn label(filters: &str) -> Option<String> {
    let filters: Value = serde_json::from_str(filters).ok()?;
    let label = &filters["label"];
    label[0].as_str().or_else(|| label.as_object()?.keys().next().map(String::as_str)).map(str::to_owned)
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), decoded(value)))
    };
    query.split('&').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(match byte {
            b'%' => digit(rest.next()).unwrap_or_default() * 16 + digit(rest.next()).unwrap_or_default(),
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
