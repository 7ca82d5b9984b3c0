// SPDX-License-Identifier: Apache-2.0
//! The logs of containers: of Docker's as it tells itself, of pods by the links the kubelet makes. Asked
//! on a source's own thread, which may wait for a runtime.

use super::{Containers, Found};
use crate::config::{Scope, Source};
use crate::pipeline::{described, matches_scope};
use container::{Logged, Logs, Output};
use event::Container;
use source::{Format, Log, PathGlob, Root, Roots, Unread};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// Logs of pods that are read.
const LINKS_LIMIT: usize = 10_000;
/// Containers that wait to be described in the store.
const FOUND_LIMIT: usize = 10_000;
/// Digits of a container's id.
const ID_DIGITS: usize = 64;

/// Files beside a log that are none: compressed ones, and those on their way there.
pub(super) const LEFT_OUT: [&str; 2] = ["*.gz", "*.tmp"];

pub(super) fn finder(
    source: &Source,
    runtimes: &container::Sources,
    shared: &Containers,
    found: &Found,
) -> Roots {
    let wanted = Scope {
        names: source.names.clone(),
        exclude_names: source.exclude_names.clone(),
        images: source.images.clone(),
        labels: source.labels.clone(),
        ..Scope::default()
    };
    let (links, shared, told) = (source.pod_logs.clone(), Arc::clone(shared), Arc::clone(found));
    let mut docker = Logs::new(runtimes);
    Box::new(move || {
        let mut all = source::Containers::default();
        let (containers, trouble) = docker.look();
        all.error = trouble.map(|error| error.to_string());
        let pods = pods(&links);
        if pods.len() >= LINKS_LIMIT {
            all.error = Some(format!("{}: the first {LINKS_LIMIT} logs are read", links.display()));
        }
        let mut take = |info: Container, path: Result<(PathBuf, Format), String>| {
            if matches_scope(&wanted, &info) {
                match path.and_then(|(path, format)| Ok(Log { paths: pattern(&path)?, format })) {
                    Ok(log) => {
                        all.roots.push(Root {
                            id: info.id.clone(),
                            name: info.name.clone(),
                            root: None,
                            logs: vec![log],
                        });
                        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                        // Containers come and go, and the main line takes them only with lines.
                        if told.len() >= FOUND_LIMIT {
                            told.clear();
                        }
                        told.insert(info.id.clone(), info);
                    }
                    Err(reason) => all.unread.push(Unread { container: info.name, reason }),
                }
            }
        };
        for Logged { info, output } in containers {
            match output {
                Some(Output::JsonFile(path)) => take(described(info), Ok((path, Format::Docker))),
                Some(Output::Driver(driver)) => take(described(info), Err(other_driver(&driver))),
                None => {}
            }
        }
        let known = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (info, path) in pods {
            let full = known.iter().find(|known| known.id == info.id && !known.name.is_empty()).cloned();
            take(full.unwrap_or(info), Ok((path, Format::Cri)));
        }
        all
    })
}

fn other_driver(driver: &str) -> String {
    format!("its log driver is {driver:?}; start it with --log-driver json-file to have its output read")
}

/// The file and what it is rotated to, `FILE.1` with Docker and `FILE.TIME` with the kubelet.
fn pattern(path: &Path) -> Result<PathGlob, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    if text.contains(['*', '?', '[']) {
        return Err(format!("{text} would be taken for a pattern"));
    }
    PathGlob::new(&format!("{text}*")).map_err(|error| error.to_string())
}

/// The containers of pods: `POD_NAMESPACE_CONTAINER-ID.log` leads to
/// `…/NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`. Links to files of Docker's are left to Docker.
fn pods(links: &Path) -> Vec<(Container, PathBuf)> {
    let Ok(entries) = fs::read_dir(links) else { return Vec::new() };
    let pod = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let (_, id) = name.to_str()?.strip_suffix(".log")?.rsplit_once('-')?;
        let digits =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if id.len() != ID_DIGITS || !digits(id) {
            return None;
        }
        let path = links.join(fs::read_link(entry.path()).ok()?);
        // A link below it leads to another runtime's file. While it is rotated there is none for a moment.
        let is_other = fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file());
        let normal = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if is_other || !normal {
            return None;
        }
        let mut above = path.ancestors().skip(1).filter_map(Path::file_name).map(|name| name.as_bytes());
        let container = String::from_utf8(above.next()?.to_vec()).ok()?;
        let pod = String::from_utf8(above.next()?.to_vec()).ok()?;
        let mut parts = pod.splitn(3, '_');
        let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
        Some((of_pod(id, &container, namespace, pod, uid), path))
    };
    entries.flatten().filter_map(pod).take(LINKS_LIMIT).collect()
}

/// What the names of files tell; the labels are those that the kubelet gives the container.
fn of_pod(id: &str, container: &str, namespace: &str, pod: &str, uid: &str) -> Container {
    let label = |key: &str, value: &str| (format!("io.kubernetes.{key}"), value.to_string());
    Container {
        id: id.to_string(),
        name: container.to_string(),
        labels: vec![
            label("container.name", container),
            label("pod.name", pod),
            label("pod.namespace", namespace),
            label("pod.uid", uid),
        ],
        pod_name: pod.to_string(),
        pod_namespace: namespace.to_string(),
        pod_uid: uid.to_string(),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::pods;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_of_the_kubelet_name_the_containers_of_pods() {
        let dir = tempfile::tempdir().unwrap();
        let (links, logs) = (dir.path().join("containers"), dir.path().join("pods/shop_web-7f_0f1e/app"));
        fs::create_dir_all(&links).unwrap();
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join("0.log"), "").unwrap();
        symlink("/var/lib/docker/x-json.log", logs.join("1.log")).unwrap();
        let id = "ab".repeat(32);
        symlink(logs.join("0.log"), links.join(format!("web-7f_shop_app-{id}.log"))).unwrap();
        for (name, target) in [
            (format!("web-7f_shop_app-{}.log", "cd".repeat(32)), logs.join("1.log")),
            (format!("web-7f_shop_app-{}.log", "ef".repeat(32)), "../pods/shop_web-7f_0f1e/app/0.log".into()),
            ("web-7f_shop_app-short.log".to_string(), logs.join("0.log")),
            ("other".to_string(), logs.join("0.log")),
        ] {
            symlink(target, links.join(name)).unwrap();
        }
        let found = pods(&links);
        assert_eq!(found.len(), 1, "{found:?}");
        let (info, path) = &found[0];
        assert_eq!((info.id.as_str(), info.name.as_str()), (id.as_str(), "app"));
        assert_eq!((info.pod_name.as_str(), info.pod_namespace.as_str()), ("web-7f", "shop"));
        assert_eq!((info.pod_uid.as_str(), path), ("0f1e", &logs.join("0.log")));
        assert!(pods(&dir.path().join("none")).is_empty());
    }
}
