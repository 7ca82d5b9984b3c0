// SPDX-License-Identifier: Apache-2.0
//! Engines that users run for themselves: rootless Docker and containerd by their shims and daemons, runc and crun by
//! their state. What is found so is that user's word alone.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{Process, data_root, environment, inside, option};
use crate::Runtime;
use crate::files::{self, FILE_LIMIT};
use crate::oci::{Bundle, named_by_id};
use crate::running::{self, Recorded, of_docker};

/// The most users whose directories are looked at.
const USERS_LIMIT: usize = 1024;
/// Where each user has a directory of their own, called by the number.
const USERS: &str = "/run/user";
/// The namespace of containerd in which Docker's containers are.
const DOCKERS_NAMESPACE: &str = "moby";

/// What processes of users tell.
#[derive(Default)]
pub(super) struct Users {
    /// Containers that run, by their shims. Those of Docker's without names.
    running: Vec<Recorded>,
    /// Each user's directories with Docker's containers.
    docker: Vec<(u32, PathBuf)>,
}

impl Users {
    pub(super) fn shim(&mut self, process: &Process, words: &[String], user: u32, all: &[Process]) {
        self.running.extend(of_shim(process, words, user, all));
    }

    /// A user's dockerd: where it is told to keep its data, else where such a one does, which is a question of its
    /// environment.
    pub(super) fn docker(&mut self, user: u32, words: &[String], proc: &Path) {
        let environment = environment(proc);
        let variable = |name: &str| {
            let value = environment.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.filter(|value| value.starts_with('/')).map(PathBuf::from)
        };
        let home = variable("HOME");
        let below = |name: &str, usual: &str| {
            variable(name).or_else(|| Some(home.as_ref()?.join(usual))).map(|base| base.join("docker"))
        };
        let settings = below("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("daemon.json"));
        let root = data_root(words, proc, settings).or_else(|| below("XDG_DATA_HOME", ".local/share"));
        if let Some(place) = root.map(|root| (user, root.join("containers")))
            && self.docker.len() < USERS_LIMIT
            && !self.docker.contains(&place)
        {
            self.docker.push(place);
        }
    }

    /// Those that run with what Docker has noted of them, and those of Docker's that do not run.
    pub(super) fn containers(self) -> Vec<Recorded> {
        let mut all = self.running;
        for (user, place) in self.docker {
            for noted in of_docker(&place) {
                match all.iter_mut().find(|one| one.id == noted.id && one.owner == Some(user)) {
                    Some(one) => (one.name, one.image) = (noted.name, noted.image),
                    // The number that was noted says nothing without a shim.
                    None => all.push(Recorded { pid: None, owner: Some(user), ..noted }),
                }
            }
        }
        all
    }
}

/// `containerd-shim-runc-v2 -namespace NAMESPACE -id ID`, which is the parent of the container's first process and
/// works beside the container's bundle. For users' engines: their containers have no cgroup to be known by where
/// users may not make any.
fn of_shim(process: &Process, words: &[String], user: u32, all: &[Process]) -> Option<Recorded> {
    let id = option(words, &["-id"]).filter(|id| !id.is_empty())?;
    let runtime = match option(words, &["-namespace"])? {
        DOCKERS_NAMESPACE => Runtime::Docker,
        _ => Runtime::Containerd,
    };
    let first = inside(process, all)?;
    let bundle = PathBuf::from(format!("/proc/{}/cwd", process.pid));
    let bundle = files::read(&bundle, &["config.json"], FILE_LIMIT).ok().flatten();
    let bundle = bundle.and_then(|text| serde_json::from_slice::<Bundle>(&text).ok());
    let info = named_by_id(runtime, id, bundle.and_then(|bundle| bundle.annotations).unwrap_or_default());
    let noted = Recorded::from_info(info, Some(first.pid));
    Some(Recorded { started: Some(first.started), owner: Some(user), ..noted })
}

/// runc and crun that users run for themselves: `/run/user/NUMBER/runc`.
pub(super) fn of_runc() -> Vec<Recorded> {
    let mut all = Vec::new();
    for name in files::names(Path::new(USERS), USERS_LIMIT) {
        let Some(user) = name.parse::<u32>().ok().filter(|user| *user != 0) else { continue };
        for runtime in ["runc", "crun"] {
            // Held, and on the same file system: a user can mount one there that holds up whoever looks.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let here = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
            let Ok(home) = rustix::fs::open(Path::new(USERS).join(&name), flags, Mode::empty()) else {
                continue;
            };
            let Ok(root) = rustix::fs::openat2(&home, runtime, flags, Mode::empty(), here) else { continue };
            let held = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root));
            let of_user = |one| Recorded { owner: Some(user), ..one };
            all.extend(running::of_runc(Path::new(&held)).into_iter().map(of_user));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Users, of_shim};
    use crate::elsewhere::Process;
    use crate::{Recorded, Runtime};
    use std::path::{Path, PathBuf};

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    /// A process's directory in /proc, with an environment.
    fn proc(environment: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("environ"), environment.join("\0")).unwrap();
        std::os::unix::fs::symlink("/work/dir", dir.path().join("cwd")).unwrap();
        dir
    }

    #[test]
    fn where_a_users_docker_keeps_its_data() {
        let mut users = Users::default();
        let home = proc(&["A=1", "HOME=/home/ann", "XDG_DATA_HOME="]);
        users.docker(1, &words("dockerd"), home.path());
        users.docker(1, &words("dockerd"), home.path());
        users.docker(2, &words("dockerd"), proc(&["HOME=/home/b", "XDG_DATA_HOME=/data/b"]).path());
        users.docker(3, &words("dockerd --data-root /own"), home.path());
        users.docker(4, &words("dockerd --data-root own"), home.path());
        users.docker(5, &words("dockerd"), proc(&["HOME=relative"]).path());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("docker")).unwrap();
        std::fs::write(dir.path().join("docker/daemon.json"), r#"{"data-root":"/by/file"}"#).unwrap();
        let settings = format!("XDG_CONFIG_HOME={}", dir.path().display());
        users.docker(6, &words("dockerd"), proc(&["HOME=/home/c", &settings]).path());
        let wanted = [
            (1, "/home/ann/.local/share/docker/containers"),
            (2, "/data/b/docker/containers"),
            (3, "/own/containers"),
            (4, "/work/dir/own/containers"),
            (6, "/by/file/containers"),
        ];
        assert_eq!(users.docker, wanted.map(|(user, path)| (user, PathBuf::from(path))));
    }

    #[test]
    fn what_runs_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        for (id, name) in [(&one, "web"), (&two, "old")] {
            std::fs::create_dir(dir.path().join(id)).unwrap();
            let text = format!(r#"{{"ID":"{id}","Name":"/{name}","State":{{"Pid":11}},"Config":{{}}}}"#);
            std::fs::write(dir.path().join(id).join("config.v2.json"), text).unwrap();
        }
        let running = |user| Recorded {
            started: Some(7),
            owner: Some(user),
            ..Recorded::by_cgroup(
                crate::Identity { id: one.clone(), runtime: Runtime::Docker, pod_uid: None, nested: false },
                4711,
            )
        };
        let users = Users { running: vec![running(5), running(6)], docker: vec![(5, dir.path().into())] };
        let told = users.containers();
        let told: Vec<_> = told.iter().map(|one| (one.name.as_str(), one.pid, one.owner)).collect();
        // Another user's container of the same id is another one.
        assert_eq!(told, [("web", Some(4711), Some(5)), (&one, Some(4711), Some(6)), ("old", None, Some(5))]);
    }

    #[test]
    fn a_shim_without_a_container_is_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = Process { pid: own, parent: 1, started: 1 };
        assert!(of_shim(&process, &words("shim -namespace moby -id x"), 5, &[]).is_none());
        assert!(of_shim(&process, &words("shim -namespace moby"), 5, &[]).is_none());
        assert!(!Path::new("/run/user/no-number/runc").exists());
    }
}
