// SPDX-License-Identifier: Apache-2.0
//! Containers of LXC and of systemd-nspawn.

use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Result, ensure};

use super::{Running, running, sessions_work, start};
use crate::group::Group;
use crate::lab::{Lab, unique};
use crate::machines::{Lxc, Place};

/// Whom root of such a container is on the host; nspawn wants a multiple of 65536.
const FIRST: u32 = 14 << 16;

#[test]
fn containers_of_lxc() -> Result<()> {
    let lab = Lab::enter()?;
    let place = Place::make(&lab)?;
    let name = unique("purser-test-debug-lxc");
    let time = format!("{}.1", 200_000 + std::process::id());
    let init = format!("lxc.init.cmd=/bin/sleep {time}");
    let lxc = Lxc::start(place.lxc("lxc-start", &name)?.args(["-F", "-s", &init]), &place, &name)?;
    let pid = running(&["/bin/sleep", &time])?;
    sessions_work(&Running { words: &[&name, &format!("lxc:{name}")], pid, id: &name })?;
    lxc.stop()
}

/// As systemd starts one, in the cgroup of its unit; and one by hand, which no manager knows of.
#[test]
fn containers_of_nspawn() -> Result<()> {
    let lab = Lab::enter()?;
    let place = Place::make(&lab)?;
    for kind in ["unit", "hand"] {
        let name = unique(&format!("purser-test-debug-{kind}"));
        let time = format!("{}.{}", 300_000 + std::process::id(), kind.len());
        let mut command = place.nspawn(&name, &["/bin/sleep", &time]);
        let unit = format!("systemd-nspawn@{}.service", name.replace('-', r"\x2d"));
        let group = Group::make(&Path::new("machine.slice").join(unit))?;
        let child = match kind {
            "unit" => start(&mut group.enter(&command))?,
            _ => start(&mut command)?,
        };
        by_nspawn(child, &name, &time, |_| Ok(()))?;
    }
    Ok(())
}

/// Sessions work in a machine that sleeps so long, and it is ended whatever comes of them.
fn by_nspawn(mut nspawn: Child, name: &str, time: &str, is_right: impl Fn(i32) -> Result<()>) -> Result<()> {
    let worked = running(&["/bin/sleep", time]).and_then(|pid| {
        is_right(pid)?;
        sessions_work(&Running { words: &[name, &format!("nspawn:{name}")], pid, id: name })?;
        crate::lab::signal(u32::try_from(pid)?, "KILL")
    });
    if worked.is_err() {
        nspawn.kill()?;
    }
    nspawn.wait()?;
    worked
}

/// Users of their own: root in there is nobody on the host.
#[test]
fn machines_with_users_of_their_own() -> Result<()> {
    let lab = Lab::enter()?;
    let root = |pid: i32| -> Result<()> {
        let owner = super::super::status(pid, "Uid").unwrap_or_default();
        ensure!(owner.split_whitespace().all(|uid| uid == FIRST.to_string()), "of user {owner}");
        Ok(())
    };
    let place = Place::make(&lab)?;
    let name = unique("purser-test-debug-users");
    let time = format!("{}.7", 300_000 + std::process::id());
    let users = format!("--private-users={FIRST}:65536");
    let words = [&users, "--private-users-ownership=chown", "/bin/sleep", &time];
    by_nspawn(start(&mut place.nspawn(&name, &words))?, &name, &time, root)?;

    // The files are these users' by now.
    let time = format!("{}.8", 300_000 + std::process::id());
    let init = format!("lxc.init.cmd=/bin/sleep {time}");
    let map = |kind: &str| format!("lxc.idmap={kind} 0 {FIRST} 65536");
    let mut command = place.lxc("lxc-start", &name)?;
    command.args(["-F", "-s", &init, "-s", &map("u"), "-s", &map("g")]);
    let lxc = Lxc::start(&mut with_numbers(&command), &place, &name)?;
    let pid = running(&["/bin/sleep", &time])?;
    root(pid)?;
    sessions_work(&Running { words: &[&name, &format!("lxc:{name}")], pid, id: &name })?;
    lxc.stop()
}

/// In mounts of its own, where root may give these numbers away.
fn with_numbers(command: &Command) -> Command {
    let script = "set -eu; etc=$(mktemp -d); mount -t tmpfs etc \"$etc\"; cp -a /etc/. \"$etc\"; \
        for file in subuid subgid; do echo \"root:$1:65536\" >> \"$etc/$file\"; done; \
        mount --bind \"$etc\" /etc; umount \"$etc\"; rmdir \"$etc\"; shift; exec \"$@\"";
    let mut own = Command::new("unshare");
    own.args(["-m", "sh", "-c", script, "numbers", &FIRST.to_string()]);
    own.arg(command.get_program()).args(command.get_args());
    own
}
