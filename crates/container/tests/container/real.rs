// SPDX-License-Identifier: Apache-2.0
//! The real Docker, containerd and runc of this host. A test whose runtime cannot be had says SKIP
//! with the reason, and fails when PURSER_REQUIRE_ALL=1.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use container::{
    Cgroup, Directory, Identity, Resolved, Runtime, Sources, detect, identify, parse_proc_cgroup,
};

use crate::{PATIENCE, start};

const SOCKET: &str = "/var/run/docker.sock";

pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("PURSER_REQUIRE_ALL").is_none_or(|all| all != "1"), "cannot run: {reason}");
    println!("SKIP {reason}");
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A program of ours that is stopped when the test ends.
pub(crate) struct Mine(pub(crate) Child);

impl Drop for Mine {
    fn drop(&mut self) {
        // SIGTERM, so that a daemon clears up after itself.
        drop(run("kill", &[&self.0.id().to_string()]));
        drop(self.0.wait());
    }
}

/// A command that runs when the test ends, however it ends.
pub(crate) struct Undo(Vec<String>);

impl Undo {
    pub(crate) fn by(words: &[&str]) -> Undo {
        Undo(words.iter().map(|&word| word.to_owned()).collect())
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((program, arguments)) = self.0.split_first() {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            // Nothing is left to undo when the test has come to its end.
            drop(run(program, &arguments));
        }
    }
}

pub(crate) fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// One test at a time asks for the daemon, so that only one is started.
static DOCKER: Mutex<()> = Mutex::new(());

