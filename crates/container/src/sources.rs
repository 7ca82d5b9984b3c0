// SPDX-License-Identifier: Apache-2.0
//! Where the runtimes live on a host. Only paths and limits: nothing here is opened.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The sockets and state directories to ask. A path that does not exist is simply not asked; one
/// that appears later is, except for sockets of users, which are looked for once, at the start. A
/// pattern may hold one `*` as a whole path component; it stands for the user's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    /// Docker Engine's API.
    pub docker_socket: PathBuf,
    /// Where Docker keeps `<id>/config.v2.json`.
    pub docker_containers: PathBuf,
    /// Rootless Docker's sockets, as patterns; each is asked only for its own user's containers.
    pub docker_user_sockets: Vec<PathBuf>,
    /// Podman's API sockets.
    pub podman_sockets: Vec<PathBuf>,
    /// Rootless Podman's sockets, as patterns; each is asked only for its own user's containers.
    pub podman_user_sockets: Vec<PathBuf>,
    /// The storage of Podman and CRI-O: `overlay-containers/containers.json` and the like.
    pub podman_storage: Vec<PathBuf>,
    /// containerd's state: `io.containerd.runtime.v2.task/<namespace>/<id>/config.json`.
    pub containerd_states: Vec<PathBuf>,
    /// containerd's gRPC sockets; each stands at the place of its state directory.
    pub containerd_sockets: Vec<PathBuf>,
    /// State of runc and crun: `<id>/state.json` or `<id>/status`.
    pub runc_roots: Vec<PathBuf>,
    /// LXC's containers.
    pub lxc: PathBuf,
    /// systemd-machined's registry.
    pub machines: PathBuf,
    /// The longest a whole request to a socket may take; written in milliseconds.
    #[serde(rename = "request_timeout_ms", with = "milliseconds")]
    pub request_timeout: Duration,
}

/// A time as a whole number of milliseconds.
mod milliseconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u32::try_from(time.as_millis()).unwrap_or(u32::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u32::deserialize(deserializer).map(|millis| Duration::from_millis(millis.into()))
    }
}

impl Default for Sources {
    fn default() -> Sources {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Sources {
            docker_socket: "/var/run/docker.sock".into(),
            docker_containers: "/var/lib/docker/containers".into(),
            docker_user_sockets: paths(&["/run/user/*/docker.sock"]),
            podman_sockets: paths(&["/run/podman/podman.sock"]),
            podman_user_sockets: paths(&["/run/user/*/podman/podman.sock"]),
            podman_storage: paths(&["/var/lib/containers/storage", "/run/containers/storage"]),
            containerd_states: paths(&[
                "/run/containerd",
                "/run/k3s/containerd",
                "/run/docker/containerd/daemon",
            ]),
            containerd_sockets: paths(&[
                "/run/containerd/containerd.sock",
                "/run/k3s/containerd/containerd.sock",
                "/run/docker/containerd/containerd.sock",
            ]),
            runc_roots: paths(&["/run/runc", "/run/crun"]),
            lxc: "/var/lib/lxc".into(),
            machines: "/run/systemd/machines".into(),
            request_timeout: Duration::from_secs(2),
        }
    }
}

impl Sources {
    /// No source at all: a start for hosts and tests that name each one.
    pub fn none() -> Sources {
        Sources {
            docker_socket: PathBuf::new(),
            docker_containers: PathBuf::new(),
            docker_user_sockets: Vec::new(),
            podman_sockets: Vec::new(),
            podman_user_sockets: Vec::new(),
            podman_storage: Vec::new(),
            containerd_states: Vec::new(),
            containerd_sockets: Vec::new(),
            runc_roots: Vec::new(),
            lxc: PathBuf::new(),
            machines: PathBuf::new(),
            request_timeout: Duration::from_secs(2),
        }
    }
}

/// The most paths one pattern may stand for.
const MATCHES_LIMIT: usize = 16;

/// The existing paths behind a pattern, with what its `*` stood for.
pub(crate) fn matches(pattern: &Path) -> Vec<(PathBuf, Option<String>)> {
    let mut before = PathBuf::new();
    let mut parts = pattern.components();
    for part in parts.by_ref() {
        if part.as_os_str() == "*" {
            return below(&before, parts.as_path());
        }
        before.push(part);
    }
    if before.exists() { vec![(before, None)] } else { Vec::new() }
}

fn below(dir: &Path, rest: &Path) -> Vec<(PathBuf, Option<String>)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.path().join(rest), Some(entry.file_name().into_string().ok()?))))
        .filter(|(path, _)| path.exists())
        .take(MATCHES_LIMIT)
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let dir = tempfile::tempdir().unwrap();
        for user in ["1000", "1001", "1002"] {
            std::fs::create_dir(dir.path().join(user)).unwrap();
        }
        for user in ["1000", "1002"] {
            std::fs::write(dir.path().join(user).join("docker.sock"), "").unwrap();
        }
        let found = matches(&dir.path().join("*/docker.sock"));
        let users: Vec<_> = found.iter().map(|(_, user)| user.as_deref().unwrap()).collect();
        assert_eq!(users, ["1000", "1002"]);
        let plain = dir.path().join("1000/docker.sock");
        assert_eq!(matches(&plain), [(plain, None)]);
        assert_eq!(matches(&dir.path().join("gone/*")), []);
    }
}
