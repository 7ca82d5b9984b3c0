// SPDX-License-Identifier: Apache-2.0
//! A client that is stopped, from outside or in the background of a shell: its terminal is somebody else's meanwhile, and
//! the session waits for it.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::super::{debug, marks, nothing_is_left, status, wait_until};
use super::person::{HOST, line, wait_for_state};
use super::sizes::numbers;
use super::{DRAWS, Person, Turn, sessions, sleep_of, sleeps};
use crate::agent::purser;
use crate::lab::signal;

/// More than all pipes and buffers on the way hold.
const LINES: u32 = 200_000;
/// Far more than a keeper needs, and far less than all that waits.
const KEEPER_KIB: u64 = 24 << 10;

#[test]
fn a_stop_gives_the_terminal_back() -> Result<()> {
    let turn = Turn::take()?;
    let before = marks();
    let mut person = Person::at(debug(turn.name()?, &[], &["sh", "-c", DRAWS])?)?;
    person.sees("set\r\n")?;
    for (word, gives_back) in [("TSTP", true), ("STOP", false)] {
        person.types("")?;
        person.receives(word)?;
        wait_for_state(person.client(), 'T')?;
        if gives_back {
            ensure!(person.is_cooked()?, "the terminal is left raw");
            person.sees("\x1b[?25h\x1b[?1049l\x1b[m")?;
        }
        person.receives("CONT")?;
        person.sees("drawn-24 80")?;
        ensure!(!person.is_cooked()? && person.has_seen("\x1b[?1049h\x1b[?25l"), "{:?}", person.seen());
        person.types("back\r")?;
        person.sees("back\r\nback\r\n")?;
    }
    person.types("\x04")?;
    ensure!(person.ends()? == Some(5) && person.is_cooked()?, "another end");
    nothing_is_left(&before)
}

#[test]
fn a_stopped_client_is_waited_for() -> Result<()> {
    let turn = Turn::take()?;
    let target = turn.target()?;
    let script = format!("echo begin; read line; busybox seq 1 {LINES}; exec sleep 1005");
    let mut person = Person::at(debug(&target.name, &[], &["sh", "-c", &script])?)?;
    person.sees("begin\r\n")?;
    let keeper = person.child()?;
    person.receives("STOP")?;
    wait_for_state(person.client(), 'T')?;
    person.types("\r")?;
    // The client does not read what is typed either, so the program is told by another way.
    let id = sessions(&target.name)?.first().and_then(|one| one["id"].as_str().map(str::to_owned));
    let id = id.context("no session")?;
    person.receives("CONT")?;
    person.sees("\n1\r\n")?;
    person.receives("STOP")?;
    wait_for_state(person.client(), 'T')?;
    // Until nothing gets on: the program waits in a write to its terminal, call 1 of x86-64.
    wait_until("the program waits", || {
        let is_it = |pid: &i32| status(*pid, "Name").is_some_and(|name| name == "busybox");
        let program = target.processes()?.into_iter().find(is_it);
        let calls = |pid: i32| fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        Ok(program.is_some_and(|pid| calls(pid).starts_with("1 ")))
    })?;
    let room = status(i32::try_from(keeper)?, "VmRSS").context("the keeper is gone")?;
    let room: u64 = room.trim_end_matches(" kB").parse()?;
    ensure!(room < KEEPER_KIB, "the keeper has {room} KiB");
    // The keeper is there for others.
    ensure!(sessions(&target.name)?.iter().any(|one| one["id"] == id.as_str()), "it is not listed");
    person.receives("CONT")?;
    person.sees(&format!("\n{LINES}\r\n"))?;
    ensure!(person.seen() == format!("\r\n{}", numbers(LINES)), "{} bytes", person.seen_bytes().len());
    // An end while it is stopped is heard of when it goes on, and so is what was said before.
    wait_until("sleep runs", || sleeps(target, "1005"))?;
    person.receives("STOP")?;
    wait_for_state(person.client(), 'T')?;
    let sleep = sleep_of(target, "1005")?.context("no sleep")?;
    signal(u32::try_from(sleep)?, "TERM")?;
    wait_until("the session is over", || Ok(sessions(&target.name)?.is_empty()))?;
    person.receives("CONT")?;
    ensure!(person.ends()? == Some(143) && person.is_cooked()?, "another end");
    Ok(())
}

