// SPDX-License-Identifier: Apache-2.0
//! A containerd of our own, in directories that nobody has configured: a container by `ctr`, and a pod over CRI.

use anyhow::{Context, Result, ensure};

use super::{Running, refused, running, sessions_work};
use crate::cri::Containerd;
use crate::lab::{Lab, run, unique};
use crate::pod::Pod;

#[test]
fn containers_of_ctr() -> Result<()> {
    let lab = Lab::enter()?;
    let containerd = Containerd::start(&lab)?;
    let name = unique("purser-test-ctr");
    let mut start = containerd.ctr();
    start.args(["run", "-d", "--rootfs"]).arg(lab.root()).args([&name, "/bin/sleep", "100000"]);
    run(&mut start)?;
    let listed = run(containerd.ctr().args(["tasks", "ls"]))?;
    let line = listed.lines().find(|line| line.starts_with(&name)).context("no task")?;
    let pid = line.split_whitespace().nth(1).context("no number")?.parse()?;
    let worked = sessions_work(&Running { words: &[&name, &format!("containerd:{name}")], pid, id: &name });
    run(containerd.ctr().args(["tasks", "kill", "-s", "KILL", &name]))?;
    super::wait_until("the task has ended", || {
        Ok(run(containerd.ctr().args(["containers", "rm", &name])).is_ok())
    })?;
    worked
}

#[test]
fn containers_of_a_pod() -> Result<()> {
    let lab = Lab::enter()?;
    let containerd = Containerd::start(&lab)?;
    let pod = Pod::run(&containerd)?;
    let (one, other) = (unique("100001"), unique("100002"));
    let (time, second) = (one.replace('-', "."), other.replace('-', "."));
    let id = pod.start("app", &["/bin/sleep", &time])?;
    pod.start("sidecar", &["/bin/sleep", &second])?;
    let pid = running(&["/bin/sleep", &time])?;
    let word = format!("k8s:purser-test/{}/app", pod.name);
    sessions_work(&Running { words: &[&word, &format!("containerd:{id}"), &id[..20]], pid, id: &id })?;
    // Without the container's name it may be either.
    let said = refused(&format!("k8s:purser-test/{}", pod.name), &[])?;
    ensure!(said.contains("may be one of several") && said.contains(&word), "{said}");
    // One that has done its work, and the last of those that were started again.
    for (attempt, text) in [(0, "once"), (1, "again")] {
        let done = pod.start_again("done", attempt, &["/bin/sh", "-c", &format!("echo {text} > /tmp/x")])?;
        super::wait_until("it has ended", || Ok(!containerd.runs(&done)?))?;
    }
    let done = format!("k8s:purser-test/{}/done", pod.name);
    let told = super::super::printed(&done, &[], &["sh", "-c", "cat /tmp/x; echo more > /tmp/x"])?;
    ensure!(told == "again\n", "{told}");
    let said = refused(&format!("k8s:purser-test/{}/none", pod.name), &[])?;
    ensure!(said.contains("no container is called") && said.contains(&word), "{said}");
    pod.remove()
}
