// SPDX-License-Identifier: Apache-2.0
//! A shell in the session does with its jobs what it does at home: the terminal is its controlling one, with all keys and
//! signals of a terminal.

use std::fs;

use anyhow::{Result, ensure};

use super::super::{Container, debug, marks, nothing_is_left, status, wait_until};
use super::{Person, Turn, begin, sleep_of, sleeps};

/// Whether a process of the target that is called so is in this state.
fn is_there(target: &Container, name: &str, state: char) -> Result<bool> {
    let of = |pid: &i32| {
        status(*pid, "Name").is_some_and(|found| found == name)
            && status(*pid, "State").is_some_and(|found| found.starts_with(state))
    };
    Ok(target.processes()?.iter().any(of))
}

#[test]
fn a_shell_has_its_jobs() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let mut person = Person::at(debug(&target.name, &["-it"], &["sh"])?)?;
    person.sees("capabilities: CHOWN")?;
    person.sees("# ")?;
    // The fields of proc(5): the shell leads the session, has a terminal, and is in front of it.
    person.types("read -r pid name state parent group session tty front rest </proc/$$/stat\r")?;
    person
        .types("echo $((pid == session))$((tty != 0))$((front == group))-of-3; tty; echo $TERM-$((6*7))\r")?;
    person.sees("xterm-42")?;
    ensure!(person.has_seen("\n111-of-3\r\n/dev/pts/"), "{}", person.seen());
    // Stopped, in the background, in front again, and ended, beside one that is let alone.
    person.types("sleep 1001 &\r")?;
    wait_until("the other sleep runs", || sleeps(target, "1001"))?;
    person.types("sleep 1000\r")?;
    wait_until("sleep runs", || sleeps(target, "1000"))?;
    person.types("\x1a")?;
    person.sees("Stopped")?;
    person.types("jobs; bg %2; jobs; echo $((6*7))\r")?;
    person.sees("\n42\r\n")?;
    ensure!(person.seen().matches("Running").count() == 3, "{}", person.seen());
    person.types("fg %2\r")?;
    person.sees("\nsleep 1000\r\n")?;
    wait_until("it is in front", || front(target, "1000"))?;
    person.types("\x03")?;
    person.sees("# ")?;
    ensure!(!sleeps(target, "1000")? && sleeps(target, "1001")?, "ctrl-c has ended another job");
    // Another one by ctrl-\, which the shell tells by the code.
    person.types("kill %1; sleep 1002\r")?;
    wait_until("the third sleep runs", || front(target, "1002"))?;
    person.types("\x1c")?;
    person.sees("# ")?;
    person.types("echo code-$?\r")?;
    person.sees("\ncode-131\r\n")?;
    person.sees("# ")?;
    // The end of what is typed is the end of the shell.
    person.types("(exit 19)\r")?;
    person.sees("# ")?;
    person.types("\x04")?;
    ensure!(person.ends()? == Some(19) && person.is_cooked()?, "another end");
    nothing_is_left(&before)
}

/// Whether the sleep of so many seconds is of the group that has the terminal.
fn front(target: &Container, seconds: &str) -> Result<bool> {
    let Some(pid) = sleep_of(target, seconds)? else { return Ok(false) };
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.split(' ').collect();
    Ok(fields.get(4) == fields.get(7))
}

#[test]
fn who_writes_from_behind_is_stopped() -> Result<()> {
    let turn = Turn::take()?;
    let target = turn.target()?;
    let mut person = begin(target)?;
    person.types("stty tostop; head -c 3 /etc/hostname &\r")?;
    wait_until("the job is stopped", || is_there(target, "head", 'T'))?;
    person.types("fg\r")?;
    let name = target.name.clone();
    person.sees("head -c 3 /etc/hostname\r\n")?;
    wait_until("it has ended", || Ok(!is_there(target, "head", 'T')?))?;
    // Sizes are told to the job in front.
    let script = "trap 'echo size-$(stty size)' WINCH; echo ready-$((1+1)); while :; do sleep 0.01; done";
    person.types(&format!("sh -c \"{}\"\r", script.replace('$', "\\$")))?;
    person.sees("ready-2")?;
    person.resize(40, 100)?;
    person.sees("size-40 100")?;
    person.types("\x03")?;
    person.sees("# ")?;
    person.types("exit 3\r")?;
    ensure!(person.ends()? == Some(3), "another exit code, in {name}");
    Ok(())
}

#[test]
fn an_editor_is_left_and_come_back_to() -> Result<()> {
    let turn = Turn::take()?;
    let mut person = begin(turn.target()?)?;
    person.types("busybox vi /dev/.purser/.home/text\r")?;
    person.sees("\x1b[?1049h")?;
    person.types("ifirst")?;
    person.sees("first")?;
    person.types("\x1b")?;
    // The last line has a dash when what is typed is a command.
    person.sees("- /dev/")?;
    person.types("\x1a")?;
    person.sees("Stopped")?;
    person.sees("# ")?;
    person.types("stty | grep -c -e -icanon -e -echo; echo cooked-$((1+1))\r")?;
    person.sees("cooked-2")?;
    ensure!(person.has_seen("\n0\r\n"), "{}", person.seen());
    person.types("fg\r")?;
    person.sees("\x1b[1;1Hfirst")?;
    // Drawn anew in another size.
    person.types("")?;
    person.resize(11, 40)?;
    person.sees("\x1b[11;1H")?;
    person.types("osecond")?;
    person.sees("second")?;
    person.types("\x1b")?;
    person.sees("- /dev/")?;
    person.types(":wq\r")?;
    person.sees("# ")?;
    person.types("cat ~/text; exit 4\r")?;
    ensure!(person.ends()? == Some(4) && person.has_seen("first\r\nsecond\r\n"), "{}", person.seen());
    Ok(())
}
