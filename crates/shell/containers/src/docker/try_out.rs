//! A command in a container of its own, made like a service's: how an application judges files that are not in place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount as Mounted, MountPoint, MountType, MountVolumeOptions, NetworkConnectRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use futures_util::TryStreamExt as _;
use tokio::time::timeout;

use super::describe::{self, Devices};
use super::{ANSWER, CHECK_LABEL, Client, DEED, check_name};
use crate::container::Container;
use crate::engine::{Ended, EngineError};
use crate::tail::Tail;

/// The exit code of what was ended by SIGKILL.
const KILLED: i64 = 137;

/// Makes it, waits for it and removes it.
pub(super) async fn try_out(
    client: &Client,
    like: &Container,
    command: &[String],
    swaps: &[(PathBuf, PathBuf)],
    limit: Duration,
) -> Result<Ended, EngineError> {
    let what = format!("`{}` in a container like {}", command.join(" "), like.name);
    let action = format!("run {what}");
    let model = client.bollard.inspect_container(&like.id, None::<InspectContainerOptions>);
    let mut model = client.get(ANSWER, &action, model).await?;
    let devices = client.devices(model.mounts.iter().flatten()).await?;
    let networks = other_networks(&model);
    let mounts = mounts(model.mounts.take().unwrap_or_default(), &devices, swaps);
    let body = body(model, like, command, mounts);
    let made = client.bollard.create_container(None::<CreateContainerOptions>, body);
    let id = client.get(DEED, &action, made).await?.id;
    check_name(&id)?;
    let outcome = match timeout(limit, run(client, &id, networks, &action)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(who_is_slow(client, &id, what, action, limit).await),
    };
    // What the command said counts, even when the container cannot be removed now: the next sweep does it.
    let _ = discard(client, &id).await;
    outcome
}

/// Removes a container of ours, running or not, and the volumes without a name that were made for it.
pub(super) async fn discard(client: &Client, id: &str) -> Result<(), EngineError> {
    check_name(id)?;
    let with_its_volumes = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
    let removed = async {
        match client.bollard.remove_container(id, Some(with_its_volumes)).await {
            // Somebody else is removing it at this moment.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            other => other,
        }
    };
    client.find(DEED, &format!("remove {id}"), removed).await.map(drop)
}

async fn run(client: &Client, id: &str, networks: Vec<String>, action: &str) -> Result<Ended, EngineError> {
    for network in networks {
        check_name(&network)?;
        let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: None };
        client.get(ANSWER, action, client.bollard.connect_network(&network, request)).await?;
    }
    let started = client.bollard.start_container(id, None::<StartContainerOptions>);
    if let Err(error) = client.get(DEED, action, started).await {
        return cannot_run(client, id, action).await?.ok_or(error);
    }
    let mut ends = Box::pin(client.bollard.wait_container(id, None::<WaitContainerOptions>));
    let code = match ends.try_next().await {
        Ok(end) => end.map_or(0, |end| end.status_code),
        // A code that is not 0 comes as an error.
        Err(Error::DockerContainerWaitError { code, .. }) => code,
        Err(source) => return Err(client.fault(DEED, action, source)),
    };
    let mut log = client.bollard.logs(id, Some(LogsOptionsBuilder::new().stdout(true).stderr(true).build()));
    let mut tail = Tail::default();
    while let Some(piece) = log.try_next().await.map_err(|source| client.fault(ANSWER, action, source))? {
        tail.push(piece.as_ref());
    }
    if code == KILLED && is_going(client, id, action).await? {
        // Another follower of this engine swept it away: that says nothing about the files.
        return Err(EngineError::Refused { action: action.to_owned(), source: "somebody removed it".into() });
    }
    Ok(Ended { code, output: tail.text() })
}

/// The command, if it is at work; else the engine, which has not begun it or does not tell of its end.
async fn who_is_slow(client: &Client, id: &str, what: String, action: String, limit: Duration) -> EngineError {
    let answer = client.bollard.inspect_container(id, None::<InspectContainerOptions>);
    match client.get(ANSWER, &action, answer).await.map(|answer| answer.state.unwrap_or_default().running) {
        Ok(Some(true)) => EngineError::NotEnded { command: what, limit },
        Ok(_) => EngineError::TooSlow { action, limit },
        Err(error) => error,
    }
}

