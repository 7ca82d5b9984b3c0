// SPDX-License-Identifier: Apache-2.0
//! A container that does nothing, a kit with one program, and the ways in.

use super::clock_of;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const IMAGE: &str = "purser-bench:debug";

pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) container: String,
    pid: String,
}

impl Lab {
    pub(crate) fn make() -> Result<Lab> {
        let dir = TempDir::with_prefix("purser-bench-debug-").context("making a directory")?;
        let bin = dir.path().join("root/bin");
        for name in ["bin", "dev", "proc", "sys", "etc", "mnt/container"] {
            fs::create_dir_all(dir.path().join("root").join(name))?;
        }
        fs::copy("/bin/busybox", bin.join("busybox"))
            .context("copying /bin/busybox (package busybox-static)")?;
        for name in ["sleep", "cat"] {
            symlink("busybox", bin.join(name))?;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/debug/clock.c");
        run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(bin.join("clock")).arg(source))?;
        let kit = dir.path().join("kits/base");
        fs::create_dir_all(kit.join("root/bin"))?;
        fs::copy(bin.join("clock"), kit.join("root/bin/clock"))?;
        fs::copy("/bin/busybox", kit.join("root/bin/cat"))?;
        let text =
            "name = \"base\"\nversion = \"1\"\narch = \"x86_64\"\nsummary = \"a clock\"\npath = [\"bin\"]\n";
        fs::write(kit.join("kit.toml"), text)?;
        let tar = format!("tar -C {}/root -c . | docker import - {IMAGE}", dir.path().display());
        run(Command::new("sh").args(["-c", &tar]))?;
        let container = format!("purser-bench-debug-{}", std::process::id());
        run(Command::new("docker").args([
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            &container,
            IMAGE,
            "sleep",
            "1000000",
        ]))?;
        let mut lab = Lab { dir, container, pid: String::new() };
        let pid = run(Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", &lab.container]))?;
        lab.pid = pid.trim().to_owned();
        Ok(lab)
    }

    fn debug(&self) -> Command {
        let mut debug = Command::new(env!("CARGO_BIN_EXE_purser"));
        // A store of nobody's: no agent is asked to record this.
        let store: PathBuf = self.dir.path().join("store");
        debug
            .args(["debug", &self.container, "--kits"])
            .arg(self.dir.path().join("kits"))
            .arg("--store")
            .arg(store);
        debug
    }

    /// A program in the container, by a session.
    pub(crate) fn session(&self, program: &str) -> Command {
        let mut debug = self.debug();
        debug.args(["--", program]);
        debug
    }

    pub(crate) fn nsenter(&self, program: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.pid, "-m", "-u", "-i", "-n", "-p", "--", program]);
        nsenter
    }

    pub(crate) fn docker_exec(&self, program: &str) -> Command {
        let mut docker = Command::new("docker");
        docker.args(["exec", "-i", &self.container, program]);
        docker
    }

    /// Imports kits onto an empty shelf, and starts a program by their shell. When the one and the other was.
    pub(crate) fn import(&self, file: &Path, run: usize) -> Result<(u64, u64)> {
        let shelf = self.dir.path().join(format!("shelf-{run}"));
        let mut import = Command::new(env!("CARGO_BIN_EXE_purser"));
        self::run(import.args(["kit", "import"]).arg(file).arg("--kits").arg(&shelf))?;
        let imported = super::monotonic_ns();
        let mut debug = Command::new(env!("CARGO_BIN_EXE_purser"));
        debug.args(["debug", &self.container, "--kit", "base", "--store"]).arg(self.dir.path().join("store"));
        let begun = clock_of(debug.arg("--kits").arg(&shelf).args(["--", "bash", "-c", "/bin/clock"]))?;
        fs::remove_dir_all(&shelf)?;
        Ok((imported, begun))
    }

    /// The most memory a client had while its program waited, in bytes.
    pub(crate) fn client_memory(&self) -> Result<u64> {
        let mut client = self.session("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut input, mut output) =
            (client.stdin.take().context("no pipe")?, client.stdout.take().context("no pipe")?);
        std::io::Write::write_all(&mut input, b"x")?;
        // What comes back says that the program runs.
        std::io::Read::read_exact(&mut output, &mut [0])?;
        let status = fs::read_to_string(format!("/proc/{}/status", client.id()))?;
        drop(input);
        ensure!(client.wait()?.success(), "the session failed");
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(most.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// All that docker says was changed.
    pub(crate) fn changes(&self) -> Result<String> {
        run(Command::new("docker").args(["diff", &self.container]))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for words in [&["rm", "-f", &self.container][..], &["rmi", "-f", IMAGE]] {
            // Whatever is not there need not go.
            drop(Command::new("docker").args(words).output());
        }
    }
}

pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
