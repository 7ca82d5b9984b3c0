// SPDX-License-Identifier: Apache-2.0
//! A session as somebody at a terminal has it: the terminal is the target's, keys and sizes arrive, leaving
//! and coming back works, and the own terminal is what it was afterwards, whatever happened.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use serde_json::Value;

use super::{Container, debug, marks, nothing_is_left, wait_until};
use crate::agent::purser;
use crate::lab::{Lab, run, signal, wait_limited};

const LIMIT: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(10);

/// A terminal with a person at it who reads everything.
pub(super) struct Person {
    master: File,
    slave: OwnedFd,
    client: Child,
    seen: String,
}

impl Person {
    pub(super) fn at(mut command: Command) -> Result<Person> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        unlockpt(&master)?;
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let stream = || slave.try_clone().map(Stdio::from);
        command.stdin(stream()?).stdout(stream()?).stderr(stream()?).env("TERM", "xterm");
        let mut person =
            Person { master: master.into(), slave, client: command.spawn()?, seen: String::new() };
        person.resize(24, 80)?;
        Ok(person)
    }

    pub(super) fn types(&mut self, text: &str) -> Result<()> {
        self.seen.clear();
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Reads until it is there.
    pub(super) fn sees(&mut self, wanted: &str) -> Result<()> {
        let start = Instant::now();
        let mut buffer = [0; 4096];
        while !self.seen.contains(wanted) {
            ensure!(start.elapsed() < LIMIT, "{wanted:?} does not come: {:?}", self.seen);
            let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
            if poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }))? > 0 {
                let length = self.master.read(&mut buffer)?;
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        }
        Ok(())
    }

    pub(super) fn has_seen(&self, wanted: &str) -> bool {
        self.seen.contains(wanted)
    }

    /// A signal for the client.
    pub(super) fn receives(&self, word: &str) -> Result<()> {
        signal(self.client.id(), word)
    }

    pub(super) fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        // The kernel tells it to whoever has it as controlling terminal, which here is nobody.
        signal(self.client.id(), "WINCH")
    }

    /// Whether it shows what is typed and gives whole lines, as it did in the beginning.
    pub(super) fn is_cooked(&self) -> Result<bool> {
        Ok(tcgetattr(self.slave.as_fd())?.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON))
    }

    /// Whether the next program at this terminal would find no byte waiting.
    pub(super) fn has_nothing_to_read(&self) -> Result<bool> {
        let mut raw = tcgetattr(&self.slave)?;
        raw.make_raw();
        tcsetattr(&self.slave, OptionalActions::Now, &raw)?;
        let mut polled = [PollFd::new(&self.slave, PollFlags::IN)];
        Ok(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }))? == 0)
    }

    pub(super) fn seen(&self) -> &str {
        &self.seen
    }

    pub(super) fn ends(&mut self) -> Result<Option<i32>> {
        let status = wait_limited(&mut self.client, END)?.context("the client does not end")?;
        Ok(status.code())
    }
}

fn sessions(target: &str) -> Result<Vec<Value>> {
    let text = run(purser().args(["debug", "sessions", "-o", "json"]))?;
    let all = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|one| one["target"] == target).collect())
}

fn begin(target: &Container) -> Result<Person> {
    let mut person = Person::at(debug(&target.name, &[], &["sh"])?)?;
    person.sees("# ")?;
    ensure!(!person.is_cooked()?, "the terminal is not raw while the session has it");
    Ok(person)
}

/// Whether a process in the target has become a sleep of so many seconds.
fn sleeps(target: &Container, seconds: &str) -> Result<bool> {
    let wanted = format!("sleep\0{seconds}\0");
    let line = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Ok(target.processes()?.iter().any(|pid| line(pid) == wanted))
}

#[test]
fn keys_sizes_and_jobs() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("keys", &[])?, marks());
    let mut person = Person::at(debug(&target.name, &["-it"], &["sh"])?)?;
    person.sees("capabilities: CHOWN")?;
    person.sees("# ")?;
    person.resize(33, 111)?;
    person.types("tty; stty size; echo $TERM-$((6*7))\r")?;
    person.sees("xterm-42")?;
    ensure!(person.seen.contains("/dev/pts/") && person.seen.contains("33 111"), "{}", person.seen);
    person.types("sleep 1000\r")?;
    person.sees("sleep 1000")?;
    wait_until("sleep runs", || sleeps(&target, "1000"))?;
    person.types("\x1a")?;
    person.sees("Stopped")?;
    person.types("kill -9 %1; wait; sleep 1001\r")?;
    person.sees("sleep 1001")?;
    wait_until("only the new sleep runs", || sleeps(&target, "1001"))?;
    person.types("\x03")?;
    person.sees("# ")?;
    person.types("exit 19\r")?;
    ensure!(person.ends()? == Some(19), "another exit code");
    ensure!(person.is_cooked()?, "the terminal is left raw");
    nothing_is_left(&before)
}

