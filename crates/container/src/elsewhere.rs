// SPDX-License-Identifier: Apache-2.0
//! Containers whose runtimes keep their state where nobody would look: the daemons and monitors that run now
//! say where, by their own command lines and directories. Nobody is asked, so one that hangs tells it, too.
//! Engines of users are known by these alone.
//!
//! Whoever runs on the host can run a program that is called like these. What root's own processes say is
//! believed, as far as they are the host's and in no container; what other users' say is theirs alone, and
//! whoever enters must see that the process is, too ([`Recorded::owner`]).

mod users; // engines that users run for themselves

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use users::Users;

use crate::files::{self, FILE_LIMIT};
use crate::identity::is_full_id;
use crate::info::{Info, Raw};
use crate::oci::{Bundle, named_by_id, of_crio};
use crate::running::{
    PROCESSES_LIMIT, Recorded, TASKS, docker_directories, of_containerd, of_docker, of_runc, parent_and_start,
};
use crate::{Runtime, Sources};

/// The longest command line read.
const WORDS_LIMIT: u64 = 64 << 10;
/// The most processes above this one that are looked at.
const ANCESTORS_LIMIT: usize = 64;
const DOCKER_ROOT: &str = "/var/lib/docker";
const DOCKER_FILE: &str = "/etc/docker/daemon.json";

/// The containers that neither `sources` nor the usual places tell, but processes do.
pub fn elsewhere(sources: &Sources) -> Vec<Recorded> {
    let processes = Process::all();
    let own = Namespaces::of_ancestors();
    let mut places = Places::default();
    places.docker(Vec::new(), Path::new("/"));
    let (mut all, mut users) = (Vec::new(), Users::default());
    for process in &processes {
        let proc = PathBuf::from(format!("/proc/{}", process.pid));
        let Some(kind) = Kind::of(&proc) else { continue };
        let Some(user) = user(&proc) else { continue };
        if user == 0 && Namespaces::of(process.pid).is_none_or(|theirs| !own.contains(&theirs)) {
            continue;
        }
        let words = words(&proc);
        match (kind, user) {
            (Kind::Monitor, _) => all.extend(of_monitor(process, &words, user, &processes)),
            (Kind::Nspawn, 0) => all.extend(of_nspawn(process, &words, &processes)),
            (Kind::Docker, 0) => places.docker(words, &proc),
            (Kind::Shim, 0) => places.shim(&proc),
            (Kind::Runc, 0) => places.runc(&words, &proc),
            (Kind::Docker, _) => users.docker(user, &words, &proc),
            (Kind::Shim, _) => users.shim(process, &words, user, &processes),
            _ => {}
        }
    }
    all.extend(places.containers(sources));
    all.extend(users.containers());
    all.extend(users::of_runc());
    all
}

/// A process, and what tells it from another one of the same number.
struct Process {
    pid: i32,
    parent: i32,
    started: u64,
}

impl Process {
    fn all() -> Vec<Process> {
        let names = files::names(Path::new("/proc"), PROCESSES_LIMIT);
        let pids = names.iter().filter_map(|name| name.parse().ok());
        pids.filter_map(|pid| {
            let (parent, started) = parent_and_start(pid)?;
            Some(Process { pid, parent, started })
        })
        .collect()
    }
}

/// Programs that know of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Docker,
    Shim,
    /// conmon, which Podman and CRI-O have beside each container.
    Monitor,
    Runc,
    Nspawn,
}

impl Kind {
    fn of(proc: &Path) -> Option<Kind> {
        let exe = fs::read_link(proc.join("exe")).ok()?;
        Kind::named(exe.file_name()?.to_str()?)
    }

    /// The file counts, and not the name that a process gives itself. One that an upgrade has replaced is marked.
    fn named(file: &str) -> Option<Kind> {
        match file.strip_suffix(" (deleted)").unwrap_or(file) {
            "dockerd" => Some(Kind::Docker),
            "conmon" => Some(Kind::Monitor),
            "runc" | "crun" => Some(Kind::Runc),
            "systemd-nspawn" => Some(Kind::Nspawn),
            name if name.starts_with("containerd-shim") => Some(Kind::Shim),
            _ => None,
        }
    }
}

