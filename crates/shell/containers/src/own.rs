//! Which container this process runs in, and what its paths are called outside.

use std::path::{Path, PathBuf};

use crate::Container;

/// The root lies in the container's own file system, where no other container can read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is inside this program's own container: mount the host's folder there, so that other containers can read it", .0.display())]
pub struct RootNotMounted(PathBuf);

/// The id of the container that this process runs in; `None` on a host. `mountinfo` is `/proc/self/mountinfo`.
///
/// The engine keeps `/etc/hostname` in a folder that is named after the container and mounts it from there
/// (`/var/lib/docker/containers/<id>/hostname`); the container's own host name may be anything.
#[must_use]
pub fn own_id(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        // Fields 4 and 5 of proc_pid_mountinfo(5): what is mounted, and where.
        let mut fields = line.split(' ').skip(3);
        let (what, place) = (fields.next()?, fields.next()?);
        let id = what.strip_suffix("/hostname")?.rsplit('/').next()?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (place == "/etc/hostname" && is_id).then(|| id.to_owned())
    })
}

/// What `path` inside `own`, the container of this process, is called on the engine's host.
pub fn host_path(own: &Container, path: &Path) -> Result<PathBuf, RootNotMounted> {
    let mounts = own.mounts.iter().filter(|mount| path.starts_with(&mount.destination));
    let nearest = mounts.max_by_key(|mount| mount.destination.components().count());
    let below = nearest.and_then(|mount| Some((mount, path.strip_prefix(&mount.destination).ok()?)));
    match below {
        Some((mount, rest)) if rest.as_os_str().is_empty() => Ok(mount.source.clone()),
        Some((mount, rest)) => Ok(mount.source.join(rest)),
        None => Err(RootNotMounted(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::{Mount, State};

    #[test]
    fn a_process_in_a_container_finds_its_id_and_one_on_the_host_finds_none() {
        let id = "3f".repeat(32);
        let inside = format!(
            "501 480 0:54 / /proc rw - proc proc rw\n\
             510 500 254:1 /var/lib/docker/containers/{id}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda1 rw\n\
             511 500 254:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n"
        );
        assert_eq!(own_id(&inside), Some(id.clone()));
        let host = format!("90 25 0:40 / /var/lib/docker/containers/{id}/mounts/shm rw - tmpfs shm rw\n");
        assert_eq!(own_id(&host), None);
    }

    #[test]
    fn a_path_in_the_container_has_a_name_on_the_host() {
        let mount = |source: &str, destination: &str| Mount {
            source: source.into(),
            destination: destination.into(),
            writable: true,
        };
        let own = Container {
            id: "a".to_owned(),
            name: "config-follower".to_owned(),
            image: String::new(),
            state: State::Running,
            started: String::new(),
            restarts: 0,
            start_error: String::new(),
            health: None,
            passed: None,
            mounts: vec![mount("/srv/pryv", "/app"), mount("/srv/other", "/app/pryv/core")],
            stop_grace: Duration::from_secs(10),
            labels: BTreeMap::new(),
            addresses: Vec::new(),
        };
        let host = |path: &str| host_path(&own, Path::new(path)).ok();
        assert_eq!(host("/app"), Some("/srv/pryv".into()));
        assert_eq!(host("/app/pryv"), Some("/srv/pryv/pryv".into()));
        assert_eq!(host("/app/pryv/core/conf"), Some("/srv/other/conf".into()));
        assert_eq!(host("/application"), None);
    }
}
