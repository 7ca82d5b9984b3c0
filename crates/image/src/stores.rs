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
/// The most processes above this one that are looked at.
const ANCESTORS_LIMIT: usize = 64;

const DOCKER: &str = "/var/lib/docker";
const STORAGE: &str = "/var/lib/containers/storage";
const CONTAINERD: [&str; 3] = [
    "/var/lib/containerd",
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
];
/// Below a home.
const IN_HOMES: [(Engine, &str); 4] = [
    (Engine::Docker, ".local/share/docker"),
    (Engine::Containerd, ".local/share/docker/containerd/daemon"),
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
        let of_users = stores.running();
        // With remapped users Docker keeps all below a directory that is called after them.
        let remapped: Vec<PathBuf> = stores.docker.iter().flat_map(|root| remapped(root)).collect();
        stores.docker.extend(remapped);
        // A Docker without a containerd of the host starts one of its own.
        let own: Vec<PathBuf> = stores.docker.iter().map(|root| root.join("containerd/daemon")).collect();
        stores.containerd.extend(own);
        let homes = homes(&text(Path::new("/etc/passwd")));
        let in_homes =
            homes.iter().flat_map(|home| IN_HOMES.map(|(engine, below)| (engine, home.join(below))));
        let running = of_users.iter().flat_map(|root| {
            [(Engine::Docker, root.clone()), (Engine::Containerd, root.join("containerd/daemon"))]
        });
        // A user may say that the host's are theirs; that makes them no user's.
        let real = |path: &PathBuf| fs::canonicalize(path).ok();
        let of_host: BTreeSet<PathBuf> = [&stores.docker, &stores.storage, &stores.containerd]
            .into_iter()
            .flatten()
            .filter_map(real)
            .collect();
        for (engine, path) in in_homes.chain(running) {
            let is_theirs = real(&path).is_some_and(|path| !of_host.contains(&path));
            if path.is_dir() && is_theirs && !stores.of_users.contains(&path) {
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

    /// Adds what root's daemons say by their command lines; gives the directories of users' dockerds, whose homes
    /// need not be in any file of this host.
    fn running(&mut self) -> Vec<PathBuf> {
        let mut of_users = Vec::new();
        let Ok(processes) = fs::read_dir("/proc") else { return of_users };
        let own = of_ancestors();
        for process in processes.flatten().take(PROCESSES_LIMIT) {
            if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let comm = text(&process.path().join("comm"));
            let engine = match comm.trim_end() {
                "dockerd" => Engine::Docker,
                "containerd" => Engine::Containerd,
                "conmon" => Engine::Storage,
                _ => continue,
            };
            let line = text(&process.path().join("cmdline"));
            let words: Vec<&str> = line.split('\0').collect();
            // Anybody may call a process so; only root's says where the host's stores are.
            let user = user(&process.path());
            let is_hosts = || namespaces(&process.path()).is_some_and(|theirs| own.contains(&theirs));
            if user != Some(0) || !is_hosts() {
                if engine == Engine::Docker
                    && user.is_some_and(|user| user != 0)
                    && of_users.len() < HOMES_LIMIT
                {
                    of_users.extend(root_of_user(&words, &text(&process.path().join("environ"))));
                }
                continue;
            }
            let found = match engine {
                Engine::Docker => {
                    let file = option(&words, &["--config-file"]);
                    let in_file = file.and_then(|file| docker_root(&text(&file)));
                    option(&words, &["--data-root", "--graph", "-g"]).or(in_file)
                }
                // Podman's and CRI-O's monitor of a container: STORE/overlay-containers/ID/userdata.
                Engine::Storage => {
                    let kept = option(&words, &["--persist-dir"]).or_else(|| option(&words, &["-b"]));
                    kept.and_then(|path| Some(path.ancestors().nth(3)?.to_path_buf()))
                }
                Engine::Containerd => {
                    let file = option(&words, &["--config", "-c"]);
                    let in_file = file.and_then(|file| toml_path(&text(&file), &["root"]));
                    option(&words, &["--root"]).or(in_file)
                }
            };
            self.list(engine).extend(found);
        }
        of_users
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

/// Who has started it: all four of its users are one, and it is no set-user-ID program, which works for whoever calls
/// it, by any name and with any words.
fn user(process: &Path) -> Option<u32> {
    let status = text(&process.join("status"));
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let mut users = line.split_whitespace().map(|word| word.parse::<u32>().ok());
    let first = users.next()??;
    let is_one = users.all(|user| user == Some(first));
    let is_plain = || fs::metadata(process.join("exe")).is_ok_and(|exe| exe.mode() & 0o6000 == 0);
    (is_one && is_plain()).then_some(first)
}

/// A container's root may be the host's by number, and is told by its namespaces.
fn namespaces(process: &Path) -> Option<[PathBuf; 2]> {
    let link = |kind: &str| fs::read_link(process.join("ns").join(kind)).ok();
    Some([link("user")?, link("mnt")?])
}

/// Our own, and those of who started us: a session from another host has a copy of the host's mounts.
fn of_ancestors() -> Vec<[PathBuf; 2]> {
    let (mut all, mut pid) = (Vec::new(), std::process::id());
    for _ in 0..ANCESTORS_LIMIT {
        let process = PathBuf::from(format!("/proc/{pid}"));
        all.extend(namespaces(&process));
        let status = text(&process.join("status"));
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        match parent {
            Some(parent) if parent > 0 => pid = parent,
            _ => break,
        }
    }
    all
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

/// Where a user's dockerd keeps its data.
fn root_of_user(words: &[&str], environment: &str) -> Option<PathBuf> {
    let variable = |name: &str| {
        let value = environment.split('\0').find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.filter(|value| value.starts_with('/')).map(PathBuf::from)
    };
    let below = |name: &str, usual: &str| {
        variable(name).or_else(|| Some(variable("HOME")?.join(usual))).map(|base| base.join("docker"))
    };
    let file = option(words, &["--config-file"])
        .or_else(|| Some(below("XDG_CONFIG_HOME", ".config")?.join("daemon.json")));
    option(words, &["--data-root", "--graph", "-g"])
        .or_else(|| docker_root(&text(&file?)))
        .or_else(|| below("XDG_DATA_HOME", ".local/share"))
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
    use super::{Stores, docker_root, homes, option, root_of_user, storage_roots, toml_path};
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
    fn of_a_users_docker() {
        let root = |line: &str, environment: &str| {
            root_of_user(&line.split(' ').collect::<Vec<_>>(), &environment.replace(' ', "\0"))
        };
        assert_eq!(root("dockerd", "HOME=/home/a"), Some("/home/a/.local/share/docker".into()));
        assert_eq!(root("dockerd", "HOME=/home/a XDG_DATA_HOME=/d"), Some("/d/docker".into()));
        assert_eq!(root("dockerd --data-root /own", "HOME=/home/a"), Some("/own".into()));
        assert_eq!(root("dockerd", "USER=a"), None);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        std::fs::write(&file, r#"{"data-root":"/by/file"}"#).unwrap();
        let line = format!("dockerd --config-file={}", file.display());
        assert_eq!(root(&line, "HOME=/home/a"), Some("/by/file".into()));
    }

    #[test]
    fn this_host() {
        let stores = Stores::of_host();
        let all = stores.docker.iter().chain(&stores.storage).chain(&stores.containerd);
        assert!(all.clone().all(|path| path.is_dir()));
    }
}