/// The user of all four kinds that a process has, when they are one.
fn user(proc: &Path) -> Option<u32> {
    let status = fs::read_to_string(proc.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let users: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let first = users.first()?;
    users.iter().all(|user| user == first).then_some(*first)
}

/// Where a process of the host's root is: in the host's own namespaces.
#[derive(PartialEq, Eq)]
struct Namespaces([PathBuf; 2]);

impl Namespaces {
    fn of(pid: impl std::fmt::Display) -> Option<Namespaces> {
        let link = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
        Some(Namespaces([link("user")?, link("mnt")?]))
    }

    /// Our own, and those of who started us: a service, and a session from another host, has a copy of the host's mounts.
    fn of_ancestors() -> Vec<Namespaces> {
        let mut all = Vec::new();
        let mut pid = i32::try_from(std::process::id()).unwrap_or(0);
        for _ in 0..ANCESTORS_LIMIT {
            all.extend(Namespaces::of(pid));
            match parent_and_start(pid) {
                Some((parent, _)) if parent > 0 => pid = parent,
                _ => break,
            }
        }
        all
    }
}

fn words(proc: &Path) -> Vec<String> {
    strings(&proc.join("cmdline"))
}

fn environment(proc: &Path) -> Vec<String> {
    strings(&proc.join("environ"))
}

fn strings(path: &Path) -> Vec<String> {
    let mut text = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What cannot be read says nothing.
        file.take(WORDS_LIMIT).read_to_end(&mut text).unwrap_or_default();
    }
    text.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The value of an option, as `--name value`, `--name=value`, or `-n value`.
fn option<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        if names.contains(&word.as_str()) {
            return rest.next().map(String::as_str);
        }
        let given = word.split_once('=').filter(|(name, _)| name.starts_with("--") && names.contains(name));
        if let Some((_, value)) = given {
            return Some(value);
        }
    }
    None
}

/// The first process below a monitor that is in a mount namespace of its own.
fn inside<'a>(monitor: &Process, all: &'a [Process]) -> Option<&'a Process> {
    let mount = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = mount(monitor.pid)?;
    all.iter()
        .filter(|process| process.parent == monitor.pid)
        .find(|process| mount(process.pid).is_some_and(|theirs| theirs != own))
}

/// `conmon -c ID -n NAME -b BUNDLE`, which is the parent of the container's first process. CRI-O has it, too, and writes
/// into the bundle which pod it is.
fn of_monitor(process: &Process, words: &[String], user: u32, all: &[Process]) -> Option<Recorded> {
    let id = option(words, &["-c", "--cid"]).filter(|id| is_full_id(id))?;
    // One for each `podman exec` has a number of its own.
    if option(words, &["-u", "--cuuid"]).is_some_and(|own| own != id) {
        return None;
    }
    let first = inside(process, all)?;
    let bundle = option(words, &["-b", "--bundle"]).map(Path::new);
    let bundle = bundle.and_then(|bundle| files::read(bundle, &["config.json"], FILE_LIMIT).ok().flatten());
    let bundle = bundle.and_then(|text| serde_json::from_slice::<Bundle>(&text).ok());
    let annotations = bundle.and_then(|bundle| bundle.annotations).unwrap_or_default();
    let plain = || {
        Info::from_raw(Raw {
            id: id.to_owned(),
            runtime: Runtime::Podman,
            name: option(words, &["-n", "--name"]).map(str::to_owned),
            image: None,
            image_id: None,
            labels: Default::default(),
        })
    };
    let info = of_crio(id, annotations).unwrap_or_else(plain);
    let owner = (user != 0).then_some(user);
    Some(Recorded { started: Some(first.started), owner, ..Recorded::from_info(info, Some(first.pid)) })
}

/// `systemd-nspawn -M NAME`, or the name of its directory; one that no manager was told of has no other trace.
fn of_nspawn(process: &Process, words: &[String], all: &[Process]) -> Option<Recorded> {
    let directory = || {
        let path = Path::new(option(words, &["-D", "--directory"])?);
        path.file_name()?.to_str()
    };
    let name = option(words, &["-M", "--machine"]).or_else(directory)?;
    let first = inside(process, all)?;
    let info = named_by_id(Runtime::Nspawn, name, Default::default());
    Some(Recorded { started: Some(first.started), ..Recorded::from_info(info, Some(first.pid)) })
}

/// Directories with state, each once.
#[derive(Debug, Default)]
struct Places {
    docker: Vec<PathBuf>,
    tasks: Vec<PathBuf>,
    runc: Vec<PathBuf>,
}

impl Places {
    fn docker(&mut self, words: Vec<String>, proc: &Path) {
        let root = data_root(&words, proc, Some(DOCKER_FILE.into()));
        let root = root.or_else(|| absolute(proc, DOCKER_ROOT));
        add(&mut self.docker, root.map(|root| root.join("containers")));
    }

    /// A shim works in its task's directory: STATE/io.containerd.runtime.v2.task/NAMESPACE/ID.
    fn shim(&mut self, proc: &Path) {
        let task = fs::read_link(proc.join("cwd")).ok();
        let tasks = task.as_ref().and_then(|task| task.parent()?.parent());
        let tasks =
            tasks.filter(|tasks| tasks.file_name().is_some_and(|name| name.as_bytes() == TASKS.as_bytes()));
        add(&mut self.tasks, tasks.map(Path::to_owned));
    }

