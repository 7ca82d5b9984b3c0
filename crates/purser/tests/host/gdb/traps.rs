// SPDX-License-Identifier: Apache-2.0
//! What keeps debuggers away elsewhere, or hurts what they are used on: a filter, a stop, another debugger, and an end
//! in the middle.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use super::targets::{Root, kits};
use super::{DESCENT, HARDENED, PAUSE, gdb, goes_on, parked, session};
use crate::agent::purser;
use crate::debug::{Container, marks, nothing_is_left, status, wait_until};
use crate::lab::{Lab, signal};

/// Docker's own forbids less.
const NO_TRACING: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
    "names": ["ptrace", "process_vm_readv", "process_vm_writev", "perf_event_open"], "action": "SCMP_ACT_ERRNO"
}]}"#;

#[test]
fn a_filter_that_forbids_tracing() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let profile = NamedTempFile::new()?;
    fs::write(profile.path(), NO_TRACING)?;
    let filter = format!("seccomp={}", profile.path().display());
    let image = Root::glibc()?.image("filter")?;
    let options = [&HARDENED[..], &["--security-opt", &filter]].concat();
    let target = Container::start("filter", &options, &image.0, &["/bin/target"])?;
    parked(target.pid, PAUSE)?;
    ensure!(status(target.pid, "Seccomp").as_deref() == Some("2"), "there is no filter");
    let told = gdb(&target.name, &kits, &["bt"])?;
    ensure!(told[0] == DESCENT, "{}", told[0]);
    goes_on(target.pid)
}

#[test]
fn stopped_and_traced_already() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let image = Root::glibc()?.image("held")?;
    let target = Container::start("held", &HARDENED, &image.0, &["/bin/target"])?;
    parked(target.pid, PAUSE)?;
    let pid = u32::try_from(target.pid)?;
    let state = |letter: char| {
        wait_until("the state is another", || {
            Ok(status(target.pid, "State").is_some_and(|state| state.starts_with(letter)))
        })
    };
    signal(pid, "STOP")?;
    state('T')?;
    let told = gdb(&target.name, &kits, &["bt"])?;
    ensure!(told[0] == DESCENT, "{}", told[0]);
    // As it was, not as gdb would like it.
    state('T')?;
    signal(pid, "CONT")?;
    state('S')?;

    let words = ["--", "gdb", "-p", "1", "-batch", "-ex", "shell sleep 30"];
    let mut first = Command::new(purser().get_program());
    first.args(["debug", &target.name, "--kit", "gdb", "--kits"]).arg(&kits).args(words);
    let mut first = first.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    state('t')?;
    let second =
        session(&target.name, &kits, &["--kit", "gdb"])?.args(["--", "gdb", "-p", "1", "-batch"]).output();
    let before = marks();
    signal(first.id(), "KILL")?;
    first.wait()?;
    let said = String::from_utf8_lossy(&second?.stderr).into_owned();
    ensure!(said.contains("is stopped, or traced by another debugger"), "ours is missing: {said}");
    ensure!(said.contains("ptrace: Operation not permitted"), "gdb's is missing: {said}");
    wait_until("the first session has let go", || {
        Ok(status(target.pid, "TracerPid").as_deref() == Some("0"))
    })?;
    goes_on(target.pid)?;
    nothing_is_left(&before)
}

/// A breakpoint is an instruction in the program, which kills whoever comes by when its debugger is gone.
#[test]
fn no_breakpoint_stays_behind() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let image = Root::glibc()?.image("broken")?;
    let target = Container::start("broken", &HARDENED, &image.0, &["/bin/target"])?;
    parked(target.pid, PAUSE)?;
    let before = marks();
    for how in ["KILL", "TERM", "HUP"] {
        let mut client = Command::new(purser().get_program());
        client.args(["debug", &target.name, "--kit", "gdb", "--kits"]).arg(&kits);
        client.args(["--", "gdb", "-p", "1", "-batch", "-ex", "break nap if 0", "-ex", "info breakpoints"]);
        let mut client =
            client.args(["-ex", "continue"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(client.stdout.take().context("no stdout")?).lines();
        let is_set = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("keep y")));
        ensure!(is_set.is_some(), "gdb has set no breakpoint");
        // Two threads come by every other millisecond.
        sleep(Duration::from_millis(300));
        ensure!(status(target.pid, "TracerPid").as_deref() != Some("0"), "gdb is not there");
        signal(client.id(), how)?;
        client.wait()?;
        wait_until("the debugger has gone", || Ok(status(target.pid, "TracerPid").as_deref() == Some("0")))?;
        sleep(Duration::from_millis(300));
        goes_on(target.pid).with_context(|| format!("after {how}"))?;
    }
    nothing_is_left(&before)
}