/// The daemon that runs, or one of our own.
fn docker() -> Result<Option<Mine>, String> {
    if run("docker", &["version"]).is_ok() {
        return Ok(None);
    }
    let daemon =
        Command::new("dockerd").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut daemon = Mine(daemon.map_err(|error| format!("dockerd: {error}"))?);
    let start = Instant::now();
    while run("docker", &["version"]).is_err() {
        if start.elapsed() > PATIENCE || daemon.0.try_wait().is_ok_and(|status| status.is_some()) {
            return Err("dockerd does not come up".into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(Some(daemon))
}

/// A root with one static busybox.
pub(crate) fn busybox(root: &Path) -> Result<(), String> {
    let bin = root.join("bin");
    fs::create_dir_all(&bin).map_err(|error| error.to_string())?;
    fs::copy("/bin/busybox", bin.join("busybox")).map_err(|error| format!("/bin/busybox: {error}"))?;
    for applet in ["sh", "true", "sleep"] {
        symlink("busybox", bin.join(applet)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// An image of our own, removed when the test ends.
struct Image(String);

impl Image {
    fn make(dir: &Path) -> Result<Image, String> {
        let (root, tar) = (dir.join("root"), dir.join("root.tar"));
        busybox(&root)?;
        run("tar", &["-C", &root.to_string_lossy(), "-cf", &tar.to_string_lossy(), "."])?;
        let name = format!("purser-names-{}:1", std::process::id());
        run("docker", &["import", &tar.to_string_lossy(), &name])?;
        Ok(Image(name))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(run("docker", &["rmi", "-f", &self.0]));
    }
}

pub(crate) fn of_pid(pid: &str) -> Identity {
    let text = fs::read(format!("/proc/{pid}/cgroup")).unwrap();
    let path = parse_proc_cgroup(&text).unwrap();
    let pid_ns_differs_from_host =
        fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap() != fs::read_link("/proc/self/ns/pid").unwrap();
    identify(&Cgroup { path, pid_ns_differs_from_host }).unwrap()
}

pub(crate) fn ask(directory: &Directory, results: &Receiver<Resolved>, identity: &Identity) -> Resolved {
    assert!(directory.ask(identity, b"/"));
    results.recv_timeout(PATIENCE).unwrap()
}

/// Only Docker's own API and events: no state file helps.
fn api_only() -> Sources {
    Sources { docker_socket: SOCKET.into(), ..Sources::none() }
}

#[test]
fn docker_containers_that_are_gone_have_names() {
    let _turn = DOCKER.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let (_daemon, image) = match docker().and_then(|daemon| Ok((daemon, Image::make(dir.path())?))) {
        Ok(ready) => ready,
        Err(reason) => return skip(&reason),
    };
    let (directory, results) = start(api_only());
    wait_for("the event stream", || directory.statistics().streams > 0);
    let mut expected = BTreeMap::new();
    for number in 0..20 {
        let (name, file) = (format!("purser-names-{}-{number}", std::process::id()), dir.path().join("id"));
        let file_name = file.to_string_lossy();
        run(
            "docker",
            &["run", "--rm", "--label", "team=x", "--cidfile", &file_name, "--name", &name, &image.0, "true"],
        )
        .unwrap();
        expected.insert(fs::read_to_string(&file).unwrap(), name);
        fs::remove_file(&file).unwrap();
    }
    for (id, name) in &expected {
        let path = format!("/docker/{id}");
        let cgroup = Cgroup { path: path.as_bytes(), pid_ns_differs_from_host: true };
        let info = ask(&directory, &results, &identify(&cgroup).unwrap()).info.unwrap();
        assert_eq!((&info.id, &info.name, &info.image), (id, name, &image.0));
        assert_eq!(info.labels, [("team".to_owned(), "x".to_owned())]);
    }
    // One that starts listening only now still hears of them.
    let (late, results) = start(api_only());
    let (id, name) = expected.last_key_value().unwrap();
    wait_for("past events", || late.statistics().events > 0);
    assert_eq!(&ask(&late, &results, &crate::identity(id, Runtime::Docker)).info.unwrap().name, name);
}

#[test]
fn a_docker_container_that_runs() {
    let _turn = DOCKER.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let (_daemon, image) = match docker().and_then(|daemon| Ok((daemon, Image::make(dir.path())?))) {
        Ok(ready) => ready,
        Err(reason) => return skip(&reason),
    };
    let name = format!("purser-names-{}-long", std::process::id());
    let id = run("docker", &["run", "-d", "--rm", "--name", &name, &image.0, "sleep", "1000"]).unwrap();
    let _gone = Undo::by(&["docker", "rm", "-f", &id]);
    let identity = of_pid(&run("docker", &["inspect", "-f", "{{.State.Pid}}", &id]).unwrap());
    assert_eq!((&identity.id, identity.runtime), (&id, Runtime::Docker));
    let files_only = Sources { docker_containers: "/var/lib/docker/containers".into(), ..Sources::none() };
    for sources in [api_only(), files_only] {
        let (directory, results) = start(sources);
        let info = ask(&directory, &results, &identity).info.unwrap();
        assert_eq!((&info.name, &info.image), (&name, &image.0));
        assert!(info.image_id.unwrap().starts_with("sha256:"));
    }
    let state = detect(&api_only());
    assert_eq!((state.len(), state[0].runtime, state[0].error.as_deref()), (1, Runtime::Docker, None));
}

#[test]
fn a_container_of_bare_runc() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let ready = busybox(&bundle.join("rootfs"))
        .and_then(|()| run("runc", &["spec", "-b", &bundle.to_string_lossy()]));
    if let Err(reason) = ready {
        return skip(&reason);
    }
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    let config = config.replace("\"terminal\": true", "\"terminal\": false");
    let config = config.replace("\"sh\"", "\"sleep\", \"1000\"").replacen(
        '{',
        "{\"annotations\":{\"team\":\"x\"},",
        1,
    );
    fs::write(bundle.join("config.json"), config).unwrap();
    let (root, id) = (dir.path().join("runc"), format!("purser-names-{}", std::process::id()));
    let root_name = root.to_string_lossy().into_owned();
    let running = Command::new("runc")
        .args(["--root", &root_name, "run", "-b", &bundle.to_string_lossy(), &id])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Mine(running);
    let _gone = Undo::by(&["runc", "--root", &root_name, "delete", "-f", &id]);
    let state = || run("runc", &["--root", &root_name, "state", &id]).unwrap_or_default();
    wait_for("the container", || state().contains("\"running\""));
    let text = state();
    let pid = text.split("\"pid\": ").nth(1).unwrap().split(',').next().unwrap();
    let identity = of_pid(pid);
    let (directory, results) = start(Sources { runc_roots: vec![root], ..Sources::none() });
    let found = ask(&directory, &results, &identity);
    assert_eq!((&identity.id, identity.runtime), (&id, Runtime::Runc));
    let info = found.info.unwrap();
    assert_eq!(info.name, id);
    assert!(info.labels.contains(&("team".to_owned(), "x".to_owned())), "{:?}", info.labels);
}

/// A namespace of containerd that nobody else uses.
const NAMESPACE: &str = "purser-names";

/// containerd leaves the namespace's empty cgroups behind.
struct GroupsGone;

impl Drop for GroupsGone {
    fn drop(&mut self) {
        let Ok(trees) = fs::read_dir("/sys/fs/cgroup") else { return };
        for tree in trees.flatten().map(|tree| tree.path()).chain([Path::new("/sys/fs/cgroup").to_owned()]) {
            // Only an empty group can be removed.
            drop(fs::remove_dir(tree.join(NAMESPACE)));
        }
    }
}

#[test]
fn a_container_of_ctr() {
    let dir = tempfile::tempdir().unwrap();
    let (state, socket) = (dir.path().join("state"), dir.path().join("c.sock"));
    let socket_name = socket.to_string_lossy().into_owned();
    let daemon = Command::new("containerd")
        .args(["--address", &socket_name, "--state", &state.to_string_lossy()])
        .args(["--root", &dir.path().join("lib").to_string_lossy(), "--log-level", "error"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _daemon = match daemon.map_err(|error| format!("containerd: {error}")).and_then(|child| {
        busybox(&dir.path().join("root"))?;
        Ok(Mine(child))
    }) {
        Ok(ready) => ready,
        Err(reason) => return skip(&reason),
    };
    let ctr = |arguments: &[&str]| run("ctr", &[&["-a", &socket_name, "-n", NAMESPACE], arguments].concat());
    wait_for("containerd", || ctr(&["version"]).is_ok());
    let (id, root) = (format!("purser-names-{}", std::process::id()), dir.path().join("root"));
    ctr(&["run", "-d", "--label", "team=x", "--rootfs", &root.to_string_lossy(), &id, "/bin/sleep", "1000"])
        .unwrap();
    let undo = |words: &[&str]| Undo::by(&[&["ctr", "-a", &socket_name, "-n", NAMESPACE], words].concat());
    let _no_groups = GroupsGone;
    let _no_container = undo(&["container", "rm", &id]);
    let _no_task = undo(&["task", "rm", "-f", &id]);
    let tasks = ctr(&["task", "ls"]).unwrap();
    let pid = tasks.lines().find(|line| line.starts_with(&id)).unwrap().split_whitespace().nth(1).unwrap();
    let identity = of_pid(pid);
    let sources =
        Sources { containerd_states: vec![state], containerd_sockets: vec![socket], ..Sources::none() };
    let states = detect(&sources);
    let (directory, results) = start(sources);
    let found = ask(&directory, &results, &identity);
    assert_eq!(identity.id, id);
    let info = found.info.unwrap();
    assert_eq!((info.name.as_str(), info.runtime), (id.as_str(), Runtime::Containerd));
    // The state directory has no labels: these came by gRPC.
    assert!(info.labels.contains(&("team".to_owned(), "x".to_owned())), "{:?}", info.labels);
    assert!(states.iter().all(|state| state.error.is_none()), "{states:?}");
}
