// SPDX-License-Identifier: Apache-2.0
//! What a session leaves in its target and on the host, and what it counts for the target: nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Container, debug, marks, nothing_is_left, printed, wait_until};
use crate::lab::{IMAGE, Lab, output, signal, temporary, wait_limited};

/// The kernel counts in batches for each CPU.
const NOISE: i64 = 512 << 10;
/// Time for a client to end.
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn memory_counts_for_the_session_alone() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("memory", &["--memory", "32m", "--pids-limit", "1"])?;
    // More than the target may have, and a target without room for another process.
    let script = "dd if=/dev/zero of=$HOME/big bs=1M count=48 2>/dev/null && ls $HOME && cat /proc/self/cgroup && read line";
    let mut session = debug(&target.name, &[], &["sh", "-c", script])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let usage = usage_of(target.pid)?;
    let before = read(&usage)?;
    let mut out = session.stdout.take().context("no output")?;
    let mut seen = String::new();
    let mut byte = [0; 256];
    while !seen.contains("0::") {
        let length = std::io::Read::read(&mut out, &mut byte)?;
        ensure!(length > 0, "the session ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&byte[..length]));
    }
    let during = read(&usage)?;
    drop(session.stdin.take());
    session.wait()?;
    println!("memory of the target: {before} before, {during} while 48 MiB are held by a session");
    ensure!(seen.starts_with("big\n") && seen.contains("purser-debug"), "{seen}");
    ensure!((during - before).abs() < NOISE, "the target's memory went from {before} to {during}");
    Ok(())
}

/// Whoever asks for cores of own programs has none of a session's written into the target.
#[test]
fn a_tool_that_crashes_leaves_no_core() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("crash", &["-w", "/tmp"])?;
    let session = debug(&target.name, &[], &["raise", "11"])?;
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh"]).arg(session.get_program());
    let output = output(limited.args(session.get_args()))?;
    ensure!(output.status.code() == Some(139), "{}", output.status);
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}

/// The file that counts the memory of a process's cgroup.
pub(super) fn usage_of(pid: i32) -> Result<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let of = |head: &str| {
        text.lines()
            .find_map(|line| line.split_once(head))
            .map(|(_, path)| path.trim_start_matches('/').to_owned())
    };
    Ok(match of(":memory:") {
        Some(path) => PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.usage_in_bytes"),
        None => PathBuf::from("/sys/fs/cgroup").join(of("0::").context("no cgroup")?).join("memory.current"),
    })
}

pub(super) fn read(file: &PathBuf) -> Result<i64> {
    Ok(fs::read_to_string(file)?.trim().parse()?)
}

#[test]
fn nothing_stays_behind() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("behind", &[])?;
    let (processes, before) = (target.processes()?, marks());
    // Processes in the background, in sessions of their own, and that nobody waits for.
    let script = "for i in 1 2 3 4 5; do (setsid sleep 1000 &) ; done; sh -c 'sleep 1000 & sleep 1000 &' ; echo started";
    let told = printed(&target.name, &[], &["sh", "-c", script])?;
    ensure!(told == "started\n", "{told}");
    // At once: the command has waited for it.
    ensure!(target.processes()? == processes, "processes are left in the target");
    nothing_is_left(&before)?;
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(".purser"), "a mount is left on the host: {mounts}");
    let of_target = fs::read_to_string(format!("/proc/{}/mountinfo", target.pid))?;
    ensure!(!of_target.contains(".purser"), "a mount is left in the target: {of_target}");
    Ok(())
}

/// A root in the target that may trace everything holds the warden's program open, waits for the end of the
/// session, after which the file is not busy any more, and writes.
#[test]
fn nobody_writes_to_this_program() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("exe", &["--cap-add", "SYS_PTRACE", "--cap-add", "SYS_ADMIN"])?;
    // A file of its own: one that is running anywhere cannot be written for that alone.
    let dir = TempDir::with_prefix_in("exe-", temporary())?;
    let copy = dir.path().join("purser");
    fs::copy(env!("CARGO_BIN_EXE_purser"), &copy)?;
    let mut session = Command::new(&copy);
    session.args(debug(&target.name, &[], &["sleep", "1000"])?.get_args());
    let mut session = session.stdin(Stdio::null()).spawn()?;
    let script = "while :; do for p in /proc/[0-9]*; do read name < $p/comm; [ \"$name\" = purser-warden ] && break 2; done; done; \
                  exec 7<$p/exe; echo held; read line; echo x >> /proc/self/fd/7";
    let mut exec = Command::new("docker");
    exec.args(["exec", "-i", &target.name, "sh", "-c", script]);
    let mut thief = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut held = [0; 5];
    let seen = std::io::Read::read_exact(thief.stdout.as_mut().context("no output")?, &mut held);
    session.kill()?;
    session.wait()?;
    wait_until("nobody runs the file", || {
        // By its inode: the path is that in a mount which nobody sees.
        let own = fs::metadata(&copy)?.ino();
        let runs =
            |entry: fs::DirEntry| fs::metadata(entry.path().join("exe")).is_ok_and(|exe| exe.ino() == own);
        Ok(!fs::read_dir("/proc")?.flatten().any(runs))
    })?;
    drop(thief.stdin.take());
    let tried = thief.wait_with_output()?;
    seen?;
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    ensure!(&held == b"held\n" && !tried.status.success(), "it could be written: {said}");
    ensure!(said.contains("Read-only file system"), "{said}");
    Ok(())
}

#[test]
fn ports_of_the_target_are_ports_of_the_host() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (
        Container::start("forward", &[], IMAGE, &["busybox", "nc", "-ll", "-p", "7777", "-e", "cat"])?,
        marks(),
    );
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let word = format!("{port}:7777");
    let mut client = debug(&target.name, &["-L", &word], &[])?.spawn()?;
    let mut echoed = Err(anyhow::anyhow!("nobody answers"));
    wait_until("the port answers", || {
        echoed = echo(port);
        Ok(echoed.as_ref().is_ok_and(|text| text == "through and back"))
    })?;
    // The target has no network but its loopback device, and no process more.
    ensure!(target.processes()?.len() <= 2, "something runs in the target");
    signal(client.id(), "INT")?;
    let ended = wait_limited(&mut client, LIMIT)?.context("the client does not end")?;
    ensure!(ended.code() == Some(130), "{ended}");
    ensure!(echo(port).is_err(), "the port is still open");
    // A port that somebody has is told.
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let word = format!("{}:7777", taken.local_addr()?.port());
    let refused = output(&mut debug(&target.name, &["-L", &word], &[])?)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(125) && said.contains("listening on 127.0.0.1:"), "{said}");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    nothing_is_left(&before)
}

fn echo(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"through and back")?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
