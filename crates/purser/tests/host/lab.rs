// SPDX-License-Identifier: Apache-2.0
//! What every test stands on: the C programs built once, a small root file system, the same as a
//! Docker image, and commands that fail with their whole output. Touches nothing it did not make.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The image of the lab; its label carries the hash of what is in it.
pub(crate) const IMAGE: &str = "purser-test:lab";
const HASH_LABEL: &str = "purser-test.hash";
const DOCKER_START_LIMIT: Duration = Duration::from_secs(60);
const APPLETS: [&str; 10] = ["sh", "ls", "sleep", "cat", "true", "false", "id", "env", "echo", "seq"];

/// Program, source below `tests/`, extra flags.
const PROGRAMS: [(&str, &str, &[&str]); 3] = [
    ("execmodes", "execmodes/execmodes.c", &[]),
    ("load", "load/load.c", &[]),
    ("load-target", "load/target.c", &["-nostdlib"]),
];

/// One test's turn in the lab. The machine is small and the kernel is shared, so turns do not overlap.
pub(crate) struct Lab {
    _turn: MutexGuard<'static, ()>,
    root: PathBuf,
}

static TURN: Mutex<()> = Mutex::new(());

impl Lab {
    /// Waits for the turn, then builds what is not there yet.
    pub(crate) fn enter() -> Result<Lab> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let root = temporary().join("root");
        let lab = Lab { _turn: turn, root };
        lab.build_programs()?;
        lab.build_image()?;
        Ok(lab)
    }

    /// The root file system of the image, for runtimes that take a directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// One of the C programs, as a path on the host.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// `docker run` of `command` in a container called `name`, removed at its end.
    pub(crate) fn docker(&self, name: &str, options: &[&str], command: &[&str]) -> Command {
        let mut docker = Command::new("docker");
        docker
            .args(["run", "--rm", "--network", "none", "--name", name])
            .args(options)
            .arg(IMAGE)
            .args(command);
        docker
    }

    fn build_programs(&self) -> Result<()> {
        for dir in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
            fs::create_dir_all(self.root.join(dir))?;
        }
        let bin = self.root.join("bin");
        for (name, source, flags) in PROGRAMS {
            let source = source_dir().join(source);
            let program = bin.join(name);
            if newer(&program, &source)? {
                continue;
            }
            let fresh = bin.join(format!("{name}.new"));
            run(Command::new("gcc").args(["-O1", "-static"]).args(flags).arg("-o").arg(&fresh).arg(&source))?;
            fs::rename(&fresh, &program)?;
        }
        fs::copy("/bin/busybox", bin.join("busybox"))
            .context("copying /bin/busybox (package busybox-static)")?;
        for applet in APPLETS.iter().filter(|applet| !bin.join(applet).exists()) {
            symlink("busybox", bin.join(applet))?;
        }
        Ok(())
    }

    fn build_image(&self) -> Result<()> {
        start_docker()?;
        let hash = self.content_hash()?;
        let format = format!("{{{{.Id}}}} {{{{index .Config.Labels \"{HASH_LABEL}\"}}}}");
        let old = output(Command::new("docker").args(["image", "inspect", "--format", &format, IMAGE]))?;
        let old = String::from_utf8_lossy(&old.stdout).into_owned();
        let mut words = old.split_whitespace();
        let (old_id, old_hash) = (words.next(), words.next());
        if old_hash == Some(&hash) {
            return Ok(());
        }
        let archive = temporary().join("root.tar");
        run(Command::new("tar").arg("-C").arg(&self.root).arg("-cf").arg(&archive).arg("."))?;
        let label = format!("LABEL {HASH_LABEL}={hash}");
        run(Command::new("docker").args(["import", "--change", &label]).arg(&archive).arg(IMAGE))?;
        fs::remove_file(&archive)?;
        if let Some(id) = old_id {
            run(Command::new("docker").args(["rmi", id]))?;
        }
        Ok(())
    }

    fn content_hash(&self) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        for name in PROGRAMS.iter().map(|program| program.0).chain(["busybox"]) {
            hasher.write(&fs::read(self.program(name))?);
        }
        APPLETS.iter().for_each(|applet| hasher.write(applet.as_bytes()));
        Ok(format!("{:016x}", hasher.finish()))
    }
}

/// Scratch space that lives as long as the build directory.
pub(crate) fn temporary() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The repository's `tests` directory: C programs and scripts.
pub(crate) fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// Podman, also where it may not raise the limits that it asks for.
pub(crate) fn podman() -> Command {
    let mut podman = Command::new("podman");
    podman.arg("--runtime").arg(source_dir().join("podman-runtime.sh"));
    podman.args(["--cgroup-manager", "cgroupfs"]);
    podman
}

/// A word that no other run of the tests uses.
pub(crate) fn unique(word: &str) -> String {
    format!("{word}-{}", std::process::id())
}

/// Runs to the end, whatever the exit code.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))
}

/// Runs to the end, which must be a success, and gives what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{printed}{errors}", output.status);
    Ok(printed)
}

/// Waits until `child` ends; `None` when it still runs after `limit`.
pub(crate) fn wait_limited(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        sleep(Duration::from_millis(10));
    }
}

/// Has a server of ours end by itself, within `limit`.
pub(crate) fn terminate(mut child: Child, limit: Duration) -> Result<()> {
    signal(child.id(), "TERM")?;
    if wait_limited(&mut child, limit)?.is_none() {
        kill9(child)?;
    }
    Ok(())
}

/// Ends a server of ours at once.
pub(crate) fn kill9(mut child: Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Sends `signal`, such as `TERM`, to a process of ours.
pub(crate) fn signal(pid: u32, signal: &str) -> Result<()> {
    run(Command::new("kill").args(["-s", signal, &pid.to_string()])).map(drop)
}

/// Whether a program is younger than its source and everything beside it, such as included files.
fn newer(made: &Path, source: &Path) -> Result<bool> {
    let Ok(made) = fs::metadata(made).and_then(|metadata| metadata.modified()) else { return Ok(false) };
    for entry in fs::read_dir(source.parent().context("a source without a directory")?)? {
        if entry?.metadata()?.modified()? >= made {
            return Ok(false);
        }
    }
    Ok(true)
}

fn docker_answers() -> Result<bool> {
    Ok(output(Command::new("docker").arg("version"))?.status.success())
}

/// Leaves a running Docker alone. One that is started here stays, as a service would.
fn start_docker() -> Result<()> {
    if docker_answers()? {
        return Ok(());
    }
    let log = fs::File::create(temporary().join("dockerd.log"))?;
    let mut daemon = Command::new("setsid");
    daemon.arg("dockerd").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut daemon = daemon.spawn().context("starting dockerd (package docker.io)")?;
    let start = Instant::now();
    while start.elapsed() < DOCKER_START_LIMIT {
        if docker_answers()? {
            return Ok(());
        }
        if let Some(status) = daemon.try_wait()? {
            bail!("dockerd ended with {status}; see dockerd.log in {}", temporary().display());
        }
        sleep(Duration::from_millis(200));
    }
    bail!("dockerd does not answer; see dockerd.log in {}", temporary().display())
}

/// A word about what cannot be had here, which is a failure where all must be had.
#[allow(clippy::print_stdout, reason = "a test says SKIP")]
pub(crate) fn skip<T>(reason: &str) -> Result<Option<T>> {
    ensure!(std::env::var_os("PURSER_REQUIRE_ALL").is_none_or(|all| all != "1"), "cannot run: {reason}");
    println!("SKIP {reason}");
    Ok(None)
}