/// Also when there is no room for the word.
#[test]
fn a_stopped_client_is_sent_away_when_it_goes_on() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let script = format!("busybox seq 1 {LINES}; read line; exit 8");
    let mut first = Person::at(debug(&target.name, &[], &["sh", "-c", &script])?)?;
    first.sees("\n1000\r\n")?;
    first.receives("STOP")?;
    wait_for_state(first.client(), 'T')?;
    let list = sessions(&target.name)?;
    let id = list.first().and_then(|one| one["id"].as_str()).context("no session")?.to_owned();
    let mut attach = purser();
    attach.args(["debug", "attach", &id]);
    let mut second = Person::at(attach)?;
    second.sees(&format!("\n{LINES}\r\n"))?;
    first.receives("CONT")?;
    first.sees("goes on")?;
    ensure!(first.ends()? == Some(0) && first.is_cooked()?, "another end");
    second.types("\r")?;
    ensure!(second.ends()? == Some(8), "another exit code");
    nothing_is_left(&before)
}

#[test]
fn in_the_background_it_stops() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let processes = target.processes()?;
    let mut person = Person::at_a_shell()?;
    let session = line(&debug(&target.name, &[], &["sh"])?);
    person.types(&format!("{session} &\r"))?;
    wait_until("the client has started", || Ok(person.child().is_ok()))?;
    let client = person.child()?;
    wait_for_state(client, 'T')?;
    ensure!(target.processes()? == processes, "the session has begun in the background");
    person.types("\r")?;
    person.sees("Stopped")?;
    person.types("fg\r")?;
    person.sees("# ")?;
    // Stopped by another, and back; in the background it stops by itself.
    person.types("")?;
    signal(client, "TSTP")?;
    person.sees(HOST)?;
    person.types("echo host-$((1+1)); bg\r")?;
    person.sees("host-2")?;
    person.sees(HOST)?;
    wait_until("it has gone on and stopped", || {
        Ok(status(i32::try_from(client)?, "State").is_some_and(|state| state.starts_with('T')))
    })?;
    person.types("fg\r")?;
    person.sees("# ")?;
    person.types("echo session-$((1+1))\r")?;
    person.sees("session-2")?;
    person.types("exit 5\r")?;
    person.sees(HOST)?;
    person.types("echo code-$?; stty -a\r")?;
    person.sees("echoke")?;
    ensure!(person.has_seen("\rcode-5\r\n"), "{}", person.seen());
    ensure!(!person.has_seen("-icanon") && !person.has_seen(" -echo "), "{}", person.seen());
    person.types("exit\r")?;
    person.ends()?;
    nothing_is_left(&before)
}

/// With pipes, too: what waits is passed on when it goes on.
#[test]
fn a_command_without_a_terminal_stops_and_goes_on() -> Result<()> {
    let turn = Turn::take()?;
    let before = marks();
    let mut person = Person::at_a_shell()?;
    let script = "echo begin; read line; echo got-$line; exit 6";
    person.types(&format!("{}\r", line(&debug(turn.name()?, &["-T"], &["sh", "-c", script])?)))?;
    person.sees("\rbegin\r\n")?;
    person.types("\x1a")?;
    person.sees(HOST)?;
    person.types("fg\r")?;
    person.sees("-T")?;
    person.types("a-word\r")?;
    person.sees("got-a-word\r\n")?;
    person.sees(HOST)?;
    person.types("echo code-$?; exit\r")?;
    person.sees("\rcode-6\r\n")?;
    person.ends()?;
    nothing_is_left(&before)
}
