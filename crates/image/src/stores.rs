// SPDX-License-Identifier: Apache-2.0
//! Where container engines keep their files on this host: the usual directories, those their configuration names,
//! those the command lines of running daemons name, and those of users' engines in their homes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most homes that are looked into, and processes whose command lines are read.
const HOMES_LIMIT: usize = 2000;
const PROCESSES_LIMIT: usize = 1 << 17;
const FILE_LIMIT: u64 = 1 << 20;

const DOCKER: &str = "/var/lib/docker";
const STORAGE: &str = "/var/lib/containers/storage";
const CONTAINERD: [&str; 3] = [
    "/var/lib/containerd",
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
];
/// Below a home.
const IN_HOMES: [(Engine, &str); 3] = [
    (Engine::Docker, ".local/share/docker"),
    (Engine::Storage, ".local/share/containers/storage"),
    (Engine::Containerd, ".local/share/containerd"),
];

/// Whose files they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Engine {
    /// Docker's own.
    Docker,
    /// Podman, Buildah and CRI-O.
    Storage,
    /// containerd, also below Kubernetes, nerdctl and newer Dockers.
    Containerd,
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Engine::Docker => "docker",
            Engine::Storage => "podman",
            Engine::Containerd => "containerd",
        })
    }
}

/// Directories to look in. One that does not exist has nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stores {
    /// Docker's data roots.
    pub docker: Vec<PathBuf>,
    /// Graph roots of containers-storage.
    pub storage: Vec<PathBuf>,
    /// containerd's roots.
    pub containerd: Vec<PathBuf>,
    /// Those of the above that belong to users: what is in them is no word of root's.
    pub of_users: Vec<PathBuf>,
}

impl Stores {
    /// Those of this host.
    #[must_use]
    pub fn of_host() -> Stores {
        let mut stores = Stores::default();
        stores.docker.push(DOCKER.into());
        stores.storage.push(STORAGE.into());
        stores.containerd.extend(CONTAINERD.map(PathBuf::from));
        stores.configured();
        stores.running();
        // With remapped users Docker keeps all below a directory that is called after them.
        let remapped: Vec<PathBuf> = stores.docker.iter().flat_map(|root| remapped(root)).collect();
        stores.docker.extend(remapped);
        // A Docker without a containerd of the host starts one of its own.
        let own: Vec<PathBuf> = stores.docker.iter().map(|root| root.join("containerd/daemon")).collect();
        stores.containerd.extend(own);
        let homes = homes(&text(Path::new("/etc/passwd")));
        for (home, (engine, below)) in homes.iter().flat_map(|home| IN_HOMES.map(|one| (home, one))) {
            let path = home.join(below);
            if path.is_dir() {
                stores.list(engine).push(path.clone());
                stores.of_users.push(path);
            }
        }
        for list in [&mut stores.docker, &mut stores.storage, &mut stores.containerd] {
            let mut seen = BTreeSet::new();
            // The same directory may be reached in two ways.
            list.retain(|path| {
                path.is_dir() && seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone()))
            });
        }
        stores
    }

    /// Whether a store is some user's and not the host's.
    #[must_use]
    pub fn is_of_user(&self, store: &Path) -> bool {
        self.of_users.iter().any(|one| one == store)
    }

    /// Without those of users.
    #[must_use]
    pub fn without_users(mut self) -> Stores {
        let of_users = std::mem::take(&mut self.of_users);
        for list in [&mut self.docker, &mut self.storage, &mut self.containerd] {
            list.retain(|path| !of_users.contains(path));
        }
        self
    }

    fn list(&mut self, engine: Engine) -> &mut Vec<PathBuf> {
        match engine {
            Engine::Docker => &mut self.docker,
            Engine::Storage => &mut self.storage,
            Engine::Containerd => &mut self.containerd,
        }
    }

    fn configured(&mut self) {
        self.docker.extend(docker_root(&text(Path::new("/etc/docker/daemon.json"))));
        self.containerd.extend(toml_path(&text(Path::new("/etc/containerd/config.toml")), &["root"]));
        for file in ["/usr/share/containers/storage.conf", "/etc/containers/storage.conf"] {
            self.storage.extend(storage_roots(&text(Path::new(file))));
        }
    }

    fn running(&mut self) {
        let Ok(processes) = fs::read_dir("/proc") else { return };
        let own = namespaces(Path::new("/proc/self"));
        for process in processes.flatten().take(PROCESSES_LIMIT) {
            if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let comm = text(&process.path().join("comm"));
            let engine = match comm.trim_end() {
                "dockerd" => Engine::Docker,
                "containerd" => Engine::Containerd,
                _ => continue,
            };
            // Anybody may call a process so; only root's says where the host's stores are.
            if own.is_none() || namespaces(&process.path()) != own || !is_root(&process.path()) {
                continue;
            }
            let line = text(&process.path().join("cmdline"));
            let words: Vec<&str> = line.split('\0').collect();
            let found = match engine {
                Engine::Docker => {
                    let file = option(&words, &["--config-file"]);
                    let in_file = file.and_then(|file| docker_root(&text(&file)));
                    option(&words, &["--data-root", "--graph", "-g"]).or(in_file)
                }
                _ => {
                    let file = option(&words, &["--config", "-c"]);
                    let in_file = file.and_then(|file| toml_path(&text(&file), &["root"]));
                    option(&words, &["--root"]).or(in_file)
                }
            };
            self.list(engine).extend(found);
        }
    }
}

