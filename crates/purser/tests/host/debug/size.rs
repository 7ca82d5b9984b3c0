// SPDX-License-Identifier: Apache-2.0
//! Fidelity at size: a gigabyte through a session, a hundred sessions at once, every exit code there is, and what
//! the kernel saw of all that in the target's file systems, which is nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::traces::{read, usage_of};
use super::{Container, debug, kits, marks, nothing_is_left, processes_like, status, wait_until};
use crate::kill9::setting;
use crate::lab::{Lab, output, run, source_dir, temporary};

/// Signals that do not end a process by themselves: CHLD, CONT, four that stop it, URG and WINCH.
const HARMLESS: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];
/// The highest number of a signal.
const SIGNALS: i32 = 64;
/// Those that a C library keeps for itself.
const RESERVED: [i32; 2] = [32, 33];
const WORKERS: usize = 4;
const SESSIONS: u32 = 100;
/// What a client may take, in kB.
const CLIENT_LIMIT: u64 = 30_000;
/// The kernel counts in batches for each CPU.
const NOISE: i64 = 512 << 10;
const PIPE_MIB: u32 = 1024;

#[test]
fn every_exit_code_and_signal() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("every", &[])?;
    kits()?;
    let ends = |signal: &i32| !HARMLESS.contains(signal) && !RESERVED.contains(signal);
    let codes = (0..=255).map(|code| (vec!["sh".to_owned(), "-c".into(), format!("exit {code}")], code));
    // Not by a shell, which has ideas of its own about some of them; and by a client that was started in the
    // background, whose own two signals are ignored.
    let signals = (1..=SIGNALS).filter(ends);
    let signals = signals.map(|signal| (vec!["raise".to_owned(), signal.to_string()], 128 + signal));
    let all: Vec<(Vec<String>, i32)> = codes.chain(signals).collect();
    let begun = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = all
            .chunks(all.len().div_ceil(WORKERS))
            .map(|share| {
                scope.spawn(|| share.iter().try_for_each(|(script, code)| ends_so(&target, script, *code)))
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })?;
    println!("{} sessions in {:?}", all.len(), begun.elapsed());
    Ok(())
}

fn ends_so(target: &Container, command: &[String], wanted: i32) -> Result<()> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let session = debug(&target.name, &[], &words)?;
    let mut deaf = Command::new("sh");
    deaf.args(["-c", "trap '' INT QUIT; exec \"$@\"", "sh"])
        .arg(session.get_program())
        .args(session.get_args());
    let ended = output(&mut deaf)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(wanted) && said.is_empty(), "{command:?}: {} {said}", ended.status);
    Ok(())
}

/// In and out at once. PURSER_PIPE_MIB sets how much.
#[test]
fn a_gigabyte_comes_back() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("gigabyte", &[])?;
    let size = u64::from(setting("PURSER_PIPE_MIB", PIPE_MIB)?) << 20;
    // Bytes that no two blocks have alike, as fast as a pipe takes them.
    let cipher = "openssl enc -aes-128-ctr -nosalt -K 000102030405060708090a0b0c0d0e0f -iv 00000000000000000000000000000000";
    let bytes = format!("head -c {size} /dev/zero | {cipher}");
    let sum = |through: &str| {
        run(Command::new("sh").args(["-c", &format!("{bytes} | {through} openssl dgst -sha256 -r")]))
    };
    let words = |command: &Command| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    };
    let wanted = sum("")?;
    let begun = Instant::now();
    let got = sum(&format!("{} |", words(&debug(&target.name, &[], &["cat"])?)))?;
    let took = begun.elapsed();
    ensure!(got == wanted, "what came back is another: {got} is not {wanted}");
    println!("{} MiB in and out through pipes in {took:?}", size >> 20);
    // From a file and into one, which the program must not have itself: the client passes on.
    let (from, to) = (temporary().join("size.in"), temporary().join("size.out"));
    let part = size / 4;
    run(Command::new("sh")
        .arg("-c")
        .arg(format!("head -c {part} /dev/zero | {cipher} > {}", from.display())))?;
    let begun = Instant::now();
    let status = debug(&target.name, &[], &["cat"])?
        .stdin(fs::File::open(&from)?)
        .stdout(fs::File::create(&to)?)
        .status()?;
    println!("{} MiB from a file and into one in {:?}", part >> 20, begun.elapsed());
    run(Command::new("cmp").arg(&from).arg(&to)).context("the file that came out is another")?;
    ensure!(status.success(), "{status}");
    fs::remove_file(from)?;
    Ok(fs::remove_file(to)?)
}

