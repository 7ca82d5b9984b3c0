// SPDX-License-Identifier: Apache-2.0
//! A machine to be destroyed: Debian's systemd as process 1 of a container, over a root that is made
//! once and never written to. It has a bpf file system of its own, so it never meets another agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Made once a host and kept: it takes minutes. The number goes up when what is in it changes.
const ROOT: &str = "/var/cache/purser-tests/systemd-bookworm-1";
const PACKAGES: &str = "--include=systemd,systemd-sysv,dbus";
const BOOT_LIMIT: Duration = Duration::from_secs(180);
const HALT_LIMIT: Duration = Duration::from_secs(20);
/// Where the machine finds what the tests bring.
pub(crate) const BROUGHT: &str = "/mnt/brought";

/// One test at a time has the machine.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) struct Machine {
    _turn: MutexGuard<'static, ()>,
    nspawn: Child,
    leader: u32,
    cgroups: Vec<PathBuf>,
    bpffs: PathBuf,
    dir: TempDir,
}

impl Machine {
    /// Boots one; `None`, after a word, where that cannot be done and need not be.
    pub(crate) fn boot() -> Result<Option<Machine>> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        for program in ["systemd-nspawn", "debootstrap", "gcc"] {
            if run(Command::new("sh").args(["-c", &format!("command -v {program}")])).is_err() {
                ensure!(std::env::var_os("PURSER_REQUIRE_ALL").is_none(), "no {program}");
                println!("SKIP: no {program}");
                return Ok(None);
            }
        }
        make_root()?;
        let dir = TempDir::with_prefix("purser-machine-")?;
        let (bpffs, brought) = (dir.path().join("bpf"), dir.path().join("brought"));
        fs::create_dir(&bpffs)?;
        fs::create_dir(&brought)?;
        bring(&brought)?;
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&bpffs))?;
        let name = format!("purser-test-{}", std::process::id());
        let cgroups = cgroups(&name)?;
        let nspawn = spawn(&name, &cgroups, &bpffs, &brought, dir.path())?;
        let mut machine = Machine { _turn: turn, nspawn, leader: 0, cgroups, bpffs, dir };
        machine.wait_booted()?;
        machine.inside("cp /mnt/brought/purser /usr/local/bin/purser")?;
        Ok(Some(machine))
    }

    /// A directory that the machine sees as [`BROUGHT`].
    pub(crate) fn brought(&self) -> PathBuf {
        self.dir.path().join("brought")
    }

    /// The same file as the machine's `path`, as the host reaches it.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    fn wait_booted(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            if self.leader == 0 {
                self.leader = child_of(self.nspawn.id()).unwrap_or(0);
            } else if let Ok(output) = self.shell("systemctl is-system-running") {
                let state = String::from_utf8_lossy(&output.stdout).trim().to_string();
                if matches!(state.as_str(), "running" | "degraded") {
                    return Ok(());
                }
            }
            let log = || fs::read_to_string(self.dir.path().join("boot.log")).unwrap_or_default();
            if let Some(status) = self.nspawn.try_wait()? {
                bail!("the machine ended with {status}\n{}", log());
            }
            ensure!(start.elapsed() < BOOT_LIMIT, "the machine does not boot\n{}", log());
            sleep(Duration::from_millis(100));
        }
    }

    /// Runs a shell's words inside, whatever the exit code.
    pub(crate) fn shell(&self, script: &str) -> Result<Output> {
        let leader = self.leader.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &leader, "-m", "-u", "-i", "-p", "-C", "--", "/usr/bin/env", "-i"]);
        command.args(["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c", script]);
        command.stdin(Stdio::null()).output().context("starting nsenter")
    }

    /// The same, which must succeed; what it printed.
    pub(crate) fn inside(&self, script: &str) -> Result<String> {
        printed(script, self.shell(script)?)
    }

    /// The same, which must end with `code`; everything it said.
    pub(crate) fn refused(&self, script: &str, code: i32) -> Result<String> {
        let output = self.shell(script)?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.code() == Some(code), "{script}: {} instead of {code}\n{said}", output.status);
        Ok(said)
    }

    /// Asks again until `script` succeeds.
    pub(crate) fn wait_until(&self, script: &str, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.shell(script)?.status.success() {
            if start.elapsed() > limit {
                let journal = self.inside("journalctl -b --no-pager -n 30")?;
                bail!("not within {limit:?}: {script}\n{journal}");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Every step is tried, whatever became of those before it.
        drop(run(Command::new("kill").arg(self.nspawn.id().to_string())));
        let start = Instant::now();
        while matches!(self.nspawn.try_wait(), Ok(None)) && start.elapsed() < HALT_LIMIT {
            sleep(Duration::from_millis(50));
        }
        drop(self.nspawn.kill());
        drop(self.nspawn.wait());
        drop(run(Command::new("umount").arg(&self.bpffs)));
        self.cgroups.iter().for_each(|cgroup| remove_cgroups(cgroup));
    }
}

/// Beside its place first, so that a root is whole or not there.
fn make_root() -> Result<()> {
    if Path::new(ROOT).exists() {
        return Ok(());
    }
    let part = format!("{ROOT}.{}", std::process::id());
    fs::create_dir_all(&part)?;
    run(Command::new("debootstrap").args(["--variant=minbase", PACKAGES, "bookworm", &part]))
        .context("making a Debian root for the machine; is the network there?")?;
    if fs::rename(&part, ROOT).is_err() {
        // Another run was faster.
        fs::remove_dir_all(&part)?;
    }
    Ok(())
}

fn bring(brought: &Path) -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    fs::copy(env!("CARGO_BIN_EXE_purser"), brought.join("purser"))?;
    for (program, source, flags) in [
        ("load", "load/load.c", &[][..]),
        ("load-target", "load/target.c", &["-nostdlib"]),
        ("dies", "upgrade/ends.c", &["-DEND=1"]),
        ("refuses", "upgrade/ends.c", &["-DEND=2"]),
    ] {
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-static"]).args(flags).arg("-o").arg(brought.join(program)).arg(tests.join(source));
        run(&mut gcc)?;
    }
    Ok(())
}

