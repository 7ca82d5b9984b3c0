// SPDX-License-Identifier: Apache-2.0
//! A dockerd of our own whose data is where only its command line, or its file of settings, says. It is stopped
//! by SIGSTOP, and then gone altogether; sessions need it for nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Running, refused, sessions_work, start};
use crate::lab::{IMAGE, Lab, output, run, signal, unique, wait_limited};

const LIMIT: Duration = Duration::from_secs(60);

/// A daemon; ended when dropped.
struct Docker {
    dir: TempDir,
    child: Child,
}

impl Docker {
    /// `in_file`: the directory of its data is told by a file and not by an argument.
    fn start(in_file: bool) -> Result<Docker> {
        // Paths of sockets are short.
        let dir = TempDir::with_prefix("purser-test-dockerd-")?;
        let at = |name: &str| dir.path().join(name);
        let mut settings = serde_json::json!({"bridge": "none", "iptables": false});
        // A dockerd without a bridge takes away that of the machine's, in whose network it is.
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "dockerd"]);
        match in_file {
            true => settings["data-root"] = at("data").display().to_string().into(),
            false => drop(command.arg("--data-root").arg(at("data"))),
        }
        fs::write(at("daemon.json"), settings.to_string())?;
        command.arg("--config-file").arg(at("daemon.json"));
        command.arg("--host").arg(format!("unix://{}", at("socket").display()));
        command.arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
        let said = fs::File::create(at("said"))?;
        let child = start(command.stderr(said))?;
        let docker = Docker { dir, child };
        let begun = Instant::now();
        while !output(docker.docker().arg("version"))?.status.success() {
            let said = || fs::read_to_string(docker.dir.path().join("said")).unwrap_or_default();
            ensure!(begun.elapsed() < LIMIT, "dockerd does not answer\n{}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(docker)
    }

    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.arg("-H").arg(format!("unix://{}", self.dir.path().join("socket").display()));
        docker
    }

    fn containers(&self) -> PathBuf {
        self.dir.path().join("data/containers")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // In this order: a stopped one hears nothing. Best effort on the way out.
        drop(signal(self.child.id(), "CONT"));
        drop(signal(self.child.id(), "TERM"));
        if !matches!(wait_limited(&mut self.child, LIMIT), Ok(Some(_))) {
            drop(self.child.kill().and_then(|()| self.child.wait()));
        }
        // A mount that it made of its own directory.
        drop(output(Command::new("umount").arg("-R").arg(self.dir.path().join("data"))));
    }
}

#[test]
fn a_stopped_daemon_is_not_asked() -> Result<()> {
    let _lab = Lab::enter()?;
    let docker = Docker::start(false)?;
    let mut save = Command::new("docker").args(["save", IMAGE]).stdout(Stdio::piped()).spawn()?;
    let loaded = docker.docker().arg("load").stdin(save.stdout.take().context("no pipe")?).output()?;
    ensure!(save.wait()?.success() && loaded.status.success(), "the image cannot be handed over: {loaded:?}");
    let name = unique("purser-test-stopped");
    let mut make = docker.docker();
    make.args(["run", "-d", "--network", "none", "--name", &name, IMAGE, "sleep", "100000"]);
    let id = run(&mut make)?.trim().to_owned();
    let pid = run(docker.docker().args(["inspect", "-f", "{{.State.Pid}}", &name]))?.trim().parse()?;

    signal(docker.child.id(), "STOP")?;
    let begun = Instant::now();
    sessions_work(&Running { words: &[&name, &format!("docker:{name}"), &id[..12]], pid, id: &id })?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    let said = refused("purser-test-nobody", &[])?;
    ensure!(said.contains(&format!("{name} (docker)")), "{said}");
    // And where its data is named, nobody looks at what runs.
    let config = docker.dir.path().join("purser.toml");
    fs::write(&config, format!("[runtimes]\ndocker_containers = {:?}\n", docker.containers()))?;
    let config = config.display().to_string();
    let told = super::super::printed(&name, &["--config", &config], &["sh", "-c", "echo $((6*7))"])?;
    ensure!(told == "42\n", "{told}");
    signal(docker.child.id(), "CONT")?;
    let changes = run(docker.docker().args(["diff", &name]))?;
    ensure!(changes.is_empty(), "{changes}");
    run(docker.docker().args(["rm", "-f", &name]))?;
    let said = refused(&name, &[])?;
    ensure!(said.contains("no container is called"), "{said}");
    Ok(())
}

#[test]
fn a_daemons_settings_are_read() -> Result<()> {
    let lab = Lab::enter()?;
    let docker = Docker::start(true)?;
    let mut tar =
        Command::new("tar").arg("-C").arg(lab.root()).args(["-c", "."]).stdout(Stdio::piped()).spawn()?;
    let image = unique("purser-test:settings");
    let made = docker
        .docker()
        .args(["import", "-", &image])
        .stdin(tar.stdout.take().context("no pipe")?)
        .output()?;
    ensure!(tar.wait()?.success() && made.status.success(), "no image: {made:?}");
    let name = unique("purser-test-settings");
    let mut make = docker.docker();
    make.args(["run", "-d", "--network", "none", "--name", &name, &image, "sleep", "100000"]);
    let id = run(&mut make)?.trim().to_owned();
    let pid = run(docker.docker().args(["inspect", "-f", "{{.State.Pid}}", &name]))?.trim().parse()?;
    let worked = sessions_work(&Running { words: &[&name], pid, id: &id });
    run(docker.docker().args(["rm", "-f", &name]))?;
    worked
}
