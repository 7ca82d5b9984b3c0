// SPDX-License-Identifier: Apache-2.0
//! The session's own cgroup in every hierarchy that matters: `/purser-debug/NAME`, below no limit of the
//! target, so that nothing counts as the target's, and all of the session can be found and ended. The name is
//! the session's id, or has it between its first two colons.

use crate::spec::Limits;
use crate::traced;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use sys::mounts::{READ_ONLY, set_mount_attributes};

/// The cgroup that holds all sessions'.
const PARENT: &str = "purser-debug";
/// The v1 controllers that count or hold processes.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "freezer"];
/// Time for killed processes to leave.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for a warden to end its session by itself.
const WARDENS_TIME: Duration = Duration::from_millis(1500);
const NAP: Duration = Duration::from_millis(2);
/// How deep cgroups made inside a session are followed.
const DEPTH_LIMIT: usize = 8;
/// The most sessions looked at.
const SESSIONS_LIMIT: usize = 4096;
/// Looks at the processes that a warden can take on a host without v2.
const LOOKS_V1: usize = 64;

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tree {
    mount: PathBuf,
    /// The one controller of ours that it has; `None` is v2.
    controller: Option<&'static str>,
}

/// One session's cgroups.
#[derive(Debug)]
pub(crate) struct Group {
    trees: Vec<(Tree, PathBuf)>,
    /// Locks on their directories, for as long as somebody keeps the session. Another one who shares the hierarchies
    /// need not see its socket: a container has a `/run` of its own.
    _locks: Vec<File>,
}

/// Descriptors by which a process enters.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// The directory of the v2 cgroup, to be born in.
    pub(crate) unified: Option<OwnedFd>,
    /// Files of v1 that a process writes itself into.
    pub(crate) tasks: Vec<File>,
    /// Lists of who is inside, each good for one look on v1 and for any number on v2.
    pub(crate) members: Members,
}

/// Who is in a cgroup, for a process that can open no file of the host any more.
#[derive(Debug)]
pub(crate) struct Members {
    lists: Vec<File>,
    is_unified: bool,
}

impl Group {
    /// Makes it, empty.
    pub(crate) fn make(name: &str, limits: Limits) -> io::Result<Group> {
        let mut group = Group { trees: Vec::new(), _locks: Vec::new() };
        for tree in trees()? {
            let path = tree.mount.join(PARENT).join(name);
            group._locks.push(make_locked(&tree, &path)?);
            group.trees.push((tree, path));
        }
        if group.trees.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no cgroup hierarchy is mounted"));
        }
        group.limit(limits);
        Ok(group)
    }

    /// Limits are a courtesy: a hierarchy without the controller has none.
    fn limit(&self, limits: Limits) {
        for (tree, path) in &self.trees {
            let memory = match tree.controller {
                None => {
                    let up = [tree.mount.join(PARENT).join("cgroup.subtree_control")];
                    up.iter().for_each(|file| fs::write(file, "+pids +memory").unwrap_or_default());
                    "memory.max"
                }
                Some(_) => "memory.limit_in_bytes",
            };
            if tree.controller.is_none_or(|name| name == "pids") {
                fs::write(path.join("pids.max"), limits.processes.to_string()).unwrap_or_default();
            }
            if let Some(bytes) = limits.memory
                && tree.controller.is_none_or(|name| name == "memory")
            {
                fs::write(path.join(memory), bytes.to_string()).unwrap_or_default();
            }
        }
    }

    pub(crate) fn entrance(&self) -> io::Result<Entrance> {
        let mut unified = None;
        let mut tasks = Vec::new();
        for (tree, path) in &self.trees {
            match tree.controller {
                None => unified = Some(OwnedFd::from(File::open(path)?)),
                Some(_) => tasks.push(OpenOptions::new().write(true).open(path.join("tasks"))?),
            }
        }
        let is_unified = unified.is_some();
        let of = self.trees.iter().find(|(tree, _)| tree.controller.is_none() == is_unified);
        let looks = if is_unified { 1 } else { LOOKS_V1 };
        let path = of.map(|(_, path)| path.as_path()).unwrap_or(Path::new(""));
        let lists = read_only_lists(path, looks)?;
        Ok(Entrance { unified, tasks, members: Members { lists, is_unified } })
    }

    /// Ends whatever is inside and removes the cgroup. False when something does not go.
    pub(crate) fn clear(&self) -> bool {
        let over = Instant::now() + PATIENCE;
        let mut traced = Vec::new();
        loop {
            let left = self.trees.iter().filter(|(_, path)| !remove(path, DEPTH_LIMIT)).count();
            if left == 0 {
                break;
            }
            if Instant::now() > over {
                return false;
            }
            traced.extend(traced::by(&self.members()));
            self.kill();
            sleep(NAP);
        }
        traced::let_go(&traced);
        for (tree, _) in &self.trees {
            // The last one out; others may be in there.
            fs::remove_dir(tree.mount.join(PARENT)).unwrap_or_default();
        }
        true
    }

    /// Waits a moment until it is empty: a warden whose keeper is gone is about to end and reap everybody,
    /// and whom it reaps does not fall to the target.
    fn wait_for_warden(&self) {
        let over = Instant::now() + WARDENS_TIME;
        while !self.members().is_empty() && Instant::now() < over {
            sleep(NAP);
        }
    }

    /// Whoever is in the cgroup itself, as it is told in one of the hierarchies.
    fn members(&self) -> Vec<Pid> {
        let first = self.trees.iter().find(|(tree, _)| tree.controller.is_none()).or(self.trees.first());
        first.map(|(_, path)| members(path)).unwrap_or_default()
    }

    fn kill(&self) {
        let freezer = |state: &str| {
            for (tree, path) in &self.trees {
                if tree.controller == Some("freezer") {
                    fs::write(path.join("freezer.state"), state).unwrap_or_default();
                }
            }
        };
        let unified = self.trees.iter().find(|(tree, _)| tree.controller.is_none());
        if unified.is_some_and(|(_, path)| fs::write(path.join("cgroup.kill"), "1").is_ok()) {
            return;
        }
        // What is frozen cannot fork, and cannot end, so that no number comes to mean another process.
        freezer("FROZEN");
        for (_, path) in &self.trees {
            kill_members(path, DEPTH_LIMIT);
        }
        freezer("THAWED");
    }
}