#[test]
fn leaving_and_coming_back() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("leave", &[])?, marks());
    let mut first = begin(&target)?;
    first.types("word=remembered; echo on-the-screen\r")?;
    first.sees("\non-the-screen")?;
    first.types("\x10\x11")?;
    first.sees("goes on")?;
    ensure!(first.ends()? == Some(0) && first.is_cooked()?, "leaving left the terminal raw");
    let list = sessions(&target.name)?;
    let [session] = list.as_slice() else { anyhow::bail!("not one session: {list:?}") };
    ensure!(session["is_attached"] == false && session["command"] == "sh", "{session}");
    let id = session["id"].as_str().context("a session without an id")?.to_owned();
    let attach = || {
        let mut attach = purser();
        attach.args(["debug", "attach", &id[..6]]);
        attach
    };
    let mut second = Person::at(attach())?;
    second.sees("on-the-screen")?;
    second.types("echo $word\r")?;
    second.sees("\nremembered")?;
    // Whoever comes last has it.
    let mut third = Person::at(attach())?;
    third.sees("remembered")?;
    second.sees("somebody else")?;
    ensure!(second.ends()? == Some(0) && second.is_cooked()?, "being sent away left the terminal raw");
    run(purser().args(["debug", "end", &id]))?;
    third.sees("the session was ended")?;
    ensure!(third.ends()? == Some(137) && third.is_cooked()?, "the end left the terminal raw");
    ensure!(sessions(&target.name)?.is_empty(), "the session is still listed");
    nothing_is_left(&before)?;
    let gone = purser().args(["debug", "attach", &id]).stdin(Stdio::null()).output()?;
    ensure!(gone.status.code() == Some(125), "{}", gone.status);
    Ok(())
}

/// A client that is killed cannot put its terminal back. Its keeper does, and ends the session.
#[test]
fn a_killed_client_leaves_a_terminal() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("tty", &[])?, marks());
    let processes = target.processes()?;
    for word in ["KILL", "TERM", "HUP"] {
        let mut person = begin(&target)?;
        signal(person.client.id(), word)?;
        person.ends()?;
        wait_until("the terminal is as before", || person.is_cooked())?;
        target.is_as_before(&processes)?;
        nothing_is_left(&before)?;
    }
    Ok(())
}

/// The end may come before the size of the terminal has been heard of.
#[test]
fn short_commands_have_their_exit_codes() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("short", &[])?, marks());
    for code in 0..30 {
        let mut person = Person::at(debug(&target.name, &[], &["sh", "-c", &format!("exit {code}")])?)?;
        let ended = person.ends()?;
        ensure!(ended == Some(code), "{ended:?} is not {code}");
    }
    nothing_is_left(&before)
}

#[test]
fn all_rights_are_asked_for() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("asked", &[])?;
    for (answer, code) in [("n\r", 125), ("y\r", 7)] {
        let mut person = Person::at(debug(&target.name, &["--privileged"], &["sh", "-c", "exit 7"])?)?;
        person.sees("--yes does not ask")?;
        person.types(answer)?;
        let ended = person.ends()?;
        ensure!(ended == Some(code), "{ended:?} after {answer:?}: {}", person.seen());
    }
    let mut person = Person::at(debug(&target.name, &["--privileged", "--yes"], &["sh", "-c", "exit 7"])?)?;
    ensure!(person.ends()? == Some(7), "it was asked");
    Ok(())
}

#[test]
fn no_terminal_where_there_is_none() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("notty", &[])?;
    let output = debug(&target.name, &["-t"], &["true"])?.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(125) && said.contains("must be a terminal"),
        "{} {said}",
        output.status
    );
    let told = debug(&target.name, &["-i"], &["tty"])?.stdin(Stdio::null()).output()?;
    ensure!(told.status.code() == Some(1) && told.stdout == b"not a tty\n", "{told:?}");
    Ok(())
}
