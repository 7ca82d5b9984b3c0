// SPDX-License-Identifier: Apache-2.0
//! Each runtime, for real: its containers are found by what people call them, a session in one has the kit's
//! tools, every byte and the exact exit code, and nothing of it is left.

mod bare; // processes in some namespaces only, or in a chroot
mod containerd; // by ctr and over CRI, at a containerd of our own
mod daemon; // a dockerd of our own, stopped, with its state elsewhere
mod machines; // LXC and systemd-nspawn
mod oci; // runc and crun alone
pub(crate) mod podman; // root's and a user's
mod remapped; // a dockerd that maps users
mod rootless; // a user's dockerd
mod words; // what is unknown, ambiguous, or somebody's lie

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{debug, processes_like, wait_until};
use crate::lab::unique;

/// Exit code of the commands here, which no failure of ours has.
const CODE: i32 = 41;
/// More than a pipe holds.
const INPUT: usize = 200_000;

/// A target by each of its names, and its first process.
struct Running<'a> {
    words: &'a [&'a str],
    pid: i32,
    /// What the cgroups of its sessions have in their names.
    id: &'a str,
}

/// Everything that a session is for, with each word, and what is left of it.
fn sessions_work(running: &Running<'_>) -> Result<()> {
    let (processes, mounts) = (own_processes(running.pid)?, mounts(running.pid)?);
    for word in running.words {
        session_works(word, running.pid).with_context(|| format!("{word}, process {}", running.pid))?;
        wait_until("its processes are its own", || Ok(own_processes(running.pid)? == processes))?;
        ensure!(self::mounts(running.pid)? == mounts, "{word}: its mounts are others");
        wait_until("no cgroup of a session is left", || Ok(groups_with(running.id).is_empty()))?;
    }
    Ok(())
}

fn session_works(word: &str, pid: i32) -> Result<()> {
    // A program of the kit's alone, which ends so when it is given nothing to do.
    let input: Vec<u8> = (0..INPUT).map(|number| (number * 7 % 251) as u8).collect();
    let script = format!(
        "sleep 1000 & cat; printf 'errors\\0' >&2; attach 2>/dev/null; [ $? = 1 ] || exit 9; \
         stat -c ' %i' /bin >&2; [ ! -e /proc/self ] || readlink /proc/self/ns/net >&2; exit {CODE}"
    );
    let mut client = debug(word, &["-e", &mark()], &["sh", "-c", &script])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut to = client.stdin.take().context("no pipe")?;
    let typed = input.clone();
    let typing = std::thread::spawn(move || to.write_all(&typed));
    let got = client.wait_with_output()?;
    let said = String::from_utf8_lossy(&got.stderr).into_owned();
    ensure!(got.status.code() == Some(CODE), "{}: {said}", got.status);
    ensure!(typing.join().is_ok_and(|typed| typed.is_ok()) && got.stdout == input, "other bytes came back");
    let bin = fs::symlink_metadata(format!("/proc/{pid}/root/bin"))?.ino();
    let network = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    // Its own `self` is nobody to a process of another pid namespace.
    let has_proc = fs::exists(format!("/proc/{pid}/root/proc/version"))?;
    let network = if has_proc { format!("{}\n", network.display()) } else { String::new() };
    let wanted = format!("errors\0 {bin}\n{network}");
    ensure!(said == wanted, "{said:?} is not {wanted:?}");
    Ok(())
}

/// Those in the target's pid namespace; where that is the host's, those that a session here has.
fn own_processes(pid: i32) -> Result<BTreeSet<i32>> {
    if fs::read_link(format!("/proc/{pid}/ns/pid"))? != fs::read_link("/proc/self/ns/pid")? {
        return processes_like(pid);
    }
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| {
        let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split('\0').any(|variable| variable == mark())
    };
    Ok(pids.filter(is_ours).collect())
}

/// A variable that all programs of these sessions have.
fn mark() -> String {
    unique("PURSER_TEST_MARK=here")
}

fn mounts(pid: i32) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).with_context(|| format!("process {pid} is gone"))
}

/// The cgroups of sessions in this container.
fn groups_with(id: &str) -> Vec<String> {
    let trees = ["", "memory", "pids", "freezer", "unified"]
        .map(|tree| format!("/sys/fs/cgroup/{tree}/purser-debug"));
    let entries = trees.iter().flat_map(fs::read_dir).flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.contains(id))
        .collect()
}

/// What a refused session says, and that it has the code of no session.
fn refused(word: &str, options: &[&str]) -> Result<String> {
    let asked = crate::lab::output(&mut debug(word, options, &["true"])?)?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(asked.status.code() == Some(125), "{word}: {} {said}", asked.status);
    Ok(said)
}

/// The processes that have become this command.
fn pid_of(command: &[&str]) -> Option<i32> {
    let line = command.iter().map(|word| format!("{word}\0")).collect::<String>();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text == line))
}

/// Waits for the process that has become this command.
fn running(command: &[&str]) -> Result<i32> {
    let mut found = None;
    wait_until(&format!("{command:?} runs"), || {
        found = pid_of(command);
        Ok(found.is_some())
    })?;
    found.context("no process")
}

/// Starts one that says nothing and is killed with what it started.
fn start(command: &mut Command) -> Result<std::process::Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().with_context(|| format!("starting {command:?}"))
}
