// SPDX-License-Identifier: Apache-2.0
//! Words that mean nothing or several things, and those that somebody made mean what they should not.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use super::podman::User;
use super::{refused, running, start};
use crate::lab::{Lab, output, unique};
use crate::{debug::Container, debug::debug};

#[test]
fn candidates_are_listed() -> Result<()> {
    let _lab = Lab::enter()?;
    let (one, other) = (Container::idle("one", &[])?, Container::idle("other", &[])?);
    let said = refused("purser-test-nobody", &[])?;
    ensure!(said.contains(&format!("{} (docker)", one.name)) && said.contains(&other.name), "{said}");
    for word in ["pid:1x", "pid:0", "k8s:alone", "docker:"] {
        let asked = output(&mut debug(word, &[], &["true"])?)?;
        ensure!(asked.status.code() == Some(2), "{word}: {}", asked.status);
    }
    let said = refused("pid:4194305", &[])?;
    ensure!(said.contains("is not there"), "{said}");
    Ok(())
}

/// A user who writes state files can call any process a container, and is not believed.
#[test]
fn a_users_word_is_not_roots() -> Result<()> {
    let lab = Lab::enter()?;
    let user = User::make(&lab, 45_680)?;
    let time = format!("{}.0", 500_000 + std::process::id());
    let command = ["/bin/busybox", "sleep", &time];
    for (way, word) in
        [(&["env"][..], "is in no container"), (&["unshare", "-U", "-r", "-m"], "is not that user's")]
    {
        let mut child = start(Command::new(way[0]).args(&way[1..]).args(command))?;
        let told = lies(&user, &command);
        child.kill()?;
        child.wait()?;
        let said = told?;
        ensure!(said.contains(word), "{said}");
    }
    Ok(())
}

fn lies(user: &User, command: &[&str]) -> Result<String> {
    let (name, pid) = (unique("purser-test-lie"), running(command)?);
    let state = format!("/run/user/{}/runc/{name}", user.number);
    fs::create_dir_all(&state)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let started = stat.split_whitespace().nth(21).unwrap_or_default().to_owned();
    fs::write(
        format!("{state}/state.json"),
        format!("{{\"init_process_pid\":{pid},\"init_process_start\":{started}}}"),
    )?;
    refused(&name, &[])
}
