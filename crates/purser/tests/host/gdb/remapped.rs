// SPDX-License-Identifier: Apache-2.0
//! Targets of engines that map users, for real: all that gdb shows of a process in a Docker with `userns-remap`, and of
//! its core, and in a Podman without root.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::cores::{self, ASKED};
use super::targets::{Root, kits};
use super::{DESCENT, Expected, HARDENED, OF_GLIBC, PAUSE, THROW, one, parked};
use crate::debug::remote::far::Far;
use crate::debug::runtimes::podman::User;
use crate::lab::{Lab, run, temporary, unique};

#[test]
fn a_docker_with_remapped_users() -> Result<()> {
    let lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let far = Far::start_with(&lab, &["--userns-remap", "far"])?;
    let root = Root::glibc()?;
    cores::make_unique(&root.path().join("bin/target"))?;
    let archive = far.dir.join("target.tar");
    run(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."))?;
    run(far.docker(&["import"]).arg(&archive).arg("gdb"))?;
    let expected = Expected { descent: DESCENT, throw: Some(THROW), functions: &OF_GLIBC };
    for (name, options) in [("root", &[][..]), ("hard", &HARDENED[..])] {
        let start = ["run", "-d", "--network", "none", "--name", name];
        run(far.docker(&start).args(options).args(["gdb", "/bin/target"]))?;
        let (id, pid) = far.process(name)?;
        one(&id, pid, &kits, &expected).with_context(|| format!("as {name}"))?;
        ensure!(run(&mut far.docker(&["diff", name]))?.is_empty(), "as {name}: its files have changed");
    }
    run(&mut far.docker(&["rm", "-f", "hard"]))?;
    core(&far, &kits)?;
    far.is_clean(&["web", "root"])
}

/// In the container, and on that host when the container does not run any more.
fn core(far: &Far, kits: &std::path::Path) -> Result<()> {
    let (id, pid) = far.process("root")?;
    parked(pid, PAUSE)?;
    let mut words = ["gdb", "-p", "1"].map(str::to_owned).to_vec();
    words.extend(cores::commands(&[&ASKED[..], &["gcore /tmp/live"]].concat()));
    let (printed, _) = cores::debugged(kits, &[&id, "--kit", "gdb"], &words)?;
    let live = cores::answers(&printed, ASKED.len() + 1)?;
    let asked = cores::commands(&ASKED);
    let (printed, said) = cores::debugged(kits, &[&id, "--core", "/tmp/live"], &asked)?;
    ensure!(said.contains(" has all "), "{said}");
    cores::same(&live, &cores::answers(&printed, ASKED.len())?).context("in the container")?;
    let dir = TempDir::with_prefix_in("cores-", temporary())?;
    let file = dir.path().join("live").display().to_string();
    run(&mut far.docker(&["cp", "root:/tmp/live", &file]))?;
    run(&mut far.docker(&["stop", "-t", "0", "root"]))?;
    let mut there = far.there(&cores::debug(kits, &["--core", &file], &asked));
    let ended = crate::lab::output(&mut there)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.success() && said.contains("purser: root has all "), "{said}");
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
    cores::same(&live, &cores::answers(&printed, ASKED.len())?).context("in the stopped container")
}

#[test]
fn a_podman_without_root() -> Result<()> {
    let lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let user = User::make(&lab, 45_681)?;
    let (root, files) = (Root::glibc()?, user.home().join("target"));
    run(Command::new("cp").arg("-a").arg(root.path()).arg(&files))?;
    run(Command::new("chmod").arg("755").arg(&files))?;
    user.owns(&files)?;
    let (files, runtime) = (files.display().to_string(), user.home().join("runtime").display().to_string());
    let podman = |words: &[&str]| user.command(&["podman", "--runtime", &runtime], words);
    // Podman's filter lets threads be made by a call whose function has no symbol.
    let throw = THROW.replace("clone () from", "?? () from");
    let expected = Expected { descent: DESCENT, throw: Some(&throw), functions: &OF_GLIBC };
    let mut looked = Ok(());
    for (way, options) in [("root", &[][..]), ("hard", &HARDENED[..])] {
        let name = unique(&format!("purser-test-gdb-{way}"));
        let start = ["run", "-d", "--network", "none", "--name", &name];
        let mut start = podman(&[&start, options, &["--rootfs", &files, "/bin/target"]].concat());
        run(&mut start)?;
        let pid = run(&mut podman(&["inspect", "-f", "{{.State.Pid}}", &name]))?;
        looked = looked.and_then(|()| {
            one(&name, pid.trim().parse()?, &kits, &expected).with_context(|| format!("as {way}"))
        });
        run(&mut podman(&["rm", "-f", "-t", "0", &name]))?;
    }
    // Ends the process that holds the user's namespaces.
    run(&mut podman(&["system", "migrate"]))?;
    looked
}