/// A cgroup of its own in each hierarchy that systemd uses, so that nothing else is in it.
fn cgroups(name: &str) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for hierarchy in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        if Path::new(hierarchy).join("cgroup.procs").exists() {
            let path = Path::new(hierarchy).join(name);
            fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
            made.push(path);
        }
    }
    Ok(made)
}

fn remove_cgroups(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    // One that is still in use is left; its name tells whose it is.
    drop(fs::remove_dir(cgroup));
}

fn spawn(name: &str, cgroups: &[PathBuf], bpffs: &Path, brought: &Path, dir: &Path) -> Result<Child> {
    let join: String =
        cgroups.iter().map(|path| format!("echo $$ >{}/cgroup.procs; ", path.display())).collect();
    let log = fs::File::create(dir.join("boot.log"))?;
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{join}exec systemd-nspawn \"$@\""), "sh", "-D", ROOT, "--volatile=overlay"]);
    shell.args(["--boot", "--register=no", "--keep-unit", "--console=pipe", "--link-journal=no"]);
    // A container may otherwise not use BPF, and sees no /sys to mount anything in.
    shell.args(["--capability=all", "--system-call-filter=bpf perf_event_open"]);
    shell.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1");
    shell.arg(format!("--machine={name}"));
    shell.arg(format!("--bind={}:/sys/fs/bpf", bpffs.display()));
    shell.arg(format!("--bind-ro={}:{BROUGHT}", brought.display()));
    shell.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    shell.spawn().context("starting systemd-nspawn")
}

/// The machine's process 1, once systemd-nspawn has made it and it has become an init.
fn child_of(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_init = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_init)
}

/// Runs to the end, which must be a success; what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    printed(&format!("{command:?}"), output)
}

fn printed(what: &str, output: Output) -> Result<String> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}\n{printed}{errors}", output.status);
    Ok(printed)
}
