// SPDX-License-Identifier: Apache-2.0
//! Attempts to get out of a session, and out of a target through one: files of the host that can be written,
//! held, run or remounted. Each attempt that must fail here has a control that shows that it can succeed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::terminal::Person;
use super::{Container, compiled, debug, kits, printed, wait_until};
use crate::lab::{Lab, run};

/// What Docker gives a target that is to be as bad as it can.
const HOSTILE: [&str; 10] = [
    "--cap-add",
    "SYS_ADMIN",
    "--cap-add",
    "SYS_PTRACE",
    "--cap-add",
    "DAC_READ_SEARCH",
    "--security-opt",
    "seccomp=unconfined",
    "--security-opt",
    "apparmor=unconfined",
];
/// The same for a session.
const STRONG: [&str; 6] =
    ["--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--cap-add", "DAC_READ_SEARCH"];
/// Where the kit of these tests is in a session.
const KIT: &str = "/dev/.purser/base";

/// A program of tests/debug in the kit.
fn attempt(name: &str) -> Result<String> {
    compiled(name, &kits()?.join("base/root/bin"))?;
    Ok(format!("{KIT}/bin/{name}"))
}

/// A file of the kit that somebody is to write to, and what it is like.
fn victim() -> Result<(u64, i64, Vec<u8>)> {
    let path = kits()?.join("base/root/bin/victim");
    if !path.exists() {
        fs::write(&path, "untouched")?;
    }
    let meta = fs::metadata(&path)?;
    Ok((meta.ino(), meta.ctime_nsec(), fs::read(path)?))
}

/// A session that sleeps in a target, and its program's number in there.
struct Sleeping {
    client: Child,
}

impl Sleeping {
    fn begin(target: &Container, options: &[&str]) -> Result<Sleeping> {
        let mut client = debug(&target.name, options, &["sleep", "1234"])?;
        let client = client.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        wait_until("the session sleeps", || Ok(inner_pid(target)?.is_some()))?;
        Ok(Sleeping { client })
    }

    fn end(mut self) -> Result<()> {
        self.client.kill()?;
        self.client.wait().map(drop).context("waiting for the client")
    }
}

/// The number that the sleeping program has in the target.
fn inner_pid(target: &Container) -> Result<Option<String>> {
    let sleeps =
        |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001234\0");
    let found = target.processes()?.into_iter().find(sleeps);
    let inner = found.and_then(|pid| super::status(pid, "NSpid"));
    Ok(inner.and_then(|all| all.split_whitespace().next_back().map(str::to_owned)))
}

fn tried(told: &str, at_least: usize) -> Result<()> {
    let count = told.lines().find_map(|line| line.strip_prefix("TRIED ")?.parse::<usize>().ok());
    ensure!(count.is_some_and(|count| count >= at_least), "not enough was tried: {told}");
    ensure!(!told.contains("WROTE"), "something could be written: {told}");
    Ok(())
}

/// What processes in the target run and hold: that of its own first process could be written, and nothing else.
fn of_processes(told: &str) -> Result<()> {
    let written: Vec<&str> = told.lines().filter(|line| line.starts_with("WROTE")).collect();
    let foreign: Vec<&&str> = written.iter().filter(|line| !line.contains(" /proc/1/")).collect();
    ensure!(foreign.is_empty(), "a file of the session or the host could be written: {foreign:?}");
    ensure!(!written.is_empty(), "not even a file of the target could be written: {told}");
    Ok(())
}

/// A session with SYS_ADMIN may remount what it likes; the kit stays as it is, on the host and for others.
#[test]
fn a_session_cannot_write_to_a_kit() -> Result<()> {
    let _lab = Lab::enter()?;
    let (writer, before) = (attempt("writer")?, victim()?);
    let target = Container::idle("kitwriter", &[])?;
    let control = printed(&target.name, &STRONG, &[&writer, "control"])?;
    for way in ["remount,bind", "mount_setattr", "a new bind", "open_tree", "open_tree, move_mount"] {
        ensure!(control.lines().any(|line| line == format!("WROTE {way}")), "{way} did not go: {control}");
    }
    for way in ["dev", "new"] {
        let options = [&["--root", way], STRONG.as_slice()].concat();
        tried(&printed(&target.name, &options, &[&writer, KIT, "bin/victim"])?, 8)?;
        // Its own processes: the warden's program is purser's file, its own is the kit's.
        let told = printed(&target.name, &options, &[&writer, "processes"])?;
        of_processes(&told)?;
    }
    // All rights there are.
    tried(&printed(&target.name, &["--privileged"], &[&writer, KIT, "bin/victim"])?, 8)?;
    ensure!(victim()? == before, "the kit has changed on the host");
    Ok(())
}

