// SPDX-License-Identifier: Apache-2.0
//! Which containers there are and which process each hangs on, from state files and /proc alone: no daemon is
//! asked, so the answer comes at once and while a daemon hangs. Files may be old, so a process counts only
//! when its cgroup says that it is the container's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files::{self, FILE_LIMIT};
use crate::identity::is_full_id;
use crate::info::Raw;
use crate::oci::{Bundle, Row, crio, named_by_id, stored};
use crate::{Cgroup, Info, Pod, Runtime, Sources, api, identify, parse_proc_cgroup};

/// The most containers of one runtime that are looked at.
const CONTAINERS_LIMIT: usize = 10_000;
/// The most processes of the host that are looked at.
pub(crate) const PROCESSES_LIMIT: usize = 1 << 17;
const TABLE_LIMIT: usize = 32 << 20;
/// The most names of Docker's own directory that are looked at for remapped users.
const REMAPPED_LIMIT: usize = 1000;
pub(crate) const TASKS: &str = "io.containerd.runtime.v2.task";

/// A container that a runtime has noted down, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// As in an [`Identity`](crate::Identity).
    pub id: String,
    /// Whose it is.
    pub runtime: Runtime,
    /// What people call it.
    pub name: String,
    /// Its image, where the files tell it.
    pub image: String,
    /// Its Kubernetes pod.
    pub pod: Option<Pod>,
    /// Its first process as it was noted, which may have ended long ago.
    pub pid: Option<i32>,
    /// When that process started, in ticks of the host's clock, where it was noted.
    pub started: Option<u64>,
    /// The user whose runtime says so; root's is believed. Such a container is one only if it lives in a user
    /// namespace of that user.
    pub owner: Option<u32>,
}

impl Recorded {
    /// A container that was found by nothing but its process.
    pub fn by_cgroup(identity: crate::Identity, pid: i32) -> Recorded {
        let (id, runtime) = (identity.id, identity.runtime);
        let name = id.clone();
        Recorded {
            id,
            runtime,
            name,
            image: String::new(),
            pod: None,
            pid: Some(pid),
            started: None,
            owner: None,
        }
    }

    /// A container that does not run, by what its engine has written down.
    pub fn noted(runtime: Runtime, id: String, image: String, labels: BTreeMap<String, String>) -> Recorded {
        let image = Some(image);
        Recorded::from_info(
            Info::from_raw(Raw { id, runtime, name: None, image, image_id: None, labels }),
            None,
        )
    }

    pub(crate) fn from_info(info: Info, pid: Option<i32>) -> Recorded {
        let Info { id, runtime, name, image, pod, .. } = info;
        Recorded { id, runtime, name, image, pod, pid, started: None, owner: None }
    }

    /// Whether the process with this number now is the one that was noted, or in the container's cgroup. To be
    /// asked again once the process is held.
    pub fn is_at(&self, pid: i32) -> bool {
        if let Some(started) = self.started {
            return self.pid == Some(pid) && parent_and_start(pid).is_some_and(|(_, now)| now == started);
        }
        match identity(pid) {
            Some(identity) => identity.id == self.id || !is_full_id(&self.id),
            None => !is_full_id(&self.id) && Path::new(&format!("/proc/{pid}")).exists(),
        }
    }
}

/// The containers in the state files of all runtimes.
pub fn recorded(sources: &Sources) -> Vec<Recorded> {
    let mut all: Vec<Recorded> =
        docker_directories(&sources.docker_containers).iter().flat_map(|root| of_docker(root)).collect();
    for state in &sources.containerd_states {
        all.extend(of_containerd(&state.join(TASKS)));
    }
    for storage in &sources.podman_storage {
        all.extend(of_storage(&storage.join("overlay-containers"), &sources.podman_storage));
    }
    for root in &sources.runc_roots {
        all.extend(of_runc(root));
    }
    all.extend(of_machines(&sources.machines));
    all
}

/// The containers in one state directory of runc or crun.
pub fn in_state(root: &Path) -> Vec<Recorded> {
    of_runc(root)
}