/// How a command ended that the engine could not even run, because the image has no such program or it is none: as a shell
/// tells it, with 127 or 126.
async fn cannot_run(client: &Client, id: &str, action: &str) -> Result<Option<Ended>, EngineError> {
    let answer = client.bollard.inspect_container(id, None::<InspectContainerOptions>);
    let state = client.get(ANSWER, action, answer).await?.state.unwrap_or_default();
    let code = state.exit_code.filter(|code| matches!(code, 126 | 127));
    Ok(code.map(|code| Ended { code, output: state.error.unwrap_or_default() }))
}

async fn is_going(client: &Client, id: &str, action: &str) -> Result<bool, EngineError> {
    let answer = client.bollard.inspect_container(id, None::<InspectContainerOptions>);
    let answer = client.find(ANSWER, action, answer).await?;
    let status = answer.and_then(|answer| answer.state?.status);
    Ok(!matches!(status, Some(ContainerStateStatusEnum::EXITED)))
}

/// Networks can be joined one at a time; these are those beyond the one that the container is made in.
fn other_networks(model: &ContainerInspectResponse) -> Vec<String> {
    let first = model.host_config.as_ref().and_then(|host| host.network_mode.as_deref()).unwrap_or("default");
    let all = model.network_settings.as_ref().and_then(|settings| settings.networks.as_ref()).into_iter().flatten();
    let first = if first == "default" { "bridge" } else { first };
    // The mode may name the network by its id.
    let is_other = |(name, network): &(&String, &bollard::models::EndpointSettings)| {
        *name != first && network.network_id.as_deref() != Some(first)
    };
    all.filter(is_other).map(|(name, _)| name.clone()).collect()
}

fn mounts(points: Vec<MountPoint>, devices: &Devices, swaps: &[(PathBuf, PathBuf)]) -> Vec<Mounted> {
    let mounted = |point: MountPoint| {
        let (target, typ) = (point.destination.clone()?, point.typ.clone()?);
        let name = point.name.clone();
        let is_writable = point.rw.unwrap_or(true);
        let source = describe::mounts(vec![point], devices).into_iter().next().map(|mount| mount.source);
        let swap = swaps.iter().find(|(good, _)| Some(good) == source.as_ref()).map(|(_, staged)| staged.clone());
        let empty = Mounted { target: Some(target), read_only: Some(true), ..Mounted::default() };
        let path = |path: PathBuf| Some(path.to_string_lossy().into_owned());
        // A program opens its logs for writing even when it only checks; what it writes is nobody's.
        let is_written = is_writable && source.as_deref().is_some_and(Path::is_dir);
        Some(match (swap, typ.as_str()) {
            (Some(staged), _) => Mounted { typ: Some(MountType::BIND), source: path(staged), ..empty },
            (None, _) if is_written || typ == "tmpfs" => {
                Mounted { typ: Some(MountType::TMPFS), read_only: None, ..empty }
            }
            (None, "volume") => Mounted {
                typ: Some(MountType::VOLUME),
                source: name,
                // What the image has at that place stays out of an empty volume.
                volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
                ..empty
            },
            (None, _) => Mounted { typ: Some(MountType::BIND), source: path(source?), ..empty },
        })
    };
    points.into_iter().filter_map(mounted).collect()
}

fn body(
    model: ContainerInspectResponse,
    like: &Container,
    command: &[String],
    mounts: Vec<Mounted>,
) -> ContainerCreateBody {
    let (config, host) = (model.config.unwrap_or_default(), model.host_config.unwrap_or_default());
    let log = HashMap::from([("max-size".to_owned(), "1m".to_owned()), ("max-file".to_owned(), "1".to_owned())]);
    ContainerCreateBody {
        image: Some(like.image.clone()),
        env: config.env,
        user: config.user,
        working_dir: config.working_dir,
        entrypoint: Some(command.to_vec()),
        cmd: Some(Vec::new()),
        labels: Some(HashMap::from([(CHECK_LABEL.to_owned(), like.name.clone())])),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        host_config: Some(HostConfig {
            mounts: Some(mounts),
            // Readable whatever the service's own log goes to, and bounded.
            log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log) }),
            network_mode: host.network_mode,
            extra_hosts: host.extra_hosts,
            dns: host.dns,
            dns_options: host.dns_options,
            dns_search: host.dns_search,
            tmpfs: host.tmpfs,
            memory: host.memory,
            memory_swap: host.memory_swap,
            ulimits: host.ulimits,
            pids_limit: host.pids_limit,
            group_add: host.group_add,
            cap_add: host.cap_add,
            cap_drop: host.cap_drop,
            security_opt: host.security_opt,
            readonly_rootfs: host.readonly_rootfs,
            userns_mode: host.userns_mode,
            runtime: host.runtime,
            init: host.init,
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
