// SPDX-License-Identifier: Apache-2.0
//! `purser debug` on real containers: what the command in there gets, what the target notices of it, which is
//! nothing, and what is left, which is nothing.

mod against; // targets that are against the session, and hosts without room
mod audit; // sessions in the record, and what the policy forbids
mod compat; // docker-debug, flag by flag and defect by defect
mod cores; // sessions for programs that died
mod escape; // attempts to get out
mod faults; // hostile and broken targets
mod fidelity; // exit codes, pipes, users, both ways to build the root
mod guest; // on other kernels, with cgroup v2 alone
mod kills; // every process of a session is killed at any point
pub(crate) mod remote; // on another host, through its Docker daemon
pub(crate) mod runtimes; // each runtime, for real
mod size; // a gigabyte, a hundred sessions, and what the kernel sees of them
mod still; // images and stopped containers
mod sudo; // who comes by sudo: what they see, attach to and end
mod terminal; // driven through a real terminal
mod traces; // nothing is written, counted or left
mod volumes; // files of the host in a session, and for nobody else

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agent::purser;
use crate::lab::{IMAGE, output, run, source_dir, temporary, unique};

/// Time for what is left to go.
const GONE_LIMIT: Duration = Duration::from_secs(10);
const APPLETS: [&str; 21] = [
    "sh",
    "ls",
    "cat",
    "true",
    "id",
    "env",
    "sleep",
    "tar",
    "sha256sum",
    "ps",
    "kill",
    "wc",
    "dd",
    "stat",
    "tty",
    "stty",
    "grep",
    "echo",
    "touch",
    "head",
    "pwd",
];

/// A directory with one kit: busybox, and a program that attaches to others. Made once: sessions run from it.
pub(crate) fn kits() -> Result<PathBuf> {
    static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    match &*made {
        Some(kits) => Ok(kits.clone()),
        None => Ok(made.insert(make_kits()?).clone()),
    }
}

fn make_kits() -> Result<PathBuf> {
    let kits = temporary().join("kits");
    let bin = kits.join("base/root/bin");
    fs::create_dir_all(&bin)?;
    if !bin.join("busybox").exists() {
        fs::copy("/bin/busybox", bin.join("busybox"))
            .context("copying /bin/busybox (package busybox-static)")?;
    }
    for applet in APPLETS.iter().filter(|applet| !bin.join(applet).exists()) {
        symlink("busybox", bin.join(applet))?;
    }
    compiled("attach", &bin)?;
    compiled("raise", &bin)?;
    let text = "name = \"base\"\nversion = \"1\"\narch = \"x86_64\"\nsummary = \"busybox\"\npath = [\"bin\"]\n\
                [environment]\nKIT_SHARE = \"@/share\"\n";
    fs::write(kits.join("base/kit.toml"), text)?;
    Ok(kits)
}

/// A program of tests/debug in a directory, compiled when it is older than its source.
pub(crate) fn compiled(name: &str, bin: &Path) -> Result<PathBuf> {
    let program = bin.join(name);
    let source = source_dir().join("debug").join(format!("{name}.c"));
    let changed = |file: &Path| fs::metadata(file).and_then(|meta| meta.modified()).ok();
    if changed(&program) < changed(&source) {
        run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(&source))?;
    }
    Ok(program)
}

/// `purser debug TARGET OPTIONS -- COMMAND`.
pub(crate) fn debug(target: &str, options: &[&str], command: &[&str]) -> Result<Command> {
    let mut debug = purser();
    debug.args(["debug", target, "--kits"]).arg(kits()?).args(options);
    if !command.is_empty() {
        debug.arg("--").args(command);
    }
    Ok(debug)
}

/// What a command in the target prints.
pub(crate) fn printed(target: &str, options: &[&str], command: &[&str]) -> Result<String> {
    run(&mut debug(target, options, command)?)
}

/// A container that runs until it is dropped.
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) pid: i32,
}

impl Container {
    pub(crate) fn start(word: &str, options: &[&str], image: &str, command: &[&str]) -> Result<Container> {
        let name = unique(&format!("purser-test-debug-{word}"));
        let mut docker = Command::new("docker");
        docker
            .args(["run", "-d", "--network", "none", "--name", &name])
            .args(options)
            .arg(image)
            .args(command);
        run(&mut docker)?;
        let pid = run(Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", &name]))?;
        Ok(Container { pid: pid.trim().parse()?, name })
    }

    /// One that does nothing and that reaps nobody.
    pub(crate) fn idle(word: &str, options: &[&str]) -> Result<Container> {
        Container::start(word, options, IMAGE, &["sleep", "100000"])
    }

    /// As an image from a root hardened in every way docker has.
    pub(crate) fn hardened(word: &str) -> Result<Container> {
        let options =
            ["--read-only", "-u", "65532", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
        Container::idle(word, &options)
    }

    /// All that docker says was changed.
    pub(crate) fn changes(&self) -> Result<String> {
        run(Command::new("docker").args(["diff", &self.name]))
    }

    /// The processes in its pid namespace, and the children of its first process that nobody has reaped.
    pub(crate) fn processes(&self) -> Result<BTreeSet<i32>> {
        processes_like(self.pid)
    }

    /// Waits until the target's processes are what they were.
    pub(crate) fn is_as_before(&self, before: &BTreeSet<i32>) -> Result<()> {
        wait_until("the target has its own processes only", || Ok(self.processes()? == *before))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rm", "-f", &self.name])));
    }
}

pub(crate) fn processes_like(pid: i32) -> Result<BTreeSet<i32>> {
    let own = fs::read_link(format!("/proc/{pid}/ns/pid"))?;
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let Some(other) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let is_child = status(other, "PPid").is_some_and(|parent| parent == pid.to_string());
        if is_child || fs::read_link(format!("/proc/{other}/ns/pid")).is_ok_and(|theirs| theirs == own) {
            found.insert(other);
        }
    }
    Ok(found)
}

/// A field of a process's status.
pub(crate) fn status(pid: i32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < GONE_LIMIT, "after {GONE_LIMIT:?} it is not so that {what}");
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Everything by which a session can be found on the host.
pub(crate) fn marks() -> BTreeSet<String> {
    let mut marks = BTreeSet::new();
    let mut look = |dir: &Path| {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                || name.ends_with(".sock")
                || name.starts_with('.')
            {
                marks.insert(entry.path().display().to_string());
            }
        }
    };
    look(Path::new("/run/purser/debug"));
    look(Path::new("/sys/fs/cgroup/purser-debug"));
    for tree in ["memory", "pids", "freezer", "unified"] {
        look(&Path::new("/sys/fs/cgroup").join(tree).join("purser-debug"));
    }
    marks
}

/// Time after which what was there from the first look on counts alone: the rest is of sessions beside these tests.
const OTHERS: Duration = Duration::from_secs(3);

/// Waits until there is nothing that was not there before.
pub(crate) fn nothing_is_left(before: &BTreeSet<String>) -> Result<()> {
    let mut left = BTreeSet::new();
    let (begun, mut always) = (Instant::now(), None::<BTreeSet<String>>);
    let gone = wait_until("nothing of the session is left", || {
        left = marks().difference(before).cloned().collect();
        let known = always.get_or_insert_with(|| left.clone());
        known.retain(|mark| left.contains(mark));
        Ok(left.is_empty() || (begun.elapsed() > OTHERS && known.is_empty()))
    });
    gone.with_context(|| format!("{left:?}"))
}
