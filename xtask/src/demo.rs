// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask run`: a demo container, and the agent in the foreground that records it.
//!
//! We become the agent, so that Ctrl-C, the terminal and the exit code are its own; a watcher removes
//! the demo container once it is gone. Only containers labelled as ours are ever removed.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::process::{cargo, output, program, run, succeeds};
use crate::setup::{self, Level};
use crate::{packages, place};

const IMAGE: &str = "purser-demo";
const CONTAINER: &str = "demo-1";
const LABEL: &str = "purser.demo=1";
const STORE: &str = "/var/lib/purser";

/// busybox's shell runs its own applets without an exec; Debian's does not, so `ls` is a real program here.
const FILES: [(&str, &str); 4] = [
    ("/bin/busybox", "bin/busybox"),
    ("/bin/dash", "bin/sh"),
    ("/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
    ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
];
const APPLETS: [&str; 7] = ["cat", "date", "grep", "id", "ls", "sleep", "wc"];

/// What the demo container does all day: a pipe, a success, a failure, a name that does not exist.
const SCRIPT: &str = "while :; do
  sh -c 'ls /etc | wc -l'
  id
  grep -q nobody /etc/passwd
  date
  missing-program
  sleep 0.5
done >/dev/null 2>&1";

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    let mut options = Options::new(args);
    let seconds = options.number("--for")?;
    let (words, agent_args) = options.finish()?;
    if let Some(word) = words.first() {
        bail!("unexpected argument {word:?}; the agent's own arguments follow `--`");
    }
    packages::require_root()?;
    setup::prepare(Level::Run)?;
    eprintln!("run: building purser");
    run(&mut cargo(["build", "--package", "purser", "--bin", "purser"]))?;
    build_image()?;
    let id = start_container()?;
    eprintln!("run: container {CONTAINER} runs, removed when the agent ends (Ctrl-C)");
    watch(&id)?;
    become_agent(seconds, &agent_args)
}

fn build_image() -> Result<()> {
    let root = place::scratch().join("demo-root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    for (host, guest) in FILES {
        place_file(Path::new(host), &root.join(guest))?;
    }
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).with_context(|| format!("link {applet}"))?;
    }
    fs::create_dir_all(root.join("etc")).context("create the demo's etc")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").context("write the demo's passwd")?;
    eprintln!("run: image {IMAGE}");
    let script = format!("tar -C \"$0\" -c . | docker import --change 'LABEL {LABEL}' - {IMAGE} >/dev/null");
    run(program("sh", ["-c", script.as_str()]).arg(&root))?;
    // The images of earlier runs, which have lost their name to this one.
    let prune = ["image", "prune", "--force", "--filter", &format!("label={LABEL}")];
    output(&mut program("docker", prune)).map(|_| ())
}

fn place_file(host: &Path, guest: &Path) -> Result<()> {
    let folder = guest.parent().with_context(|| format!("{} has no folder", guest.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::copy(host, guest).with_context(|| format!("copy {} to {}", host.display(), guest.display()))?;
    Ok(())
}

/// Replaces the container of an earlier run and returns the new one's id.
fn start_container() -> Result<String> {
    let earlier = output(&mut program("docker", ["ps", "-aq", "--filter", &format!("label={LABEL}")]))?;
    for id in earlier.split_whitespace() {
        // The watcher of that run may be removing it at this moment: what counts is that the name gets free.
        succeeds(&mut program("docker", ["rm", "-f", id]));
    }
    let mut docker =
        program("docker", ["run", "-d", "--init=false", "--network", "none", "--name", CONTAINER]);
    docker.args(["--label", LABEL, IMAGE, "/bin/sh", "-c", SCRIPT]);
    let id = output(&mut docker).with_context(|| {
        format!("start the demo container; if a container {CONTAINER} is there that is not ours, rename it")
    })?;
    Ok(id.trim().to_owned())
}

/// Removes the container when this process, soon the agent, has ended in whatever way.
fn watch(id: &str) -> Result<()> {
    let script = "tail --pid=\"$0\" -f /dev/null; docker rm -f \"$1\"";
    let mut watcher = program("setsid", ["--fork", "sh", "-c", script]);
    watcher.arg(std::process::id().to_string()).arg(id).current_dir("/");
    run(watcher.stdout(Stdio::null()).stderr(Stdio::null()))
}

fn become_agent(seconds: Option<u64>, agent_args: &[String]) -> Result<ExitCode> {
    let purser = place::built("debug", "purser");
    let mut agent = match seconds {
        None => Command::new(&purser),
        Some(seconds) => {
            // The agent gets ten seconds to end by itself.
            let mut timeout = Command::new("timeout");
            timeout.args(["--foreground", "--preserve-status", "--signal=INT", "--kill-after=10"]);
            timeout.arg(seconds.to_string()).arg(&purser);
            timeout
        }
    };
    agent.args(["run", "--store", STORE, "--follow"]).args(agent_args).current_dir(place::root());
    Err(agent.exec()).with_context(|| format!("start {}", purser.display()))
}
