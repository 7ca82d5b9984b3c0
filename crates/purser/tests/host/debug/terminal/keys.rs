// SPDX-License-Identifier: Apache-2.0
//! The keys that leave a session running: in every way to write them, in whatever pieces they are typed, and never taken
//! from the program when they are others.

use anyhow::{Result, ensure};

use super::super::{debug, marks, nothing_is_left};
use super::{Person, Turn, end_left};

#[test]
fn keys_in_every_way() -> Result<()> {
    let turn = Turn::take()?;
    let before = marks();
    for (keys, typed) in [
        ("ctrl-a,d", &["\x01", "d"][..]),
        ("ctrl-@", &["\0"]),
        ("ctrl-[", &["ab\x1b"]),
        ("x", &["abx"]),
        ("DEL,ctrl-_", &["\x7f\x1f"]),
        ("ctrl-p,ctrl-q", &["\x10", "\x10", "\x11"]),
        ("a,a,b", &["a", "aa", "b"]),
    ] {
        let mut person =
            Person::at(debug(turn.name()?, &["--detach-keys", keys], &["sh", "-c", "echo begin; cat"])?)?;
        person.sees("begin")?;
        for part in typed {
            person.types(part)?;
        }
        person.sees("come back with: purser debug attach ")?;
        let ended = person.ends()?;
        ensure!(ended == Some(0) && person.is_cooked()?, "{keys}: {ended:?}");
        end_left(&person)?;
    }
    nothing_is_left(&before)
}

/// What is not the keys arrives, byte by byte.
#[test]
fn other_keys_are_the_programs() -> Result<()> {
    let turn = Turn::take()?;
    for (keys, typed, wanted) in [
        ("ctrl-a,d", &["\x01", "x", "y"][..], "01 78 79"),
        ("ctrl-a,d", &["\x01\x01", "\x01", "x"], "01 01 01 78"),
        ("a,a,b", &["a", "c", "b"], "61 63 62"),
        ("", &["\x10", "\x11", "\x10\x11"], "10 11 10 11"),
        ("ctrl-p,ctrl-q", &["\x10\x1b", "\x01d"], "10 1b 01 64"),
    ] {
        let count = wanted.len().div_ceil(3);
        let script = format!("stty raw -echo; echo begin; head -c {count} | busybox od -An -tx1");
        let mut person = Person::at(debug(turn.name()?, &["--detach-keys", keys], &["sh", "-c", &script])?)?;
        person.sees("begin")?;
        for part in typed {
            person.types(part)?;
        }
        person.sees(wanted)?;
        ensure!(person.ends()? == Some(0), "{keys}: another exit code");
    }
    Ok(())
}

#[test]
fn what_names_no_keys_is_refused() -> Result<()> {
    let turn = Turn::take()?;
    for wrong in ["ctrl-P", "ctrl-", "abc", "a,,b", "ctrl-p;ctrl-q", "ctrl-1", "ü"] {
        let output = debug(turn.name()?, &["--detach-keys", wrong], &["true"])?.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2), "{wrong}: {}", output.status);
        ensure!(
            said.contains("a key is one character, DEL, or ctrl- and one of a-z @ [ \\ ] ^ _"),
            "{wrong}: {said}"
        );
    }
    Ok(())
}
