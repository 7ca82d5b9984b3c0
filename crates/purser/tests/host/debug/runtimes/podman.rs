// SPDX-License-Identifier: Apache-2.0
//! Containers of Podman: root's, and those of an ordinary user, who is in no file of the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::{Running, refused, sessions_work};
use crate::lab::{Lab, run, source_dir, unique};

/// A user with a home, and a copy of the lab's root in it.
pub(crate) struct User {
    dir: TempDir,
    pub(super) number: u32,
}

impl User {
    pub(crate) fn make(lab: &Lab, number: u32) -> Result<User> {
        // Not below the build directory, which others may not be able to enter.
        let user = User { dir: TempDir::with_prefix("purser-test-user-")?, number };
        run(Command::new("chmod").arg("755").arg(user.dir.path()))?;
        fs::create_dir_all(user.home())?;
        fs::copy(source_dir().join("podman-runtime.sh"), user.home().join("runtime"))?;
        run(Command::new("cp").arg("-a").arg(lab.root()).arg(user.root()))?;
        fs::create_dir_all(user.runtime())?;
        run(Command::new("chmod").arg("700").arg(user.runtime()))?;
        user.owns(&user.runtime())?;
        user.owns(&user.home())?;
        Ok(user)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Where all of it is.
    pub(super) fn place(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn root(&self) -> PathBuf {
        self.home().join("root")
    }

    fn runtime(&self) -> PathBuf {
        Path::new("/run/user").join(self.number.to_string())
    }

    pub(crate) fn owns(&self, path: &Path) -> Result<()> {
        let owner = format!("{0}:{0}", self.number);
        run(Command::new("chown").args(["-R", &owner]).arg(path)).map(drop)
    }

    /// A command of this user.
    pub(crate) fn command(&self, program: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.arg("-m").arg(source_dir().join("debug/rootless.sh"));
        command.arg(self.dir.path()).arg(self.number.to_string()).args(program).args(words);
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Best effort on the way out.
        drop(fs::remove_dir_all(self.runtime()));
    }
}

#[test]
fn containers_of_root() -> Result<()> {
    let lab = Lab::enter()?;
    let name = unique("purser-test-podman");
    let podman = |words: &[&str]| {
        let mut podman = Command::new("podman");
        podman.arg("--runtime").arg(source_dir().join("podman-runtime.sh"));
        podman.args(["--cgroup-manager", "cgroupfs"]).args(words);
        podman
    };
    let mut start = podman(&["run", "-d", "--network", "none", "--name", &name, "--rootfs"]);
    let id = run(start.arg(lab.root()).args(["/bin/sleep", "100000"]))?.trim().to_owned();
    let pid = run(&mut podman(&["inspect", "-f", "{{.State.Pid}}", &name]))?.trim().parse()?;
    let worked =
        sessions_work(&Running { words: &[&name, &format!("podman:{name}"), &id[..12]], pid, id: &id });
    run(&mut podman(&["rm", "-f", "-t", "0", &name]))?;
    worked?;
    let said = refused(&name, &[])?;
    ensure!(said.contains("no container is called"), "{said}");
    Ok(())
}

#[test]
fn containers_of_a_user() -> Result<()> {
    let lab = Lab::enter()?;
    let (user, name) = (User::make(&lab, 45_678)?, unique("purser-test-rootless"));
    let runtime = user.home().join("runtime").display().to_string();
    let podman = |words: &[&str]| user.command(&["podman", "--runtime", &runtime], words);
    let root = user.root().display().to_string();
    // A user in there who is not the one outside.
    let options = ["run", "-d", "--network", "none", "--name", &name, "--user", "33", "--rootfs"];
    let id = run(podman(&options).args([&root, "/bin/sleep", "100000"]))?.trim().to_owned();
    let worked = run(&mut podman(&["inspect", "-f", "{{.State.Pid}}", &name])).and_then(|pid| {
        let pid = pid.trim().parse()?;
        let owner = super::super::status(pid, "Uid").unwrap_or_default();
        let wanted = (user.number * 10 + 32).to_string();
        ensure!(owner.split_whitespace().all(|uid| uid == wanted), "not a rootless container: {owner}");
        sessions_work(&Running { words: &[&name, &format!("podman:{name}"), &id[..12]], pid, id: &id })?;
        let said = refused("purser-test-nobody", &[])?;
        ensure!(said.contains(&format!("{name} (podman, of user {})", user.number)), "{said}");
        Ok(())
    });
    run(&mut podman(&["rm", "-f", "-t", "0", &name]))?;
    // Ends the process that holds the user's namespaces.
    run(&mut podman(&["system", "migrate"]))?;
    worked
}