/// The processes in containers: the container's identity and its first process, of each container once.
pub fn found() -> Vec<Recorded> {
    let mut all: Vec<(Recorded, Seniority)> = Vec::new();
    for pid in files::names(Path::new("/proc"), PROCESSES_LIMIT).iter().filter_map(|name| name.parse().ok()) {
        let Some(id) = identity(pid) else { continue };
        let Some(seniority) = seniority(pid) else { continue };
        match all.iter_mut().find(|(known, _)| known.id == id.id) {
            Some((known, senior)) if seniority < *senior => (known.pid, *senior) = (Some(pid), seniority),
            Some(_) => {}
            None => all.push((Recorded::by_cgroup(id, pid), seniority)),
        }
    }
    all.into_iter().map(|(container, _)| container).collect()
}

/// The container a process is in, by its cgroup.
pub fn identity(pid: i32) -> Option<crate::Identity> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    // Whether the pid namespace differs only matters to layouts that nobody has given a name.
    identify(&Cgroup { path: parse_proc_cgroup(&text)?, pid_ns_differs_from_host: false })
}

/// The first process of a pid namespace goes before others, and the older before the younger.
type Seniority = (bool, u64);

fn seniority(pid: i32) -> Option<Seniority> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    if field("State:")?.trim_start().starts_with('Z') {
        return None;
    }
    let is_first = field("NSpid:")?.split_whitespace().next_back() == Some("1");
    Some((!is_first, parent_and_start(pid)?.1))
}

/// The number of a process's parent, and when it started, in ticks of the host's clock.
pub(crate) fn parent_and_start(pid: i32) -> Option<(i32, u64)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the parent is the second field behind it, the start the 20th.
    let stat = String::from_utf8_lossy(&stat);
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().take(20).collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// Docker's directory of containers, and those beside it: with remapped users it keeps all below one that is called
/// after them, `UID.GID`.
pub(crate) fn docker_directories(containers: &Path) -> Vec<PathBuf> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair =
        |name: &String| name.split_once('.').is_some_and(|(user, group)| is_number(user) && is_number(group));
    let mut all = vec![containers.to_owned()];
    if let (Some(root), Some(last)) = (containers.parent(), containers.file_name()) {
        let remapped = files::names(root, REMAPPED_LIMIT).into_iter().filter(is_pair);
        all.extend(remapped.map(|name| root.join(name).join(last)));
    }
    all
}

pub(crate) fn of_docker(root: &Path) -> Vec<Recorded> {
    #[derive(Deserialize)]
    struct Kept {
        #[serde(rename = "State")]
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(rename = "Pid", default)]
        pid: i32,
    }
    let one = |id: String| {
        let text = files::read(root, &[&id, "config.v2.json"], FILE_LIMIT).ok()??;
        let info = api::from_config_file(&text).ok().filter(|info| info.id == id)?;
        let pid = serde_json::from_slice::<Kept>(&text).ok().map(|kept| kept.state.pid);
        Some(Recorded::from_info(info, pid.filter(|pid| *pid > 0)))
    };
    files::names(root, CONTAINERS_LIMIT).into_iter().filter_map(one).collect()
}

pub(crate) fn of_containerd(tasks: &Path) -> Vec<Recorded> {
    let mut all = Vec::new();
    for namespace in files::names(tasks, CONTAINERS_LIMIT).into_iter().filter(|name| !name.ends_with("moby"))
    {
        // One that is being removed has a dot in front of its id.
        let ids = files::names(&tasks.join(&namespace), CONTAINERS_LIMIT).into_iter();
        for id in ids.filter(|id| !id.starts_with('.')) {
            let read = |name: &str| files::read(tasks, &[&namespace, &id, name], FILE_LIMIT).ok().flatten();
            let Some(text) = read("config.json") else { continue };
            let bundle = serde_json::from_slice::<Bundle>(&text).ok();
            let labels = bundle.and_then(|bundle| bundle.annotations).unwrap_or_default();
            all.push(Recorded::from_info(
                named_by_id(Runtime::Containerd, &id, labels),
                read("init.pid").and_then(number),
            ));
        }
    }
    all
}