/// A session that waits for a line.
struct Waiting {
    client: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Waiting {
    fn begin(target: &str, code: u32) -> Result<Waiting> {
        let script = format!("echo in; read line; echo \"$line {code}\"; exit {code}");
        let mut client = debug(target, &[], &["sh", "-c", &script])?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = client.stdin.take().context("no pipe")?;
        let output = BufReader::new(client.stdout.take().context("no pipe")?);
        Ok(Waiting { client, input, output })
    }

    fn says(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    fn end(mut self, code: u32) -> Result<()> {
        writeln!(self.input, "line")?;
        let said = self.says()?;
        let status = self.client.wait()?;
        ensure!(said == format!("line {code}\n"), "{said:?} of session {code}");
        ensure!(status.code() == i32::try_from(code).ok(), "{status} of session {code}");
        Ok(())
    }
}

#[test]
fn a_hundred_at_once() -> Result<()> {
    let _lab = Lab::enter()?;
    // Hardly any room of its own, and none for another process.
    let target = Container::idle("hundred", &["--memory", "32m", "--pids-limit", "1"])?;
    let (processes, before) = (processes_like(target.pid)?, marks());
    let (usage, sessions) = (usage_of(target.pid)?, setting("PURSER_SESSIONS", SESSIONS)?.min(255));
    let idle = read(&usage)?;
    let begun = Instant::now();
    let mut waiting =
        (0..sessions).map(|code| Waiting::begin(&target.name, code)).collect::<Result<Vec<_>>>()?;
    for (code, session) in waiting.iter_mut().enumerate() {
        let said = session.says()?;
        ensure!(said == "in\n", "session {code} says {said:?}");
    }
    let took = begun.elapsed();
    ensure!(
        processes_like(target.pid)?.len() >= processes.len() + 2 * sessions as usize,
        "not all are in there"
    );
    let busy = read(&usage)?;
    let memory = |session: &Waiting| -> Result<u64> {
        let pid = i32::try_from(session.client.id())?;
        let most = status(pid, "VmHWM").context("no VmHWM")?;
        Ok(most.trim_end_matches(" kB").parse()?)
    };
    let most = waiting.iter().map(memory).collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
    println!(
        "{sessions} sessions in {took:?}; a client takes at most {most} kB, the target {idle} bytes before and {busy} with them"
    );
    for (session, code) in waiting.into_iter().zip(0..) {
        session.end(code)?;
    }
    // Unoptimised, the program itself is several times as large.
    ensure!(most <= CLIENT_LIMIT || cfg!(debug_assertions), "a client takes {most} kB");
    ensure!((busy - idle).abs() < NOISE, "the target's memory went from {idle} to {busy}");
    target.is_as_before(&processes)?;
    nothing_is_left(&before)
}

/// What changes in the target's file systems, told by the kernel while this lives.
struct Watch(Child, BufReader<ChildStdout>);

impl Watch {
    fn begin(pid: i32) -> Result<Watch> {
        let program = temporary().join("watch");
        let source = source_dir().join("debug/watch.c");
        run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(source))?;
        let paths = ["", "dev/", "dev/shm/"].map(|path| format!("/proc/{pid}/root/{path}."));
        let mut child =
            Command::new(program).args(paths).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        ensure!(line == "watching\n", "it does not watch: {line:?}");
        Ok(Watch(child, lines))
    }

    fn end(mut self) -> Result<String> {
        drop(self.0.stdin.take());
        let mut rest = String::new();
        self.1.read_to_string(&mut rest)?;
        ensure!(self.0.wait()?.success(), "the watcher failed");
        Ok(rest)
    }
}

#[test]
fn the_kernel_sees_no_change() -> Result<()> {
    let _lab = Lab::enter()?;
    for target in [Container::idle("watched", &[])?, Container::hardened("shut")?] {
        let watch = Watch::begin(target.pid)?;
        for way in ["dev", "new"] {
            // All that works without a change: reading, listing, a home, both streams, a terminal of the session's.
            let script = "ls -la / /dev /etc >/dev/null; cat; touch $HOME/mine; echo more >> $HOME/mine; \
                          grep -c . /proc/self/mountinfo >/dev/null; (sleep 0 &); exit 3";
            let mut client = debug(&target.name, &["--root", way], &["sh", "-c", script])?
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            client.stdin.take().context("no pipe")?.write_all(&[7; 100_000])?;
            ensure!(client.wait()?.code() == Some(3), "{way}: another exit code");
        }
        // One that is killed in the middle.
        let mut client = debug(&target.name, &[], &["sleep", "1000"])?.stdin(Stdio::null()).spawn()?;
        wait_until("the session is in the target", || Ok(target.processes()?.len() >= 3))?;
        client.kill()?;
        client.wait()?;
        wait_until("it has gone", || Ok(target.processes()?.len() == 1))?;
        let seen = watch.end()?;
        ensure!(seen.is_empty(), "the target's file systems were changed:\n{seen}");
        ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    }
    // And the watch sees what there is to see.
    let target = Container::idle("seen", &[])?;
    let watch = Watch::begin(target.pid)?;
    let written = super::printed(
        &target.name,
        &[],
        &["sh", "-c", "echo x > /tmp/made; echo x > /dev/shm/made 2>&1; echo done"],
    )?;
    ensure!(written.ends_with("done\n"), "{written}");
    let seen = watch.end()?;
    ensure!(seen.contains("write ") && seen.contains(" made\n"), "nothing was seen: {seen:?}");
    Ok(())
}