impl Entrance {
    /// Brings this process into the v1 hierarchies. By `tasks` and not `cgroup.procs`: a thread that moves
    /// itself does not wait for every CPU to pass by, which takes up to 30 ms.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.tasks.iter().try_for_each(|mut file| io::Write::write_all(&mut file, b"0"))
    }
}

impl Members {
    /// The processes inside, as the caller's pid namespace numbers them. `None` when no look is left.
    pub(crate) fn look(&mut self) -> Option<Vec<Pid>> {
        use std::io::{Read, Seek};
        let mut text = String::new();
        if self.is_unified {
            let list = self.lists.first_mut()?;
            list.rewind().ok()?;
            list.read_to_string(&mut text).ok()?;
        } else {
            // The kernel keeps the answer of an open file of v1 for a second.
            self.lists.pop()?.read_to_string(&mut text).ok()?;
        }
        Some(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
    }
}

/// The list of a cgroup's processes, opened so that whoever gets at the descriptor cannot open it anew for writing:
/// with that a process of the target would leave its own cgroup. The mount that it is opened through is read-only, and
/// in no namespace as soon as this is over, so that nobody changes its flags.
fn read_only_lists(cgroup: &Path, count: usize) -> io::Result<Vec<File>> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, cgroup, flags)?;
    set_mount_attributes(mount.as_fd(), READ_ONLY, false)?;
    let open = || Ok(openat(&mount, "cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into());
    (0..count).map(|_| open()).collect()
}

/// Makes a cgroup and locks it. Whoever collects what is left over may take it away before it is locked.
fn make_locked(tree: &Tree, path: &Path) -> io::Result<File> {
    for _ in 0..16 {
        make_below_parent(tree, path)?;
        let locked = File::open(path).and_then(|dir| {
            flock(&dir, FlockOperation::NonBlockingLockShared)?;
            Ok(dir)
        });
        match locked {
            Ok(dir) if path.exists() => return Ok(dir),
            _ => remove(path, 0),
        };
    }
    Err(io::Error::other("the cgroup is taken away again and again"))
}

fn make_below_parent(tree: &Tree, path: &Path) -> io::Result<()> {
    // Another session's end may take the parent away in between.
    for _ in 0..16 {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match fs::create_dir(tree.mount.join(PARENT)) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
            result => return result,
        }
    }
    fs::create_dir(path)
}