/// The target's root has SYS_ADMIN and SYS_PTRACE: it enters the session's mount namespace, goes through
/// /proc/PID/root, and through what the session's processes run and hold.
#[test]
fn a_target_cannot_write_to_a_kit() -> Result<()> {
    let _lab = Lab::enter()?;
    let (_, before) = (attempt("writer")?, victim()?);
    let own = fs::metadata(env!("CARGO_BIN_EXE_purser"))?;
    let target = Container::idle("hostile", &HOSTILE)?;
    let writer = kits()?.join("base/root/bin/writer");
    run(Command::new("docker").arg("cp").arg(&writer).arg(format!("{}:/bin/writer", target.name)))?;
    let exec = |words: &[&str]| {
        let mut exec = Command::new("docker");
        exec.args(["exec", &target.name, "/bin/writer"]).args(words);
        run(&mut exec)
    };
    let control = exec(&["control"])?;
    ensure!(control.contains("WROTE remount,bind\n"), "the target cannot remount: {control}");
    let session = Sleeping::begin(&target, &[])?;
    let pid = inner_pid(&target)?.context("no program")?;
    // The first cannot know the place but through /proc, the second stands in the session's mounts.
    let through = exec(&[&format!("/proc/{pid}/root{KIT}"), "bin/victim"])?;
    let inside = exec(&[KIT, "bin/victim", &pid])?;
    let processes = exec(&["processes"])?;
    session.end()?;
    tried(&through, 4).context("through /proc/PID/root")?;
    tried(&inside, 8).context("in the session's mount namespace")?;
    of_processes(&processes)?;
    ensure!(victim()? == before, "the kit has changed on the host");
    let after = fs::metadata(env!("CARGO_BIN_EXE_purser"))?;
    ensure!((after.ino(), after.ctime(), after.ctime_nsec()) == (own.ino(), own.ctime(), own.ctime_nsec()));
    Ok(())
}

/// All that a session brings into a target beside the target's own, from within, with the rights that a session usually
/// has: files of the kernel, device nodes, hierarchies of cgroups, the warden, descriptors, handles, namespaces.
#[test]
fn a_session_does_not_get_out() -> Result<()> {
    let _lab = Lab::enter()?;
    let escape = attempt("escape")?;
    let target = Container::idle("escape", &[])?;
    let hard = Container::hardened("escapehard")?;
    for target in [&target, &hard] {
        for way in ["dev", "new"] {
            let told = printed(&target.name, &["--root", way], &[&escape])?;
            ensure!(!told.contains("OUT") && !told.contains("TYPED"), "{way}: {told}");
            let count = told.lines().find_map(|line| line.strip_prefix("TRIED ")?.parse::<u32>().ok());
            ensure!(count.is_some_and(|count| count >= 40), "{way}: not enough was tried: {told}");
        }
    }
    // What the client's caller has open stays on the host.
    let session = debug(&target.name, &[], &[&escape])?;
    let mut open = Command::new("sh");
    open.args(["-c", "exec 7</etc/passwd 9>/dev/null; exec \"$@\"", "sh"]);
    let told = run(open.arg(session.get_program()).args(session.get_args()))?;
    ensure!(!told.contains("OUT"), "{told}");
    // On the host's own mounts, and with all rights, the same files can be opened.
    let mut child = Command::new("sleep").arg("1000").spawn()?;
    let control = printed(&format!("pid:{}", child.id()), &["--privileged"], &[&escape, "control"]);
    child.kill()?;
    child.wait()?;
    ensure!(
        control.as_ref().is_ok_and(|told| told.contains("OUT /proc/sys/kernel/core_pattern")),
        "{control:?}"
    );
    Ok(())
}

/// A target with SYS_PTRACE and SYS_ADMIN looks at the session's processes for another root or directory than its own.
#[test]
fn a_target_finds_no_way_through_a_session() -> Result<()> {
    let _lab = Lab::enter()?;
    attempt("escape")?;
    let target = Container::idle("through", &HOSTILE)?;
    let escape = kits()?.join("base/root/bin/escape");
    run(Command::new("docker").arg("cp").arg(&escape).arg(format!("{}:/bin/escape", target.name)))?;
    let session = Sleeping::begin(&target, &[])?;
    let told = run(Command::new("docker").args(["exec", &target.name, "/bin/escape"]));
    session.end()?;
    let told = told?;
    // Its own root is an overlay, the session's is a copy of that: the very same, or below it.
    ensure!(!told.contains("of a process") && told.contains("TRIED"), "{told}");
    Ok(())
}

/// Bytes that a program of the session pushes into its terminal stay in the target's: the person's own is empty when the
/// session is over.
#[test]
fn nothing_is_typed_on_the_hosts_terminal() -> Result<()> {
    let _lab = Lab::enter()?;
    let escape = attempt("escape")?;
    let target = Container::idle("typed", &[])?;
    let mut person = Person::at(debug(&target.name, &[], &[&escape])?)?;
    person.sees("TRIED")?;
    ensure!(person.ends()? == Some(0), "another exit code");
    ensure!(person.has_nothing_to_read()?, "something was typed on the host's terminal: {}", person.seen());
    Ok(())
}
