// SPDX-License-Identifier: Apache-2.0
//! Terminals that vanish, that nobody knows, and that much is typed on.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::{debug, marks, nothing_is_left};
use super::{Person, Turn};
use crate::lab::wait_limited;

/// More than everything on the way holds.
const PASTE: usize = 1 << 20;

#[test]
fn a_terminal_that_vanishes_ends_the_session() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let processes = target.processes()?;
    for script in ["while :; do echo more; done", "echo more; sleep 1000"] {
        let plain = debug(&target.name, &[], &["sh", "-c", script])?;
        // One that leads its session is told by a signal, too.
        let mut leads = Command::new("setsid");
        leads.arg("--ctty").arg(plain.get_program()).args(plain.get_args());
        for command in [plain, leads] {
            let mut person = Person::at(command)?;
            person.sees("more")?;
            let mut client = person.walks_away();
            let status = wait_limited(&mut client, Duration::from_secs(10))?.context("it does not end")?;
            ensure!(matches!(status.code(), Some(125 | 129)), "{script}: {status}");
            target.is_as_before(&processes)?;
            nothing_is_left(&before)?;
        }
    }
    Ok(())
}

#[test]
fn names_of_terminals_are_passed_on() -> Result<()> {
    let turn = Turn::take()?;
    let long = vec![b'x'; 100_000];
    for term in
        [None, Some(b"no-such-terminal".as_slice()), Some(b"../../\x1b[2J\xff\n'\""), Some(b""), Some(&long)]
    {
        let script = "printf %s \"$TERM\" | sha256sum; echo ${TERM+is}-set [$LINES][$COLUMNS]";
        let mut command = debug(turn.name()?, &[], &["sh", "-c", script])?;
        command.env("LINES", "5").env("COLUMNS", "6").env("LC_ALL", "de_DE.ISO-8859-1");
        match term {
            Some(term) => command.env("TERM", OsStr::from_bytes(term)),
            None => command.env_remove("TERM"),
        };
        let mut home = Command::new("sha256sum")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        home.stdin.take().context("no pipe")?.write_all(term.unwrap_or_default())?;
        let sum = String::from_utf8(home.wait_with_output()?.stdout)?;
        let mut person = Person::as_is(command, 24, 80)?;
        person.sees("-set [][]")?;
        ensure!(person.has_seen(sum.trim()), "{term:?}: {}", person.seen());
        ensure!(person.has_seen("is-set") == term.is_some(), "{term:?}: {}", person.seen());
        ensure!(person.ends()? == Some(0), "another exit code");
    }
    Ok(())
}

/// Also back again at the same time: neither side waits for the other.
#[test]
fn a_long_paste_arrives() -> Result<()> {
    let turn = Turn::take()?;
    let script = format!("stty raw -echo; echo begin; head -c {PASTE}; exit 3");
    let mut person = Person::at(debug(turn.name()?, &[], &["sh", "-c", &script])?)?;
    person.sees("begin\n")?;
    // Letters of several bytes, cut anywhere.
    let paste: Vec<u8> = "grüße, \u{6f22}\u{5b57}; ".bytes().cycle().take(PASTE).collect();
    person.types("")?;
    let (mut hands, typed) = (person.hands()?, paste.clone());
    let typing = thread::spawn(move || typed.chunks(4093).try_for_each(|part| hands.write_all(part)));
    while person.seen_bytes().len() < PASTE {
        person.reads()?;
    }
    typing.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    ensure!(person.seen_bytes() == paste, "other bytes came back");
    ensure!(person.ends()? == Some(3), "another exit code");
    Ok(())
}

#[test]
fn letters_of_several_bytes_are_typed_one_by_one() -> Result<()> {
    let turn = Turn::take()?;
    let mut person =
        Person::at(debug(turn.name()?, &[], &["sh", "-c", "echo begin; read word; echo [$word]"])?)?;
    person.sees("begin")?;
    for byte in "ü\u{6f22}\r".bytes() {
        person.types_bytes(&[byte])?;
    }
    person.sees("[ü\u{6f22}]")?;
    ensure!(person.ends()? == Some(0), "another exit code");
    Ok(())
}

/// As at home: where a letter of several bytes is one letter, it is taken back as one.
#[test]
fn a_letter_is_taken_back_as_at_home() -> Result<()> {
    let turn = Turn::take()?;
    for (utf8, wanted) in [(true, "[ab]\r\n"), (false, "[a\u{fffd}b]\r\n")] {
        let command =
            debug(turn.name()?, &[], &["sh", "-c", "stty -echo; echo begin; read word; echo [$word]"])?;
        let mut person = Person::with_letters(command, utf8)?;
        person.sees("begin")?;
        person.types("aü\x7fb\r")?;
        person.sees("]\r\n")?;
        ensure!(person.ends()? == Some(0) && person.seen().contains(wanted), "{utf8}: {:?}", person.seen());
    }
    Ok(())
}

/// A program that reads nothing holds up neither sizes nor the keys.
#[test]
fn sizes_overtake_what_nobody_reads() -> Result<()> {
    let turn = Turn::take()?;
    let script =
        "stty raw -echo; trap 'echo size-$(stty size)' WINCH; echo begin; while :; do sleep 0.01; done";
    let mut person = Person::at(debug(turn.name()?, &[], &["sh", "-c", script])?)?;
    person.sees("begin")?;
    // Far more than the terminal itself takes.
    person.types(&"x".repeat(200 << 10))?;
    person.resize(31, 99)?;
    person.sees("size-31 99")?;
    person.types("\x10\x11")?;
    person.sees("come back with")?;
    ensure!(person.ends()? == Some(0), "another exit code");
    super::end_left(&person)
}
