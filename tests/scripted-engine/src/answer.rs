//! Carrying a call out.

use serde_json::{Value, json};

use crate::Inner;
use crate::call::{Call, Exec};
use crate::container::{Container, State, Trial};
use crate::json;
use crate::spec::Spec;

/// What is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Json(u16, Value),
    /// The log of a container.
    Bytes(Vec<u8>),
    /// The output of a command, on a connection that is no HTTP any more; `None` for one that never ends.
    Stream(Option<Vec<u8>>),
    Never,
}

impl Answer {
    fn done() -> Self {
        Self::Json(204, Value::Null)
    }

    fn refusal(status: u16, message: &str) -> Self {
        Self::Json(status, json!({ "message": message }))
    }
}

impl Inner {
    /// Carries it out.
    pub(crate) fn carry_out(&mut self, call: Call) -> Answer {
        match call {
            Call::Version => {
                Answer::Json(200, json!({ "Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12" }))
            }
            Call::List { label } => {
                let is_asked =
                    |each: &&Container| label.as_ref().is_none_or(|label| each.spec.labels.contains_key(label));
                Answer::Json(200, self.containers.iter().filter(is_asked).map(json::summary).collect())
            }
            Call::Volumes => Answer::Json(200, json::volumes(self)),
            Call::PrepareTrial { like, command, mounts } => self.prepare_trial(like, command, mounts),
            Call::Exec(id) => self.exec(&id),
            Call::ExecState(id) => match self.execs.get(&id) {
                Some(exec) => Answer::Json(200, json!({ "ID": id, "Running": exec.is_running, "ExitCode": exec.code })),
                None => Answer::refusal(404, "No such exec instance"),
            },
            Call::Connect => Answer::Json(200, Value::Null),
            // Compose comes another way.
            Call::ComposeUp { .. } => Answer::refusal(400, "compose is no call"),
            Call::Unknown(what) => Answer::refusal(404, &format!("page not found: {what}")),
            Call::Look(id)
            | Call::Log { container: id, .. }
            | Call::Start(id)
            | Call::Stop(id)
            | Call::Restart(id)
            | Call::Signal { container: id, .. }
            | Call::Remove(id)
            | Call::PrepareExec { container: id, .. }
            | Call::Wait(id)
                if self.container(&id).is_none() =>
            {
                Answer::refusal(404, &format!("No such container: {id}"))
            }
            Call::Look(id) => self.with(&id, |container, scripts| {
                container.pass_time(scripts);
                Answer::Json(200, json::whole(container))
            }),
            Call::Log { container, tail } => self.with(&container, |container, _| {
                let from = tail.map_or(0, |tail| container.log.len().saturating_sub(tail));
                Answer::Bytes(container.log[from..].iter().flat_map(|line| frame(&format!("{line}\n"))).collect())
            }),
            Call::Start(id) => self.start(&id),
            Call::Stop(id) => self.with(&id, |container, _| {
                if !matches!(container.state, State::Exited(_) | State::Created) {
                    container.state = State::Exited(0);
                }
                Answer::done()
            }),
            Call::Restart(id) => self.with(&id, |container, scripts| match container.start(scripts) {
                Ok(()) => Answer::done(),
                Err(error) => Answer::refusal(500, &error),
            }),
            Call::Signal { container, signal } => self.with(&container, |container, scripts| {
                if container.state != State::Running {
                    return Answer::refusal(409, &format!("Container {} is not running", container.id));
                }
                match signal.as_str() {
                    "SIGKILL" => container.state = State::Exited(137),
                    "SIGTERM" => container.state = State::Exited(143),
                    "SIGINT" => container.state = State::Exited(130),
                    _ => container.read(scripts),
                }
                Answer::done()
            }),
            Call::Remove(id) => {
                self.containers.retain(|each| each.id != id && each.spec.name != id);
                Answer::done()
            }
            Call::PrepareExec { container, command } => self.prepare_exec(container, command),
            Call::Wait(id) => self.with(&id, |container, _| match (&container.trial, &container.state) {
                (Some(trial), _) if trial.hangs => Answer::Never,
                (_, State::Exited(code)) => Answer::Json(200, json!({ "StatusCode": code })),
                _ => Answer::Never,
            }),
        }
    }

