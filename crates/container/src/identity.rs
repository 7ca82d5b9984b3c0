// SPDX-License-Identifier: Apache-2.0
//! The pure half: a cgroup path becomes a container identity. Reads no file and asks nobody;
//! any bytes are accepted, and work and memory are bounded by the length of the path.

use std::fmt;
use std::str::FromStr;

use crate::unit;

/// What the kernel told once about a cgroup.
#[derive(Clone, Copy, Debug)]
pub struct Cgroup<'a> {
    /// The path from the hierarchy's root, such as `/docker/<64 hex digits>`.
    pub path: &'a [u8],
    /// Whether its tasks live in another pid namespace than the host's.
    pub pid_ns_differs_from_host: bool,
}

/// A container, as far as its cgroup tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// 64 hex digits for most runtimes, a name for `ctr`, runc, LXC and systemd-nspawn.
    /// Bytes that are not UTF-8 stand as `\xNN`.
    pub id: String,
    /// Who made it. A guess from the layout, good enough to know whom to ask first.
    pub runtime: Runtime,
    /// The Kubernetes pod, with dashes, when the path names one.
    pub pod_uid: Option<String>,
    /// Whether another container encloses this one.
    pub nested: bool,
}

/// The runtimes whose layouts are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Runtime {
    /// Docker Engine.
    Docker,
    /// containerd: by CRI, `ctr` or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// runc or crun without a manager.
    Runc,
    /// LXC and what builds on it.
    Lxc,
    /// systemd-nspawn and other machines of systemd-machined.
    Nspawn,
    /// A container by its id, of a runtime that the path does not tell.
    Unknown,
}

impl Runtime {
    const ALL: [Runtime; 8] = [
        Runtime::Docker,
        Runtime::Containerd,
        Runtime::CriO,
        Runtime::Podman,
        Runtime::Runc,
        Runtime::Lxc,
        Runtime::Nspawn,
        Runtime::Unknown,
    ];

