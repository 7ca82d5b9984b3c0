// SPDX-License-Identifier: Apache-2.0
//! Podman's service answers as a Docker daemon does. Root's leads to sessions; a user's is root of nothing.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::said;
use crate::agent::purser;
use crate::debug::{kits, wait_until};
use crate::lab::{Lab, kill9, output, run, source_dir, unique};

/// Podman with a store of its own, and its service.
struct Podman {
    dir: TempDir,
    service: Option<Child>,
}

impl Podman {
    fn start() -> Result<Podman> {
        let dir = TempDir::with_prefix("purser-test-podman-")?;
        let mut podman = Podman { dir, service: None };
        let socket = podman.dir.path().join("socket");
        let mut service = podman.podman(&["system", "service", "-t", "0", &podman.host()]);
        let said = fs::File::create(podman.dir.path().join("said"))?;
        service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        podman.service = Some(service.spawn()?);
        wait_until("Podman's service listens", || Ok(socket.exists()))?;
        Ok(podman)
    }

    fn podman(&self, words: &[&str]) -> Command {
        let mut podman = Command::new("podman");
        podman
            .arg("--root")
            .arg(self.dir.path().join("root"))
            .arg("--runroot")
            .arg(self.dir.path().join("run"));
        podman.arg("--runtime").arg(source_dir().join("podman-runtime.sh"));
        podman.args(["--cgroup-manager", "cgroupfs"]).args(words);
        podman
    }

    fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("socket").display())
    }

    fn names(&self) -> Result<String> {
        run(&mut self.podman(&["ps", "-a", "--format", "{{.Names}}"]))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Best effort on the way out.
        drop(output(&mut self.podman(&["rm", "-f", "-a", "-t", "0"])));
        drop(self.service.take().map(kill9));
        drop(output(Command::new("umount").arg("-R").arg(self.dir.path().join("root/overlay"))));
    }
}

fn debug(host: &str, target: &str, command: &[&str]) -> Result<Command> {
    let mut debug = purser();
    debug.args(["debug", "--host", host, "--kits"]).arg(kits()?).arg(target).arg("--").args(command);
    Ok(debug)
}

#[test]
fn podmans_service() -> Result<()> {
    let lab = Lab::enter()?;
    let podman = Podman::start()?;
    let name = unique("purser-test-far-podman");
    let mut start = podman.podman(&["run", "-d", "--network", "none", "--name", &name, "--rootfs"]);
    let id = run(start.arg(lab.root()).args(["/bin/sleep", "100000"]))?.trim().to_owned();
    let host = podman.host();
    let image = || run(&mut podman.podman(&["images", "-q", "--no-trunc", "purser-debug"]));
    for word in [name.as_str(), &format!("podman:{name}"), &id[..12]] {
        let mut client = debug(&host, word, &["sh", "-c", "cat; echo errors >&2; exit 6"])?;
        client.stdin(fs::File::open(lab.program("execmodes"))?);
        let ended = client.output()?;
        ensure!(ended.status.code() == Some(6) && said(&ended) == "errors\n", "{word}: {ended:?}");
        ensure!(ended.stdout == fs::read(lab.program("execmodes"))?, "{word}: other bytes came back");
        wait_until("its own container is gone", || Ok(podman.names()?.trim() == name))?;
    }
    // One image, whatever was asked for, and another in its place when a kit is another.
    let first = image()?;
    ensure!(first.lines().count() == 1, "{first}");
    let newer = podman.dir.path().join("newer");
    run(Command::new("cp").arg("-a").arg(kits()?).arg(&newer))?;
    fs::write(newer.join("base/root/new"), "new\n")?;
    let mut other = purser();
    other.args(["debug", "-H", &host, "--kits"]).arg(&newer).args([
        &name,
        "--",
        "cat",
        "/dev/.purser/base/new",
    ]);
    ensure!(run(&mut other)? == "new\n", "not the newer kit");
    ensure!(image()?.lines().count() == 1 && image()? != first, "{}", image()?);
    // Its client is killed.
    let mut client = debug(&host, &name, &["sleep", "4711"])?;
    let mut client = client.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    wait_until("its own container is there", || Ok(podman.names()?.contains("purser-debug-")))?;
    client.kill()?;
    client.wait()?;
    wait_until("its own container is gone", || Ok(podman.names()?.trim() == name))?;
    let nope = output(&mut debug(&host, "nope", &["true"])?)?;
    ensure!(nope.status.code() == Some(125), "{nope:?}");
    ensure!(said(&nope).contains(&format!(" {name} (podman)")), "{}", said(&nope));
    ensure!(!said(&nope).contains("purser-debug"), "{}", said(&nope));
    Ok(())
}