/// This processor, as images name it.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What could be read of a file.
fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    let Ok(file) = fs::File::open(path) else { return String::new() };
    file.take(FILE_LIMIT).read_to_end(&mut bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether root has started it: by all four of its users, and as no set-user-ID program, which works for whoever calls
/// it, by any name and with any words.
fn is_root(process: &Path) -> bool {
    let status = text(&process.join("status"));
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let is_root = users.is_some_and(|users| users.split_whitespace().all(|user| user == "0"));
    is_root && fs::metadata(process.join("exe")).is_ok_and(|exe| exe.mode() & 0o6000 == 0)
}

/// A container's root may be the host's by number, and is told by its namespaces.
fn namespaces(process: &Path) -> Option<[PathBuf; 2]> {
    let link = |kind: &str| fs::read_link(process.join("ns").join(kind)).ok();
    Some([link("user")?, link("mnt")?])
}

/// The last value of an option, in one word or two; an absolute path.
fn option(words: &[&str], names: &[&str]) -> Option<PathBuf> {
    let mut found = None;
    for (at, word) in words.iter().enumerate() {
        let value = names.iter().find_map(|name| match word.strip_prefix(name)? {
            "" => words.get(at + 1).copied(),
            rest => rest.strip_prefix('='),
        });
        found = value.or(found);
    }
    found.filter(|path| path.starts_with('/')).map(PathBuf::from)
}

fn docker_root(text: &str) -> Option<PathBuf> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let path = value.get("data-root").or_else(|| value.get("graph"))?.as_str()?;
    path.starts_with('/').then(|| path.into())
}

fn toml_path(text: &str, keys: &[&str]) -> Option<PathBuf> {
    let table: toml::Table = text.parse().ok()?;
    let (last, tables) = keys.split_last()?;
    let table = tables.iter().try_fold(&table, |table, key| table.get(*key)?.as_table())?;
    let path = table.get(*last)?.as_str()?;
    path.starts_with('/').then(|| path.into())
}

/// The graph root and the additional stores.
fn storage_roots(text: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = toml_path(text, &["storage", "graphroot"]).into_iter().collect();
    let table: Option<toml::Table> = text.parse().ok();
    let more = table
        .as_ref()
        .and_then(|table| table.get("storage")?.get("options")?.get("additionalimagestores")?.as_array());
    let more = more.into_iter().flatten().filter_map(toml::Value::as_str);
    found.extend(more.filter(|path| path.starts_with('/')).map(PathBuf::from));
    found
}

/// `UID.GID` below a data root.
fn remapped(root: &Path) -> Vec<PathBuf> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair =
        |name: &str| name.split_once('.').is_some_and(|(user, group)| is_number(user) && is_number(group));
    let entries = fs::read_dir(root).into_iter().flatten().flatten().take(HOMES_LIMIT);
    entries.filter(|entry| is_pair(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

/// The homes of users but root's system ones.
fn homes(passwd: &str) -> BTreeSet<PathBuf> {
    let home = |line: &str| {
        let home = line.split(':').nth(5)?;
        (home.starts_with('/') && home != "/").then(|| home.into())
    };
    passwd.lines().filter_map(home).take(HOMES_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::{Stores, docker_root, homes, option, storage_roots, toml_path};
    use std::path::PathBuf;

    #[test]
    fn places() {
        let words = ["dockerd", "-g", "/old", "--data-root=/new", ""];
        assert_eq!(option(&words, &["--data-root", "-g"]), Some("/new".into()));
        assert_eq!(option(&words, &["--graph"]), None);
        assert_eq!(option(&["x", "--root"], &["--root"]), None);
        assert_eq!(option(&["x", "--root", "rel"], &["--root"]), None);
        assert_eq!(docker_root(r#"{"data-root":"/srv/docker"}"#), Some("/srv/docker".into()));
        assert_eq!(docker_root("{"), None);
        assert_eq!(toml_path("root = \"/c\"\n[plugins]\n", &["root"]), Some("/c".into()));
        let conf =
            "[storage]\ngraphroot = \"/g\"\n[storage.options]\nadditionalimagestores = [\"/more\", 7]\n";
        assert_eq!(storage_roots(conf), [PathBuf::from("/g"), "/more".into()]);
        assert_eq!(homes("root:x:0:0::/root:/bin/sh\nodd\na:x:1:1::/:\n").len(), 1);
    }

    #[test]
    fn this_host() {
        let stores = Stores::of_host();
        let all = stores.docker.iter().chain(&stores.storage).chain(&stores.containerd);
        assert!(all.clone().all(|path| path.is_dir()));
    }
}
