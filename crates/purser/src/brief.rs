// SPDX-License-Identifier: Apache-2.0
//! Runs a program that must end soon and say little, such as one that prints a secret. What it started
//! holds nobody up, whatever it keeps open, and ends with it. Never judges what the program said.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    /// At most one byte more than allowed, so that too much is noticed.
    pub(crate) out: Vec<u8>,
    /// No more than that either.
    pub(crate) errors: Vec<u8>,
}

/// Runs `command` in a process group of its own, with what it has as input: [`Stdio::null`], or a pipe that is written
/// and closed already. `None` when it has not ended within `patience`; it
/// is no more then. Of each output `limit` bytes and one more are kept, the rest is thrown away.
pub(crate) fn fed(
    command: &mut Command,
    input: Stdio,
    patience: Duration,
    limit: usize,
) -> io::Result<Option<Said>> {
    let end = Instant::now() + patience;
    let quiet = command.process_group(0).stdin(input);
    let mut child = quiet.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let listened = listen(&mut child, end, limit + 1);
    // Before its end is taken note of, so that the number of the group is still its own. It may be empty by now.
    kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap_or_default();
    let status = child.wait()?;
    Ok(listened?.map(|[out, errors]| Said { status, out, errors }))
}

/// The same without input.
pub(crate) fn run(command: &mut Command, patience: Duration, limit: usize) -> io::Result<Option<Said>> {
    fed(command, Stdio::null(), patience, limit)
}

/// What it says until its end; `None` when that does not come in time.
fn listen(child: &mut Child, end: Instant, keep: usize) -> io::Result<Option<[Vec<u8>; 2]>> {
    let ending = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let (Some(out), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the program has no output"));
    };
    let mut out = Pipe::new(out, keep)?;
    let mut errors = Pipe::new(errors, keep)?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut awaited = vec![PollFd::new(&ending, PollFlags::IN)];
        awaited.extend(out.awaited());
        awaited.extend(errors.awaited());
        match poll(&mut awaited, Some(&Timespec::try_from(left).map_err(io::Error::other)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Looked at first: what it said before its end is in the pipes by then.
        let is_over = awaited.first().is_some_and(|ending| !ending.revents().is_empty());
        out.read()?;
        errors.read()?;
        if is_over {
            return Ok(Some([out.kept, errors.kept]));
        }
    }
}

/// One of its outputs.
struct Pipe<R> {
    end: R,
    kept: Vec<u8>,
    keep: usize,
    is_closed: bool,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(end: R, keep: usize) -> io::Result<Pipe<R>> {
        fcntl_setfl(&end, OFlags::NONBLOCK)?;
        Ok(Pipe { end, kept: Vec::new(), keep, is_closed: false })
    }

    fn awaited(&self) -> Option<PollFd<'_>> {
        (!self.is_closed).then(|| PollFd::new(&self.end, PollFlags::IN))
    }

    /// Takes what is there, once: a program that never stops talking is left at its time all the same.
    fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; 64 << 10];
        match self.end.read(&mut piece) {
            Ok(0) => self.is_closed = true,
            Ok(length) => {
                let length = length.min(self.keep - self.kept.len());
                self.kept.extend(piece.iter().take(length));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::process::Command;
    use std::time::{Duration, Instant};

    /// Shorter than what nobody is to wait for.
    const LONG: Duration = Duration::from_secs(300);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_it_said_and_how_it_ended() {
        let said = run(&mut shell("echo out; echo err >&2; exit 3"), LONG, 100).unwrap().unwrap();
        assert_eq!((said.status.code(), said.out, said.errors), (Some(3), b"out\n".into(), b"err\n".into()));
        let said = run(&mut shell("head -c 300000 /dev/zero"), LONG, 100).unwrap().unwrap();
        assert_eq!((said.status.code(), said.out.len()), (Some(0), 101));
    }

    #[test]
    fn nobody_waits_for_what_it_started_or_for_one_that_stays() {
        let start = Instant::now();
        let said = run(&mut shell("sleep 777 & echo $!"), LONG, 100).unwrap().unwrap();
        let started = String::from_utf8(said.out).unwrap();
        let is_gone = || !std::path::Path::new("/proc").join(started.trim()).join("exe").exists();
        while !is_gone() && start.elapsed() < LONG {}
        assert!(is_gone());
        for stays in ["exec >&- 2>&-; exec sleep 777", "yes"] {
            assert!(run(&mut shell(stays), Duration::from_millis(200), 100).unwrap().is_none());
        }
        assert!(start.elapsed() < LONG);
    }
}
