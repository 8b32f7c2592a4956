//! Containers as the engine writes them.

use serde_json::{Value, json};

use crate::Inner;
use crate::container::{Container, State};

/// One of the answer to `GET /containers/json`.
pub(crate) fn summary(container: &Container) -> Value {
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.spec.name)],
        "Image": "scripted:latest",
        "ImageID": IMAGE,
        "Labels": container.spec.labels,
        "State": status(&container.state),
        "Status": match container.state {
            State::Exited(code) => format!("Exited ({code}) 3 seconds ago"),
            _ => String::new(),
        },
        "Mounts": mounts(container),
        "HostConfig": { "NetworkMode": "bridge" },
        "NetworkSettings": { "Networks": networks(container) },
    })
}

/// The answer to `GET /containers/{id}/json`.
pub(crate) fn whole(container: &Container) -> Value {
    let health = container.health.as_ref().map(|health| {
        let passed = |start: &String| json!({ "Start": start, "End": start, "ExitCode": 0, "Output": "" });
        json!({ "Status": health.status, "FailingStreak": 0, "Log": health.passed.iter().map(passed).collect::<Vec<_>>() })
    });
    let code = if let State::Exited(code) = container.state { code } else { 0 };
    json!({
        "Id": container.id,
        "Name": format!("/{}", container.spec.name),
        "Image": IMAGE,
        "RestartCount": container.restarts,
        "State": {
            "Status": status(&container.state),
            "Running": container.state == State::Running,
            "Paused": container.state == State::Paused,
            "Restarting": container.state == State::Restarting,
            "OOMKilled": false,
            "Dead": false,
            "Pid": 1,
            "ExitCode": code,
            "Error": container.start_error,
            "StartedAt": container.started,
            "FinishedAt": container.started,
            "Health": health,
        },
        "Mounts": mounts(container),
        "Config": { "Image": "scripted:latest", "Labels": container.spec.labels, "Env": [], "User": "", "WorkingDir": "" },
        "HostConfig": { "NetworkMode": "bridge" },
        "NetworkSettings": { "Networks": networks(container) },
    })
}

/// The answer to `GET /volumes`.
pub(crate) fn volumes(inner: &Inner) -> Value {
    let volume = |(name, device): (&String, &std::path::PathBuf)| {
        json!({
            "Name": name,
            "Driver": "local",
            "Mountpoint": mountpoint(name),
            "Labels": null,
            "Scope": "local",
            "Options": { "type": "none", "o": "bind", "device": device },
        })
    };
    json!({ "Volumes": inner.volumes.iter().map(volume).collect::<Vec<_>>(), "Warnings": null })
}

const IMAGE: &str = "sha256:5c21970000000000000000000000000000000000000000000000000000000000";

fn mountpoint(volume: &str) -> String {
    format!("/var/lib/docker/volumes/{volume}/_data")
}

fn status(state: &State) -> &'static str {
    match state {
        State::Running => "running",
        State::Restarting => "restarting",
        State::Paused => "paused",
        State::Exited(_) => "exited",
        State::Created => "created",
    }
}

fn mounts(container: &Container) -> Value {
    let mount = |(source, destination): &(std::path::PathBuf, std::path::PathBuf)| match container
        .volumes
        .get(destination)
    {
        Some(volume) => json!({
            "Type": "volume", "Name": volume, "Driver": "local", "Source": mountpoint(volume),
            "Destination": destination, "Mode": "z", "RW": true, "Propagation": "",
        }),
        None => json!({
            "Type": "bind", "Source": source, "Destination": destination, "Mode": "", "RW": true, "Propagation": "rprivate",
        }),
    };
    container.spec.mounts.iter().map(mount).collect()
}

fn networks(container: &Container) -> Value {
    json!({ "bridge": { "NetworkID": "b", "IPAddress": container.spec.address, "GlobalIPv6Address": "" } })
}
