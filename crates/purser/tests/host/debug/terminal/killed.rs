// SPDX-License-Identifier: Apache-2.0
//! Somebody is killed, and the person's terminal is what it was: raw no more, on the usual screen, and with words on a line
//! of their own.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::super::{Container, debug, marks, nothing_is_left, wait_until};
use super::person::{HOST, line};
use super::{Person, Turn, begin, sleeps};
use crate::lab::{Lab, signal};

/// What an editor changes.
const EDITOR: &str = "printf '\\033[?1049h\\033[?2004h\\033[?25lsome text'; exec sleep 1004";
const BACK: &str = "\x1b[?25h\x1b[?2004l\x1b[?1049l\x1b[m";

fn editing(target: &Container) -> Result<Person> {
    let mut person = Person::at(debug(&target.name, &[], &["sh", "-c", EDITOR])?)?;
    person.sees("some text")?;
    wait_until("the program runs", || sleeps(target, "1004"))?;
    Ok(person)
}

fn child_of(pid: u32) -> Result<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    text.split_whitespace().next().context("no child")?.parse().context("no number")
}

/// A client that is killed by SIGKILL cannot put its terminal back. Its keeper does, and ends the session.
#[test]
fn a_killed_client_leaves_a_terminal() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let processes = target.processes()?;
    for (word, code) in [
        ("KILL", None),
        ("TERM", Some(143)),
        ("HUP", Some(129)),
        ("INT", Some(130)),
        ("QUIT", Some(131)),
        ("USR1", Some(138)),
    ] {
        let mut person = editing(target)?;
        person.receives(word)?;
        let ended = person.ends()?;
        ensure!(ended == code, "{word}: {ended:?}");
        ensure!(word == "KILL" || person.has_seen(BACK), "{word}: {:?}", person.seen());
        wait_until("the terminal is as before", || person.is_cooked())?;
        target.is_as_before(&processes)?;
        nothing_is_left(&before)?;
    }
    Ok(())
}

/// It ends though its terminal takes nothing, as one does that a person has stopped.
#[test]
fn a_terminal_that_takes_nothing_holds_up_no_signal() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let mut person = Person::at(debug(&target.name, &[], &["sh", "-c", "while :; do echo more; done"])?)?;
    // Nobody has read anything.
    wait_until("the terminal is full", || person.is_full())?;
    person.receives("TERM")?;
    ensure!(person.ends_unread()? == Some(143) && person.is_cooked()?, "another end");
    nothing_is_left(&before)
}

/// A shell has the terminal by then, and keeps it as it wants it.
#[test]
fn a_shell_goes_on_after_a_killed_client() -> Result<()> {
    let turn = Turn::take()?;
    let before = marks();
    let mut person = Person::at_a_shell()?;
    person.types(&format!("{}\r", line(&debug(turn.name()?, &[], &["sh"])?)))?;
    person.sees("# ")?;
    person.types("")?;
    signal(person.child()?, "KILL")?;
    person.sees(HOST)?;
    person.types("echo still-$((1+1)); stty -a\r")?;
    person.sees("echoke")?;
    ensure!(person.has_seen("\rstill-2\r\n"), "{}", person.seen());
    ensure!(!person.has_seen("-icanon") && !person.has_seen(" -echo "), "{}", person.seen());
    person.types("exit\r")?;
    person.ends()?;
    nothing_is_left(&before)
}

#[test]
fn killed_keepers_wardens_and_targets_are_told() -> Result<()> {
    let _lab = Lab::enter()?;
    let (target, before) = (Container::idle("told", &[])?, marks());
    let processes = target.processes()?;
    let words = [
        "the session's keeper was killed; what ran in the session was ended",
        "the session was killed",
        "the target ended, and the session with it",
    ];
    for (at, words) in words.iter().enumerate() {
        let mut person = editing(&target)?;
        let keeper = person.child()?;
        match at {
            0 => signal(keeper, "KILL")?,
            1 => signal(child_of(child_of(keeper)?)?, "KILL")?,
            _ => signal(u32::try_from(target.pid)?, "KILL")?,
        }
        let ended = person.ends()?;
        ensure!(ended == Some(137), "{words}: {ended:?}");
        ensure!(person.has_seen(&format!("{BACK}\r\npurser: {words}\r\n")), "{:?}", person.seen());
        ensure!(person.is_cooked()?, "{words}: the terminal is left raw");
        // A first process that reaps nobody keeps what a killed warden leaves, as a zombie.
        if at == 0 {
            target.is_as_before(&processes)?;
        }
        nothing_is_left(&before)?;
    }
    Ok(())
}

/// Nor does a session that has closed its terminal, and goes on.
#[test]
fn a_closed_terminal_is_waited_for_in_peace() -> Result<()> {
    let turn = Turn::take()?;
    let script =
        "echo begin; exec 0<&- 1>&- 2>&-; sleep 0.5; echo again >/dev/tty; read line </dev/tty; exit 5";
    let mut person = Person::at(debug(turn.name()?, &[], &["sh", "-c", script])?)?;
    person.sees("begin")?;
    let keeper = person.child()?;
    let busy_ns = || -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{keeper}/schedstat"))?;
        text.split(' ').next().context("no time")?.parse().context("no number")
    };
    let busy = busy_ns()?;
    person.sees("again")?;
    let spent = busy_ns()? - busy;
    ensure!(spent < 50_000_000, "the keeper was busy for {spent} ns");
    person.types("\r")?;
    ensure!(person.ends()? == Some(5), "another exit code");
    Ok(())
}

#[test]
fn the_terminal_is_never_left_raw_by_an_end() -> Result<()> {
    let turn = Turn::take()?;
    // A prompt that has only just come, and an end at once.
    for _ in 0..5 {
        let mut person = begin(turn.target()?)?;
        person.types("exit 9\r")?;
        ensure!(person.ends()? == Some(9) && person.is_cooked()?, "another end");
    }
    Ok(())
}
