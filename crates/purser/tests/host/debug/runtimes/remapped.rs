// SPDX-License-Identifier: Apache-2.0
//! A dockerd with `--userns-remap`, on a host of its own: root of its containers is somebody without rights there, and
//! all it keeps is below a directory that is called after them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::super::remote::far::Far;
use super::super::{debug, status};
use super::{Running, sessions_work};
use crate::lab::{Lab, run};

/// Root of its containers, as the host numbers users.
const ROOT: u32 = 700_000;

#[test]
fn containers_of_a_docker_with_remapped_users() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start_with(&lab, &["--userns-remap", "far"])?;
    far.container("db", &["-v", "data:/data", "-u", "33"])?;
    run(&mut far.docker(&[
        "run",
        "--network",
        "none",
        "--name",
        "old",
        "lab",
        "sh",
        "-c",
        "echo changed > /tmp/x",
    ]))?;
    let (id, pid) = far.process("web")?;
    let owner = status(pid, "Uid").unwrap_or_default();
    ensure!(owner.split_whitespace().all(|uid| uid == ROOT.to_string()), "not remapped: {owner}");
    sessions_work(&Running { words: &[&id, &id[..12]], pid, id: &id })?;

    // With its names, on that host, and from another one.
    let there = |word: &str, script: &str| run(&mut far.there(&debug(word, &[], &["sh", "-c", script])?));
    for word in ["web", "docker:web"] {
        let told = there(word, "id -u; stat -c %u /bin; echo made > /tmp/made; stat -c %u /tmp/made")?;
        ensure!(told == "0\n0\n0\n", "{word}: {told}");
    }
    ensure!(fs::metadata(format!("/proc/{pid}/root/tmp/made"))?.uid() == ROOT, "made by somebody else");
    let told = run(&mut far.debug(
        &far.unix(),
        &[],
        "db",
        &["sh", "-c", "id -u; touch /data/x; stat -c %u /data/x"],
    )?)?;
    ensure!(told == "0\n0\n", "{told}");
    // What does not run.
    ensure!(there("old", "cat /tmp/x")? == "changed\n", "the stopped container's files are others");
    ensure!(there("image:lab", "ls -d /bin/sh")? == "/bin/sh\n", "the image's files are others");
    files_of_the_host(&id)?;
    far.is_clean(&["web", "db", "old"])
}

/// A session's program has the rights that the target's root has in files of the host, which are those of nobody.
fn files_of_the_host(id: &str) -> Result<()> {
    let dir = TempDir::new()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    fs::write(dir.path().join("file"), "of the host\n")?;
    let volume = format!("{}:/given", dir.path().display());
    let script = "cat /given/file; touch /given/made 2>/dev/null || echo no";
    let told = run(&mut debug(id, &["-v", &volume], &["sh", "-c", script])?)?;
    ensure!(told == "of the host\nno\n", "{told}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
    let told = run(&mut debug(id, &["-v", &volume], &["sh", "-c", script])?)?;
    ensure!(told == "of the host\n", "{told}");
    ensure!(fs::metadata(dir.path().join("made"))?.uid() == ROOT, "made by somebody else");
    Ok(())
}
