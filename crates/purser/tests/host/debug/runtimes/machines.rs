// SPDX-License-Identifier: Apache-2.0
//! Containers of LXC and of systemd-nspawn.

use std::path::Path;

use anyhow::Result;

use super::{Running, running, sessions_work, start};
use crate::group::Group;
use crate::lab::{Lab, unique};
use crate::machines::{Lxc, Place};

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
        let mut child = match kind {
            "unit" => start(&mut group.enter(&command))?,
            _ => start(&mut command)?,
        };
        let worked = running(&["/bin/sleep", &time]).and_then(|pid| {
            sessions_work(&Running { words: &[&name, &format!("nspawn:{name}")], pid, id: &name })?;
            crate::lab::signal(u32::try_from(pid)?, "KILL")
        });
        if worked.is_err() {
            child.kill()?;
        }
        child.wait()?;
        worked?;
    }
    Ok(())
}