/// Podman and CRI-O: the table in the storage, the number below the one that a reboot forgets.
fn of_storage(root: &Path, storages: &[std::path::PathBuf]) -> Vec<Recorded> {
    let pid = |id: &str| {
        let names = ["overlay-containers", id, "userdata", "pidfile"];
        storages.iter().find_map(|storage| files::read(storage, &names, FILE_LIMIT).ok().flatten())
    };
    let mut all = Vec::new();
    for table in ["containers.json", "volatile-containers.json"] {
        let Ok(Some(text)) = files::read(root, &[table], TABLE_LIMIT) else { continue };
        let rows: Vec<Row> = serde_json::from_slice(&text).unwrap_or_default();
        all.extend(rows.into_iter().map(stored).map(|info| {
            // The table has no word of pods.
            let of_pod = Some(&info).filter(|info| info.runtime == Runtime::CriO && is_full_id(&info.id));
            let of_pod = of_pod.and_then(|info| crio(storages, &info.id).ok().flatten());
            let info = of_pod.unwrap_or(info);
            let pid = pid(&info.id).and_then(number);
            Recorded::from_info(info, pid)
        }));
    }
    all
}

pub(crate) fn of_runc(root: &Path) -> Vec<Recorded> {
    #[derive(Deserialize)]
    struct State {
        #[serde(alias = "pid")]
        init_process_pid: i32,
        #[serde(default, alias = "process-start-time")]
        init_process_start: u64,
    }
    let one = |id: String| {
        let read = |name: &str| files::read(root, &[&id, name], FILE_LIMIT).ok().flatten();
        let state = read("state.json").or_else(|| read("status"))?;
        let state = serde_json::from_slice::<State>(&state).ok();
        let pid = state.as_ref().map(|state| state.init_process_pid).filter(|pid| *pid > 0);
        let started = state.map(|state| state.init_process_start).filter(|start| *start > 0);
        let of = Recorded::from_info(named_by_id(Runtime::Runc, &id, Default::default()), pid);
        Some(Recorded { started, ..of })
    };
    files::names(root, CONTAINERS_LIMIT).into_iter().filter_map(one).collect()
}

fn of_machines(root: &Path) -> Vec<Recorded> {
    let one = |id: String| {
        let text = files::read(root, &[&id], FILE_LIMIT).ok()??;
        let text = String::from_utf8_lossy(&text);
        let pid = text.lines().find_map(|line| line.strip_prefix("LEADER=")?.parse().ok());
        Some(Recorded::from_info(named_by_id(Runtime::Nspawn, &id, Default::default()), pid))
    };
    files::names(root, CONTAINERS_LIMIT).into_iter().filter_map(one).collect()
}

