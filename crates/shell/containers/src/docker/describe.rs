//! What the engine's answers say of a container.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
    Health, HealthStatusEnum, MountPoint, NetworkSettings, RestartPolicyNameEnum, Volume,
};

use crate::container::{Container, Glimpse, HealthState, Mount, State};

/// What the engine grants a container that names no grace of its own.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A container may ask to be waited for without end; nobody waits longer than this.
const LONGEST_GRACE: Duration = Duration::from_mins(10);

/// The labels that mean something to us.
const OUR_LABELS: [&str; 2] = ["com.docker.compose.", "config-follower."];

/// The folders of the host that volumes of the driver `local` are other names of, by volume.
pub(super) type Devices = HashMap<String, PathBuf>;

/// The folders that these volumes are other names of (`--opt o=bind --opt device=/srv/pryv`).
pub(super) fn devices(volumes: Vec<Volume>) -> Devices {
    let device = |volume: Volume| {
        let options = volume.options.get("o")?;
        let is_bind = options.split(',').any(|option| matches!(option, "bind" | "rbind"));
        let device = volume.options.get("device").filter(|device| Path::new(device).is_absolute())?;
        (is_bind && volume.driver == "local").then(|| (volume.name.clone(), PathBuf::from(device)))
    };
    volumes.into_iter().filter_map(device).collect()
}

/// Whether the answer to where it is needs [`Devices`].
pub(super) fn is_volume(point: &MountPoint) -> bool {
    point.typ.as_deref() == Some("volume") && point.driver.as_deref().is_none_or(|driver| driver == "local")
}

pub(super) fn mounts(points: Vec<MountPoint>, devices: &Devices) -> Vec<Mount> {
    let mount = |point: MountPoint| {
        let device = point.name.as_ref().filter(|_| is_volume(&point)).and_then(|name| devices.get(name));
        let source = device.cloned().or_else(|| point.source.map(PathBuf::from)).filter(|source| source.is_absolute());
        Some(Mount { source: source?, destination: point.destination?.into(), writable: point.rw.unwrap_or(true) })
    };
    points.into_iter().filter_map(mount).collect()
}

pub(super) fn labels(all: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    let ours = |name: &str| OUR_LABELS.iter().any(|prefix| name.starts_with(prefix));
    all.unwrap_or_default().into_iter().filter(|(name, _)| ours(name)).collect()
}

/// A name without the slash that the engine writes before it.
pub(super) fn plain(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

pub(super) fn container(id: String, answer: ContainerInspectResponse, devices: &Devices) -> Container {
    let name = answer.name.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let is_on_host = host.network_mode.is_some_and(|mode| mode == "host");
    let policy = host.restart_policy.and_then(|policy| policy.name);
    let is_always_started_again =
        matches!(policy, Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED));
    let (health, passed) = health(state.health.clone());
    Container {
        id: answer.id.unwrap_or(id),
        name: plain(&name).to_owned(),
        image: answer.image.unwrap_or_default(),
        state: doing(&state, is_always_started_again),
        started: state.started_at.unwrap_or_default(),
        restarts: answer.restart_count.unwrap_or_default(),
        start_error: state.error.unwrap_or_default(),
        health,
        passed,
        mounts: mounts(answer.mounts.unwrap_or_default(), devices),
        stop_grace: config.stop_timeout.map_or(DEFAULT_GRACE, |seconds| {
            u64::try_from(seconds).map_or(LONGEST_GRACE, Duration::from_secs).min(LONGEST_GRACE)
        }),
        labels: labels(config.labels),
        addresses: if is_on_host {
            vec![Ipv4Addr::LOCALHOST.into()]
        } else {
            addresses(answer.network_settings.unwrap_or_default())
        },
    }
}

/// What a container in the list of all is doing, by its name.
pub(super) fn glimpse(summary: ContainerSummary) -> Option<(String, Glimpse)> {
    let name = plain(summary.names?.first()?).to_owned();
    let state = match summary.state? {
        ContainerSummaryStateEnum::RUNNING => State::Running,
        ContainerSummaryStateEnum::RESTARTING => State::Restarting,
        ContainerSummaryStateEnum::PAUSED => State::Paused,
        ContainerSummaryStateEnum::CREATED => State::Created,
        _ => {
            // The list has the code in words only: `Exited (1) 3 minutes ago`.
            let words = summary.status.unwrap_or_default();
            let code = words.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code.parse());
            let code = code.and_then(Result::ok).unwrap_or_default();
            State::Exited { code, died: !is_of_a_stop(code) }
        }
    };
    Some((name, Glimpse { id: summary.id?, state }))
}

/// What `docker stop` leaves; see [`State::Exited`].
fn is_of_a_stop(code: i64) -> bool {
    matches!(code, 0 | 130 | 137 | 143)
}

fn doing(state: &ContainerState, is_always_started_again: bool) -> State {
    let code = state.exit_code.unwrap_or_default();
    let could_not_start = state.error.as_ref().is_some_and(|error| !error.is_empty());
    // The engine leaves none lying that it starts again whatever happens, unless its operator stopped it.
    let was_stopped = is_always_started_again || (is_of_a_stop(code) && !state.oom_killed.unwrap_or_default());
    let exited = State::Exited { code, died: could_not_start || !was_stopped };
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING) => State::Running,
        Some(ContainerStateStatusEnum::RESTARTING) => State::Restarting,
        Some(ContainerStateStatusEnum::PAUSED) => State::Paused,
        // One that compose made and the engine could not start stays `created`.
        Some(ContainerStateStatusEnum::CREATED) if !could_not_start => State::Created,
        _ => exited,
    }
}

fn health(health: Option<Health>) -> (Option<HealthState>, Option<String>) {
    let Some(health) = health else { return (None, None) };
    let state = match health.status {
        Some(HealthStatusEnum::STARTING) => HealthState::Starting,
        Some(HealthStatusEnum::HEALTHY) => HealthState::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => HealthState::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => return (None, None),
    };
    let checks = health.log.unwrap_or_default();
    let passed = checks.into_iter().rev().find(|check| check.exit_code == Some(0)).and_then(|check| check.start);
    (Some(state), passed)
}

fn addresses(settings: NetworkSettings) -> Vec<IpAddr> {
    let networks: BTreeMap<_, _> = settings.networks.unwrap_or_default().into_iter().collect();
    let both = networks.into_values().flat_map(|network| [network.ip_address, network.global_ipv6_address]);
    both.flatten().filter_map(|address| address.parse().ok()).collect()
}