/// Removes a cgroup and those in it; true when it is gone.
fn remove(path: &Path, depth: usize) -> bool {
    match fs::remove_dir(path) {
        Ok(()) => return true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
        Err(_) => {}
    }
    if depth > 0 {
        for inner in inner(path) {
            remove(&inner, depth - 1);
        }
    }
    fs::remove_dir(path).is_ok()
}

fn inner(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn members(path: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

fn kill_members(path: &Path, depth: usize) {
    for pid in members(path) {
        // It may have ended meanwhile.
        kill_process(pid, Signal::KILL).unwrap_or_default();
    }
    if depth > 0 {
        inner(path).for_each(|inner| kill_members(&inner, depth - 1));
    }
}

/// The sessions that have a cgroup somewhere.
pub(crate) fn all_ids() -> Vec<String> {
    let trees = trees().unwrap_or_default();
    let paths = trees.iter().flat_map(|tree| inner(&tree.mount.join(PARENT)).take(SESSIONS_LIMIT));
    let mut ids: Vec<String> =
        paths.filter_map(|path| Some(id_in(path.file_name()?.to_str()?).to_owned())).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// The session that a cgroup of this name belongs to.
fn id_in(name: &str) -> &str {
    name.split(':').nth(1).unwrap_or(name)
}

/// Ends and removes what a session without a keeper left. False when somebody keeps it after all.
pub(crate) fn clear_stale(id: &str) -> bool {
    let trees = trees_of(id);
    let Some(locks) = all_locked(&trees) else { return false };
    let group = Group { trees, _locks: locks };
    group.wait_for_warden();
    group.clear()
}

/// Whether somebody keeps this session, wherever its socket is.
pub(crate) fn is_kept(id: &str) -> bool {
    all_locked(&trees_of(id)).is_none()
}

/// The cgroups of a session.
fn trees_of(id: &str) -> Vec<(Tree, PathBuf)> {
    let is_its = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| id_in(name) == id)
    };
    let of = |tree: Tree| {
        let found = inner(&tree.mount.join(PARENT)).take(SESSIONS_LIMIT);
        found.filter(is_its).map(move |path| (tree.clone(), path)).collect::<Vec<_>>()
    };
    trees().unwrap_or_default().into_iter().flat_map(of).collect()
}

/// Locks on all of these, or nothing when somebody has one.
fn all_locked(groups: &[(Tree, PathBuf)]) -> Option<Vec<File>> {
    let mut locks = Vec::new();
    for (_, path) in groups {
        // One that is gone already is nobody's.
        let Ok(dir) = File::open(path) else { continue };
        flock(&dir, FlockOperation::NonBlockingLockExclusive).ok()?;
        locks.push(dir);
    }
    Some(locks)
}

fn trees() -> io::Result<Vec<Tree>> {
    Ok(parse(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// The hierarchies of ours in the text of a mountinfo, each once.
fn parse(text: &str) -> Vec<Tree> {
    let mut found: Vec<Tree> = Vec::new();
    for line in text.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(mount) = before.split(' ').nth(4) else { continue };
        let mut after = after.split(' ');
        let (kind, options) = (after.next().unwrap_or_default(), after.nth(1).unwrap_or_default());
        let controller = match kind {
            "cgroup2" => None,
            "cgroup" => match CONTROLLERS.iter().find(|name| options.split(',').any(|word| word == **name)) {
                Some(name) => Some(*name),
                None => continue,
            },
            _ => continue,
        };
        if !found.iter().any(|tree| tree.controller == controller) {
            found.push(Tree { mount: mount.into(), controller });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{id_in, parse};

    #[test]
    fn names_have_the_session_in_them() {
        assert_eq!(id_in("5e55ab1e"), "5e55ab1e");
        assert_eq!(id_in("docker:5e55ab1e:0f1e:x"), "5e55ab1e");
    }

    #[test]
    fn hierarchies() {
        let text = "\
31 30 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
42 31 0:38 / /mnt/again rw - cgroup2 cgroup2 rw
nonsense - cgroup2
";
        let found: Vec<_> =
            parse(text).into_iter().map(|tree| (tree.mount.display().to_string(), tree.controller)).collect();
        let wanted = [
            ("/sys/fs/cgroup/memory", Some("memory")),
            ("/sys/fs/cgroup/pids", Some("pids")),
            ("/sys/fs/cgroup/unified", None),
        ];
        assert_eq!(found, wanted.map(|(path, controller)| (path.to_owned(), controller)));
    }
}