    /// A container, with the scripts for it.
    fn with(&mut self, id: &str, work: impl FnOnce(&mut Container, &[crate::Script]) -> Answer) -> Answer {
        let name = self.container(id).map(|container| container.spec.name.clone()).unwrap_or_default();
        let scripts = self.scripts(&name).to_vec();
        match self.container(id) {
            Some(container) => work(container, &scripts),
            None => Answer::refusal(404, "No such container"),
        }
    }

    fn start(&mut self, id: &str) -> Answer {
        let trial = self.container(id).and_then(|container| container.trial.clone());
        if let Some(trial) = trial {
            let scripts = self.scripts(&trial.like).to_vec();
            return self.with(id, |container, _| {
                if let Some((code, output)) = container.run(&trial.command, &scripts) {
                    container.log.extend(output.lines().map(str::to_owned));
                    container.state = State::Exited(code);
                } else {
                    container.state = State::Running;
                    container.trial = Some(Trial { hangs: true, ..trial });
                }
                Answer::done()
            });
        }
        self.with(id, |container, scripts| match container.state {
            State::Running => Answer::Json(304, Value::Null),
            _ => match container.start(scripts) {
                Ok(()) => Answer::done(),
                Err(error) => Answer::refusal(500, &error),
            },
        })
    }

    fn prepare_trial(&mut self, like: String, command: Vec<String>, mounts: Vec<(String, String)>) -> Answer {
        let id = self.new_id();
        let spec = Spec {
            name: format!("trial-{}", self.made),
            mounts: mounts.into_iter().map(|(source, target)| (source.into(), target.into())).collect(),
            labels: [("config-follower.check-of".to_owned(), like.clone())].into(),
            ..Spec::default()
        };
        let mut container = Container::new(id.clone(), self.on_disk(spec));
        container.trial = Some(Trial { like, command, hangs: false });
        self.containers.push(container);
        Answer::Json(201, json!({ "Id": id, "Warnings": [] }))
    }

    fn prepare_exec(&mut self, container: String, command: Vec<String>) -> Answer {
        if self.container(&container).is_none_or(|container| container.state != State::Running) {
            return Answer::refusal(409, &format!("Container {container} is not running"));
        }
        let id = self.new_id();
        self.execs.insert(id.clone(), Exec { container, command, is_running: false, code: None });
        Answer::Json(201, json!({ "Id": id }))
    }

    /// Runs a command. One with `reload` among its arguments makes the container read its files, if it succeeds.
    fn exec(&mut self, id: &str) -> Answer {
        let Some(exec) = self.execs.get(id).cloned() else { return Answer::refusal(404, "No such exec instance") };
        let mut code = None;
        let answer = self.with(&exec.container, |container, scripts| match container.run(&exec.command, scripts) {
            Some((0, output)) if exec.command.iter().any(|argument| argument == "reload") => {
                container.read(scripts);
                code = Some(0);
                Answer::Stream(Some(frame(&output)))
            }
            Some((ended, output)) => {
                code = Some(ended);
                Answer::Stream(Some(frame(&output)))
            }
            None => Answer::Stream(None),
        });
        if let Some(exec) = self.execs.get_mut(id) {
            exec.is_running = code.is_none();
            exec.code = code;
        }
        answer
    }
}

/// A piece of output as the engine sends it: one byte for the stream, three that are 0, four for the length.
fn frame(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return Vec::new();
    }
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&[1, 0, 0, 0], &length.to_be_bytes()[..], text.as_bytes()].concat()
}
