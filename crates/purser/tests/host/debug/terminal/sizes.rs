// SPDX-License-Identifier: Apache-2.0
//! The session's terminal has the size of the person's, whatever that is and whenever it changes.

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::tcgetwinsize;

use super::super::{Container, debug, marks, nothing_is_left, wait_until};
use super::{DRAWS, Person, Turn, sessions, sleep_of};
use crate::agent::purser;

/// Enough for some two megabytes.
const LINES: u32 = 300_000;

/// All that `seq` prints, as a terminal shows it.
pub(super) fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\r\n")).collect()
}

#[test]
fn sizes_change_while_much_is_shown() -> Result<()> {
    let turn = Turn::take()?;
    let script = format!("echo begin; busybox seq 1 {LINES}; echo end; read line; stty size");
    let mut person = Person::at(debug(turn.name()?, &[], &["sh", "-c", &script])?)?;
    person.sees("begin\r\n")?;
    let wanted = numbers(LINES);
    let mut changes: u16 = 0;
    while person.seen_bytes().len() < wanted.len() {
        person.reads()?;
        if person.seen_bytes().len() / 8192 > usize::from(changes) {
            changes += 1;
            person.resize(20 + changes % 50, 70 + changes % 7)?;
        }
    }
    person.sees("end\r\n")?;
    ensure!(changes > 200, "only {changes} changes");
    let seen = person.seen();
    let (_, shown) = seen.split_once("begin\r\n").context("no begin")?;
    ensure!(shown == format!("{wanted}end\r\n"), "{} bytes are shown, not {}", shown.len(), wanted.len());
    person.resize(61, 173)?;
    person.types("\r")?;
    person.sees("61 173\r\n")?;
    ensure!(person.ends()? == Some(0), "another exit code");
    Ok(())
}

#[test]
fn a_size_is_that_of_who_is_there() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let mut first = Person::at(debug(&target.name, &[], &["sh", "-c", DRAWS])?)?;
    first.sees("set\r\n")?;
    first.types("\x10\x11")?;
    first.sees("come back with")?;
    ensure!(first.ends()? == Some(0), "leaving ended with another code");
    // Whoever leaves has a terminal that is fit for a shell, and words of ours on a line of their own.
    let (back, words) = ("\x1b[?25h\x1b[?1049l\x1b[m", "purser: session ");
    ensure!(first.has_seen(&format!("{back}{words}")), "{:?}", first.seen());
    let list = sessions(&target.name)?;
    let id = list.first().and_then(|one| one["id"].as_str()).context("no session")?.to_owned();
    let attached = |rows, columns| {
        let mut attach = purser();
        attach.args(["debug", "attach", &id]);
        Person::at_size(attach, rows, columns)
    };
    // A program that fills the screen draws it when somebody comes, though the size is the same.
    let mut second = attached(24, 80)?;
    second.sees("drawn-24 80")?;
    ensure!(second.has_seen("\x1b[?1049h"), "{:?}", second.seen());
    let mut third = attached(44, 133)?;
    second.sees("somebody else has attached")?;
    ensure!(second.ends()? == Some(0) && second.is_cooked()?, "being sent away left the terminal raw");
    third.sees("drawn-44 133")?;
    third.types("\x04")?;
    ensure!(third.ends()? == Some(5) && third.is_cooked()?, "another end");
    nothing_is_left(&before)
}

/// The size of the terminal that a sleep of the session has.
fn size_inside(target: &Container, seconds: &str) -> Result<Option<(u16, u16)>> {
    let Some(pid) = sleep_of(target, seconds)? else { return Ok(None) };
    let terminal = open(format!("/proc/{pid}/fd/0"), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    let size = tcgetwinsize(terminal)?;
    Ok(Some((size.ws_row, size.ws_col)))
}

#[test]
fn odd_sizes_are_sizes() -> Result<()> {
    let turn = Turn::take()?;
    let target = turn.target()?;
    for (rows, columns) in [(0, 0), (1, 1), (u16::MAX, u16::MAX)] {
        let command = debug(&target.name, &[], &["sleep", "1006"])?;
        let mut person = Person::at_size(command, rows, columns)?;
        let is = |size| {
            wait_until(&format!("the size is {size:?}"), || Ok(size_inside(target, "1006")? == Some(size)))
        };
        is((rows, columns))?;
        person.resize(columns / 2, 7)?;
        is((columns / 2, 7))?;
        person.types("\x03")?;
        ensure!(person.ends()? == Some(130), "{rows} {columns}: another exit code");
    }
    Ok(())
}