    /// The word used in configurations and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Containerd => "containerd",
            Runtime::CriO => "cri-o",
            Runtime::Podman => "podman",
            Runtime::Runc => "runc",
            Runtime::Lxc => "lxc",
            Runtime::Nspawn => "nspawn",
            Runtime::Unknown => "unknown",
        }
    }

    /// The runtime behind a prefix of a scope (`docker-<id>.scope`) or of a colon triple.
    fn from_prefix(prefix: &[u8]) -> Runtime {
        match prefix {
            b"docker" => Runtime::Docker,
            b"cri-containerd" | b"containerd" | b"nerdctl" => Runtime::Containerd,
            b"crio" => Runtime::CriO,
            b"libpod" | b"libpod-payload" => Runtime::Podman,
            b"runc" | b"crun" => Runtime::Runc,
            _ => Runtime::Unknown,
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A word that names no runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no runtime is called {0:?}; use docker, containerd, cri-o, podman, runc, lxc, nspawn or unknown")]
pub struct UnknownRuntime(pub String);

impl FromStr for Runtime {
    type Err = UnknownRuntime;

    fn from_str(word: &str) -> Result<Runtime, UnknownRuntime> {
        Runtime::ALL.into_iter().find(|r| r.as_str() == word).ok_or_else(|| UnknownRuntime(word.into()))
    }
}

/// The longest name the kernel gives a cgroup; longer ones cannot be real.
const NAME_LIMIT: usize = 255;
/// The cgroup that holds those of debugging sessions.
const SESSIONS: &str = "purser-debug";

/// The container that the tasks of a cgroup belong to: the innermost one.
/// `None` is no container: a service or a session of the host, or the monitor of a container.
pub fn identify(cgroup: &Cgroup<'_>) -> Option<Identity> {
    if let Some(identity) = of_session(cgroup.path) {
        return Some(identity);
    }
    let mut walk = Walk::default();
    let mut parent: &[u8] = b"";
    for name in names(cgroup.path) {
        walk.step(parent, name);
        parent = name;
    }
    if walk.monitor && walk.found.is_none() {
        return None;
    }
    let found = walk.found.or_else(|| by_namespace(cgroup, walk.leaf_is_pod));
    found.map(|(id, runtime)| Identity { id, runtime, pod_uid: walk.pod_uid, nested: walk.nested })
}

/// The name of the cgroup of a debugging session, and the one above it: what runs there works in a container, and
/// does not count as the container's.
///
/// `None` when the id is none that a cgroup could be called by.
pub fn session_cgroup(runtime: Runtime, id: &str, session: &str) -> Option<(&'static str, String)> {
    let name = format!("{runtime}:{session}:{id}");
    (name.len() <= NAME_LIMIT && !id.is_empty() && !name.contains(['/', '\n', '\0']))
        .then_some((SESSIONS, name))
}

/// What [`session_cgroup`] wrote.
fn of_session(path: &[u8]) -> Option<Identity> {
    let mut names = names(path);
    let name = names.next().filter(|name| *name == SESSIONS.as_bytes()).and_then(|_| names.next())?;
    let mut parts = std::str::from_utf8(name).ok()?.splitn(3, ':');
    let (runtime, _session, id) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    (!id.is_empty()).then(|| Identity { id: id.to_string(), runtime, pod_uid: None, nested: false })
}

/// The names on the way, root first, without what no cgroup can be called.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && name.len() <= NAME_LIMIT && *name != b"." && *name != b"..")
}

/// What is known after some names of the path.
#[derive(Default)]
struct Walk {
    found: Option<(String, Runtime)>,
    /// The container around the one found.
    outer: Option<(String, Runtime)>,
    nested: bool,
    /// Set while the walk is inside a monitor (conmon, `lxc.monitor`): that belongs to whatever
    /// encloses it, which is the host or an outer container.
    monitor: bool,
    kubernetes: bool,
    pod_uid: Option<String>,
    leaf_is_pod: bool,
}

impl Walk {
    fn step(&mut self, parent: &[u8], name: &[u8]) {
        self.kubernetes |= contains(name, b"kubepods");
        self.leaf_is_pod = false;
        if self.kubernetes
            && let Some(uid) = pod_uid(name)
        {
            self.pod_uid = Some(uid);
            self.leaf_is_pod = true;
        }
        match recognise(parent, name, self.kubernetes) {
            Some(Sight::Container(id, runtime)) => self.enter(id, runtime),
            Some(Sight::Monitor) => self.monitor = true,
            None if name == b"supervisor" && machine(parent).is_some() => {
                // systemd-nspawn itself, beside the machine's own `payload`.
                self.found = self.outer.take();
                self.nested = false;
                self.monitor = true;
            }
            None => {}
        }
    }

    fn enter(&mut self, id: String, runtime: Runtime) {
        if self.found.as_ref().is_some_and(|(known, _)| *known != id) {
            self.nested = true;
            self.outer = self.found.take();
        }
        self.found = Some((id, runtime));
        self.monitor = false;
        self.leaf_is_pod = false;
    }
}

enum Sight {
    Container(String, Runtime),
    Monitor,
}

/// What one name says, given the name above it.
fn recognise(parent: &[u8], name: &[u8], kubernetes: bool) -> Option<Sight> {
    if let Some(sight) = lxc(parent, name) {
        return Some(sight);
    }
    if let Some(id) = machine(name) {
        return Some(Sight::Container(id, Runtime::Nspawn));
    }
    let stem = name.strip_suffix(b".scope").unwrap_or(name);
    let (before, id) = split_id(stem)?;
    let id = id.to_owned();
    let runtime = match before.split_last() {
        None => bare(parent, kubernetes),
        Some((b'-', prefix)) if prefix.ends_with(b"conmon") => return Some(Sight::Monitor),
        Some((b'-', prefix)) => Runtime::from_prefix(prefix),
        Some((b':', triple)) => Runtime::from_prefix(triple.rsplit(|&b| b == b':').next().unwrap_or(triple)),
        Some(_) => return None,
    };
    Some(Sight::Container(id, runtime))
}

/// Splits `docker-<id>` into `docker-` and the id of 64 hex digits.
fn split_id(stem: &[u8]) -> Option<(&[u8], &str)> {
    let (before, id) = stem.split_at_checked(stem.len().checked_sub(64)?)?;
    let id = std::str::from_utf8(id).ok()?;
    is_full_id(id).then_some((before, id))
}

/// Whether this is an id as Docker, Podman and the CRI runtimes make them.
pub(crate) fn is_full_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The runtime of a cgroup that is named by the id alone.
fn bare(parent: &[u8], kubernetes: bool) -> Runtime {
    match parent {
        b"docker" => Runtime::Docker,
        b"libpod_parent" => Runtime::Podman,
        b"default" | b"k8s.io" => Runtime::Containerd,
        _ if kubernetes => Runtime::Containerd,
        _ => Runtime::Unknown,
    }
}

fn lxc(parent: &[u8], name: &[u8]) -> Option<Sight> {
    if parent == b"lxc.monitor" || name.starts_with(b"lxc.monitor.") {
        return Some(Sight::Monitor);
    }
    let id = match parent {
        b"lxc" | b"lxc.payload" => name,
        _ => name.strip_prefix(b"lxc.payload.").filter(|id| !id.is_empty())?,
    };
    Some(Sight::Container(unit::id(id)?, Runtime::Lxc))
}

/// The machine behind `machine-NAME.scope` or `systemd-nspawn@NAME.service`. Virtual machines of
/// libvirt are registered the same way and are no containers.
fn machine(name: &[u8]) -> Option<String> {
    let scope = name.strip_prefix(b"machine-").and_then(|rest| rest.strip_suffix(b".scope"));
    let service = name.strip_prefix(b"systemd-nspawn@").and_then(|rest| rest.strip_suffix(b".service"));
    let id = unit::unescape(scope.or(service)?)?;
    (!id.starts_with("qemu-")).then_some(id)
}

/// `pod<uid>` of the cgroupfs driver, `…-pod<uid with underscores>.slice` of the systemd driver, and
/// the same before a colon. A uid is a UUID, or 32 hex digits for a pod from a file of the node.
fn pod_uid(name: &[u8]) -> Option<String> {
    let first = name.split(|&byte| byte == b':').next()?;
    let uid = match first.strip_suffix(b".slice") {
        Some(slice) => {
            let at = slice.windows(4).rposition(|part| part == b"-pod")?;
            slice.get(at + 4..)?
        }
        None => {
            let at = find(first, b"-pod").map_or(0, |dash| dash + 1);
            first.get(at..)?.strip_prefix(b"pod")?
        }
    };
    let plain = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-' | b'_');
    (matches!(uid.len(), 32 | 36) && uid.iter().all(plain))
        .then(|| uid.iter().map(|&b| if b == b'_' { '-' } else { char::from(b) }).collect())
}

/// Nothing in the path has a known shape: the namespaces decide, and the leaf gives the name.
fn by_namespace(cgroup: &Cgroup<'_>, leaf_is_pod: bool) -> Option<(String, Runtime)> {
    let mut all = names(cgroup.path);
    if let (Some(b"default" | b"k8s.io"), Some(id), None) = (all.next(), all.next(), all.next())
        && cgroup.pid_ns_differs_from_host
        && !is_unit(id)
    {
        return Some((unit::id(id)?, Runtime::Containerd));
    }
    if !cgroup.pid_ns_differs_from_host || leaf_is_pod {
        return None;
    }
    // A systemd inside the container makes units below it, so the last name that is no unit counts.
    if let Some(id) = names(cgroup.path).rev().find(|name| !is_unit(name) && !is_inner(name)) {
        return Some((unit::id(id)?, Runtime::Runc));
    }
    // The systemd driver makes `runc-NAME.scope`. Any other unit is the host's own, with namespaces
    // of its own (sandboxed services, browsers).
    let id = names(cgroup.path).rev().find_map(|name| {
        let stem = name.strip_suffix(b".scope")?;
        stem.strip_prefix(b"runc-").or_else(|| stem.strip_prefix(b"crun-"))
    })?;
    Some((unit::id(id)?, Runtime::Runc))
}

fn is_unit(name: &[u8]) -> bool {
    [b".slice".as_slice(), b".service", b".scope", b".mount", b".socket"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Names that managers give to groups inside a container or a unit.
fn is_inner(name: &[u8]) -> bool {
    matches!(name, b"payload" | b"supervisor" | b"container")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    find(haystack, needle).is_some()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|part| part == needle)
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
