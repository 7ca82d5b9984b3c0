// SPDX-License-Identifier: Apache-2.0
//! Targets of a Docker that maps users, for real: all that gdb shows of a process there, and of its core.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::cores::{self, ASKED};
use super::targets::{Root, kits};
use super::{DESCENT, Expected, HARDENED, OF_GLIBC, PAUSE, THROW, one, parked};
use crate::debug::remote::far::Far;
use crate::lab::{Lab, run, temporary};

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