fn number(text: Vec<u8>) -> Option<i32> {
    std::str::from_utf8(&text).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::{found, recorded};
    use crate::{Runtime, Sources};

    #[test]
    fn every_state_file_tells_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        write(
            &format!("docker/{one}/config.v2.json"),
            &format!(r#"{{"ID":"{one}","Name":"/web","State":{{"Pid":11}},"Config":{{}}}}"#),
        );
        write("docker/broken/config.v2.json", "{");
        let three = "3".repeat(64);
        write(
            &format!("100000.100000/docker/{three}/config.v2.json"),
            &format!(r#"{{"ID":"{three}","Name":"/mapped","State":{{"Pid":17}},"Config":{{}}}}"#),
        );
        write("100000.x/docker/x/config.v2.json", "{}");
        write(
            "ctrd/io.containerd.runtime.v2.task/k8s.io/app/config.json",
            r#"{"annotations":{"io.kubernetes.cri.container-name":"c","io.kubernetes.cri.sandbox-name":"p","io.kubernetes.cri.sandbox-namespace":"n"}}"#,
        );
        write("ctrd/io.containerd.runtime.v2.task/k8s.io/app/init.pid", "12");
        write("ctrd/io.containerd.runtime.v2.task/moby/x/config.json", "{}");
        write("ctrd/io.containerd.runtime.v2.task/k8s.io/.app/config.json", "{}");
        write("st/overlay-containers/containers.json", &format!(r#"[{{"id":"{two}","names":["pod"]}}]"#));
        write(&format!("run/overlay-containers/{two}/userdata/pidfile"), "13\n");
        write("runc/r/state.json", r#"{"init_process_pid":14,"config":{}}"#);
        write("runc/c/status", r#"{"pid":15}"#);
        write("machines/deb", "NAME=deb\nLEADER=16\n");
        let sources = Sources {
            docker_containers: dir.path().join("docker"),
            containerd_states: vec![dir.path().join("ctrd")],
            podman_storage: vec![dir.path().join("st"), dir.path().join("run")],
            runc_roots: vec![dir.path().join("runc")],
            machines: dir.path().join("machines"),
            ..Sources::none()
        };
        let all = recorded(&sources);
        let mut seen: Vec<_> =
            all.iter().map(|one| (one.pid.unwrap(), one.name.as_str(), one.runtime)).collect();
        seen.sort_unstable();
        let wanted = [
            (11, "web", Runtime::Docker),
            (12, "c", Runtime::Containerd),
            (13, "pod", Runtime::Podman),
            (14, "r", Runtime::Runc),
            (15, "c", Runtime::Runc),
            (16, "deb", Runtime::Nspawn),
            (17, "mapped", Runtime::Docker),
        ];
        assert_eq!(seen, wanted);
        assert_eq!(all.iter().find_map(|one| one.pod.clone()).unwrap().namespace, "n");
    }

    /// As CRI-O 1.36 writes them.
    #[test]
    fn a_pod_of_crio() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: String| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let (sandbox, app) = ("8".repeat(64), "7".repeat(64));
        let row = |id: &str, name: &str| {
            let metadata =
                r#"{\"pod-name\":\"k8s_shop_prod_u_0\",\"image-name\":\"i:1\",\"name\":\"k8s_x\"}"#;
            format!(r#"{{"id":"{id}","names":["{name}"],"metadata":"{metadata}"}}"#)
        };
        let (first, second) = (row(&sandbox, "k8s_POD_shop_prod_u_0"), row(&app, "k8s_app_shop_prod_u_0"));
        write("root/overlay-containers/volatile-containers.json", format!("[{first},{second}]"));
        for (id, kind, name, pid) in [(&sandbox, "sandbox", "POD", 11), (&app, "container", "app", 12)] {
            let annotations = format!(
                r#"{{"annotations":{{"io.kubernetes.container.name":"{name}","io.kubernetes.pod.name":"shop",
                "io.kubernetes.pod.namespace":"prod","io.kubernetes.pod.uid":"u",
                "io.kubernetes.cri-o.ContainerType":"{kind}","io.kubernetes.cri-o.ImageName":"i:1"}}}}"#
            );
            write(&format!("root/overlay-containers/{id}/userdata/config.json"), annotations);
            write(&format!("run/overlay-containers/{id}/userdata/pidfile"), pid.to_string());
        }
        let storages = vec![dir.path().join("root"), dir.path().join("run")];
        let all = recorded(&Sources { podman_storage: storages, ..Sources::none() });
        let seen: Vec<_> = all
            .iter()
            .map(|one| (one.name.as_str(), one.pid, one.pod.as_ref().map(|pod| pod.namespace.as_str())))
            .collect();
        assert_eq!(seen, [("shop", Some(11), Some("prod")), ("app", Some(12), Some("prod"))]);
        assert!(all.iter().all(|one| one.runtime == Runtime::CriO && one.image == "i:1"));
    }

    #[test]
    fn this_host_can_be_looked_at() {
        assert!(found().iter().all(|one| one.pid.is_some() && !one.id.is_empty()));
    }
}
