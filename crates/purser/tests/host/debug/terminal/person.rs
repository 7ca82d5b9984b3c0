// SPDX-License-Identifier: Apache-2.0
//! A real terminal, and who sits at it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::super::{status, wait_until};
use crate::lab::{signal, wait_limited};

const LIMIT: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(10);
/// The prompt of a shell of this host.
pub(super) const HOST: &str = "of-the-host> ";

/// A terminal with a person at it who reads everything.
pub(in super::super) struct Person {
    master: File,
    slave: OwnedFd,
    client: Child,
    seen: Vec<u8>,
}

/// A terminal: both sides.
pub(super) fn terminal(rows: u16, columns: u16) -> Result<(File, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((master.into(), slave))
}

/// All three streams of a command.
pub(super) fn connect(command: &mut Command, terminal: &OwnedFd) -> Result<()> {
    let stream = || terminal.try_clone().map(Stdio::from);
    command.stdin(stream()?).stdout(stream()?).stderr(stream()?);
    Ok(())
}

impl Person {
    pub(in super::super) fn at(command: Command) -> Result<Person> {
        Person::at_size(command, 24, 80)
    }

    pub(super) fn at_size(mut command: Command, rows: u16, columns: u16) -> Result<Person> {
        command.env("TERM", "xterm");
        Person::as_is(command, rows, columns)
    }

    /// Without a word on which terminal it is.
    pub(super) fn as_is(mut command: Command, rows: u16, columns: u16) -> Result<Person> {
        let (master, slave) = terminal(rows, columns)?;
        connect(&mut command, &slave)?;
        Ok(Person { master, slave, client: command.spawn()?, seen: Vec::new() })
    }

    /// At a terminal that takes letters of several bytes for one, or does not.
    pub(super) fn with_letters(mut command: Command, utf8: bool) -> Result<Person> {
        let (master, slave) = terminal(24, 80)?;
        let mut state = tcgetattr(&slave)?;
        state.input_modes.set(InputModes::IUTF8, utf8);
        tcsetattr(&slave, OptionalActions::Now, &state)?;
        connect(&mut command, &slave)?;
        Ok(Person { master, slave, client: command.spawn()?, seen: Vec::new() })
    }

    /// Beside a terminal that the command has some of its streams from.
    pub(super) fn beside(master: File, slave: OwnedFd, client: Child) -> Person {
        Person { master, slave, client, seen: Vec::new() }
    }

    /// At a shell of this host, with jobs.
    pub(super) fn at_a_shell() -> Result<Person> {
        let mut shell = Command::new("setsid");
        shell.args(["--ctty", "bash", "--norc", "--noprofile", "-i"]).env("PS1", HOST).env_remove("HISTFILE");
        let mut person = Person::at(shell)?;
        person.sees(HOST)?;
        Ok(person)
    }

    pub(in super::super) fn types(&mut self, text: &str) -> Result<()> {
        self.types_bytes(text.as_bytes())
    }

    pub(super) fn types_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.seen.clear();
        Ok(self.master.write_all(bytes)?)
    }

    /// Reads until it is there.
    pub(in super::super) fn sees(&mut self, wanted: &str) -> Result<()> {
        let start = Instant::now();
        // Only what is new is looked at, and what it may have begun in before.
        let mut from = 0;
        while !contains(self.seen.get(from..).unwrap_or_default(), wanted.as_bytes()) {
            from = self.seen.len().saturating_sub(wanted.len());
            ensure!(start.elapsed() < LIMIT, "{wanted:?} does not come: {:?}", self.end_of_seen());
            self.reads()?;
        }
        Ok(())
    }

    /// What has come until now, as far as the last read got.
    pub(super) fn reads(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }))? > 0 {
            let length = self.master.read(&mut buffer)?;
            self.seen.extend(buffer.get(..length).unwrap_or_default());
        }
        Ok(())
    }

    fn end_of_seen(&self) -> String {
        let from = self.seen.len().saturating_sub(2000);
        String::from_utf8_lossy(self.seen.get(from..).unwrap_or_default()).into_owned()
    }

    pub(in super::super) fn has_seen(&self, wanted: &str) -> bool {
        contains(&self.seen, wanted.as_bytes())
    }

    /// A signal for the client.
    pub(in super::super) fn receives(&self, word: &str) -> Result<()> {
        signal(self.client.id(), word)
    }

    pub(in super::super) fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        // The kernel tells it to whoever has it as controlling terminal, which here is nobody.
        Ok(kill_process(Pid::from_child(&self.client), Signal::WINCH)?)
    }

    /// Whether it shows what is typed and gives whole lines, as it did in the beginning.
    pub(in super::super) fn is_cooked(&self) -> Result<bool> {
        Ok(tcgetattr(self.slave.as_fd())?.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON))
    }

    /// Whether the next program at this terminal would find no byte waiting.
    pub(in super::super) fn has_nothing_to_read(&self) -> Result<bool> {
        let mut raw = tcgetattr(&self.slave)?;
        raw.make_raw();
        tcsetattr(&self.slave, OptionalActions::Now, &raw)?;
        let mut polled = [PollFd::new(&self.slave, PollFlags::IN)];
        Ok(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }))? == 0)
    }

    pub(in super::super) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    pub(super) fn seen_bytes(&self) -> &[u8] {
        &self.seen
    }

    pub(super) fn client(&self) -> u32 {
        self.client.id()
    }

    /// The process that the shell, or the client, has started last.
    pub(super) fn child(&self) -> Result<u32> {
        let pid = self.client.id();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        text.split_whitespace().last().context("no child")?.parse().context("no number")
    }

    /// The other side of the terminal, for somebody who types while this one reads.
    pub(super) fn hands(&self) -> Result<File> {
        Ok(self.master.try_clone()?)
    }

    /// Closes the terminal and gives the client back.
    pub(super) fn walks_away(self) -> Child {
        self.client
    }

    /// Waits until the client has ended, and goes on reading meanwhile.
    pub(in super::super) fn ends(&mut self) -> Result<Option<i32>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.client.try_wait()? {
                // What it has shown last.
                while self.has_more()? {
                    self.reads()?;
                }
                return Ok(status.code());
            }
            if start.elapsed() > END {
                bail!("the client does not end: {:?}", self.end_of_seen());
            }
            if self.has_more()? {
                self.reads()?;
            } else {
                wait_limited(&mut self.client, Duration::from_millis(1))?;
            }
        }
    }

    /// As `ends`, and reads nothing.
    pub(super) fn ends_unread(&mut self) -> Result<Option<i32>> {
        Ok(wait_limited(&mut self.client, END)?.context("the client does not end")?.code())
    }

    /// Whether so much is unread that the terminal takes nothing more: a page, in every Linux.
    pub(super) fn is_full(&self) -> Result<bool> {
        Ok(rustix::io::ioctl_fionread(&self.master)? >= 4000)
    }

    fn has_more(&self) -> Result<bool> {
        let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
        Ok(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
    }
}

fn contains(all: &[u8], wanted: &[u8]) -> bool {
    all.windows(wanted.len().max(1)).any(|part| part == wanted)
}

/// Waits until a process is in a state, such as T for one that is stopped.
pub(super) fn wait_for_state(pid: u32, wanted: char) -> Result<()> {
    let pid = i32::try_from(pid)?;
    wait_until(&format!("process {pid} is in state {wanted}"), || {
        Ok(status(pid, "State").is_some_and(|state| state.starts_with(wanted)))
    })
}

/// A command as a line for a shell.
pub(super) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}