    fn runc(&mut self, words: &[String], proc: &Path) {
        add(&mut self.runc, option(words, &["--root"]).and_then(|root| absolute(proc, root)));
    }

    /// What is in them, but for those that are known.
    fn containers(self, sources: &Sources) -> Vec<Recorded> {
        let mut all = Vec::new();
        for root in self.docker.iter().filter(|root| **root != sources.docker_containers) {
            all.extend(docker_directories(root).iter().flat_map(|root| of_docker(root)));
        }
        let known: Vec<PathBuf> = sources.containerd_states.iter().map(|state| state.join(TASKS)).collect();
        for tasks in self.tasks.iter().filter(|tasks| !known.contains(tasks)) {
            all.extend(of_containerd(tasks));
        }
        for root in self.runc.iter().filter(|root| !sources.runc_roots.contains(root)) {
            all.extend(of_runc(root));
        }
        all
    }
}

/// A daemon's data directory, by its command line, else by its file of settings, which is `usual` unless named.
fn data_root(words: &[String], proc: &Path, usual: Option<PathBuf>) -> Option<PathBuf> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "kebab-case")]
    struct Settings {
        data_root: Option<PathBuf>,
        graph: Option<PathBuf>,
    }
    let settings = || {
        let file = absolute(proc, option(words, &["--config-file"]).map(PathBuf::from).or(usual)?)?;
        let text = files::read(file.parent()?, &[file.file_name()?.to_str()?], FILE_LIMIT).ok()??;
        let settings: Settings = serde_json::from_slice(&text).ok()?;
        settings.data_root.or(settings.graph)
    };
    let given = option(words, &["--data-root", "-g", "--graph"]).map(PathBuf::from);
    absolute(proc, given.or_else(settings)?)
}

fn add(places: &mut Vec<PathBuf>, place: Option<PathBuf>) {
    places.extend(place.filter(|place| !places.contains(place)));
}

/// A path as the process with this directory in /proc means it.
fn absolute(proc: &Path, path: impl AsRef<Path>) -> Option<PathBuf> {
    let path = path.as_ref();
    if path.is_absolute() {
        Some(path.to_owned())
    } else {
        Some(fs::read_link(proc.join("cwd")).ok()?.join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Places, Process, elsewhere, of_monitor, option, user};
    use crate::Sources;
    use std::path::Path;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_in_every_form() {
        let line = words("dockerd -H unix:///x --data-root=/a --exec-root /b -g");
        assert_eq!(option(&line, &["--data-root"]), Some("/a"));
        assert_eq!(option(&line, &["--exec-root"]), Some("/b"));
        assert_eq!(option(&line, &["-g"]), None);
        assert_eq!(option(&words("-g"), &["-g"]), None);
        assert_eq!(option(&[], &["-g"]), None);
    }

    #[test]
    fn programs_by_their_files() {
        assert_eq!(Kind::named("containerd-shim-runc-v2"), Some(Kind::Shim));
        assert_eq!(Kind::named("dockerd (deleted)"), Some(Kind::Docker));
        assert_eq!(Kind::named("dockerd-rootless.sh"), None);
        assert!(user(Path::new("/proc/self")).is_some());
    }

    #[test]
    fn a_daemon_says_where_its_data_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.json");
        std::fs::write(&file, r#"{"data-root":"/from/file","log-level":"info"}"#).unwrap();
        let mut places = Places::default();
        let proc = Path::new("/proc/self");
        places.docker(words(&format!("dockerd --config-file {}", file.display())), proc);
        places.docker(words("dockerd --data-root relative"), proc);
        places.docker(words("dockerd --config-file /no/such -g /old"), proc);
        std::fs::write(&file, "{").unwrap();
        places.docker(words(&format!("dockerd --config-file {}", file.display())), proc);
        let here = std::env::current_dir().unwrap().join("relative/containers");
        let wanted = [
            "/from/file/containers",
            &here.display().to_string(),
            "/old/containers",
            "/var/lib/docker/containers",
        ];
        assert_eq!(places.docker, wanted.map(std::path::PathBuf::from));
    }

    #[test]
    fn a_monitor_of_an_exec_is_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = Process { pid: own, parent: 1, started: 1 };
        assert!(of_monitor(&process, &words("conmon -c a -u b -n web"), 0, &[]).is_none());
        assert!(of_monitor(&process, &words("conmon"), 0, &[]).is_none());
    }

    #[test]
    fn this_host_can_be_looked_at() {
        for one in elsewhere(&Sources::none()) {
            assert!(!one.id.is_empty());
        }
    }
}
