// SPDX-License-Identifier: Apache-2.0
//! Exit codes: the program's own, 128 and the number of the signal that ended it, and docker's for what did not begin.

use std::process::Stdio;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::super::{Container, debug, marks, nothing_is_left, wait_until};
use super::{Person, Turn};
use crate::lab::signal;

/// Sessions at a time.
const AT_ONCE: usize = 4;
/// Signals whose usual effect is not the end of a program.
const HARMLESS: [i32; 7] = [17, 18, 20, 21, 22, 23, 28];
const STOP: i32 = 19;

#[test]
fn all_codes_are_the_programs() -> Result<()> {
    let turn = Turn::take()?;
    let (name, next, before) = (turn.name()?, AtomicI32::new(0), marks());
    let some = || -> Result<()> {
        loop {
            let code = next.fetch_add(1, Ordering::Relaxed);
            if code > 255 {
                return Ok(());
            }
            let script = format!("exit {code}");
            let mut command = debug(name, &[], &["sh", "-c", &script])?;
            // Each third at a terminal. The end may come before the size of the terminal has been heard of.
            let got = match code % 3 {
                0 => Person::at(command)?.ends()?,
                _ => command.stdin(Stdio::null()).status()?.code(),
            };
            ensure!(got == Some(code), "{got:?} is not {code}");
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(some)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    nothing_is_left(&before)
}

#[test]
fn all_signals_are_128_and_more() -> Result<()> {
    let turn = Turn::take()?;
    let target = turn.target()?;
    for number in (1..=31).chain([34, 64]) {
        let word = number.to_string();
        let command = || debug(&target.name, &[], &["raise", &word]);
        let (mut piped, mut person) = (command()?.stdin(Stdio::null()).spawn()?, Person::at(command()?)?);
        if number == STOP {
            // Both wait until somebody has them go on.
            wait_until("both are stopped", || Ok(stopped(target)?.len() == 2))?;
            stopped(target)?.into_iter().try_for_each(|pid| signal(u32::try_from(pid)?, "CONT"))?;
        }
        let wanted = if number == STOP || HARMLESS.contains(&number) { 1 } else { 128 + number };
        let got = (piped.wait()?.code(), person.ends()?);
        ensure!(got == (Some(wanted), Some(wanted)), "{got:?} for signal {number}");
        ensure!(person.is_cooked()?, "the terminal is left raw");
    }
    Ok(())
}

/// Those in the target that are stopped.
fn stopped(target: &Container) -> Result<Vec<i32>> {
    let is_so = |pid: &i32| super::super::status(*pid, "State").is_some_and(|state| state.starts_with('T'));
    Ok(target.processes()?.into_iter().filter(is_so).collect())
}

/// As `docker run` has them, with a terminal and without.
#[test]
fn what_does_not_begin_has_dockers_codes() -> Result<()> {
    let turn = Turn::take()?;
    let name = turn.name()?;
    for (target, options, command, code, words) in [
        ("purser-test-nobody", &[][..], &["true"][..], 125, "no container is called"),
        (name, &["--user", "nobody-here"], &["true"], 125, "nobody-here"),
        (name, &[], &["/no/such"], 127, "starting /no/such"),
        (name, &[], &["no-such"], 127, "no-such: no such command"),
        (name, &[], &[""], 127, "an empty word: no such command"),
        (name, &[], &["/etc"], 126, "starting /etc"),
        (name, &[], &["/etc/hosts"], 126, "starting /etc/hosts"),
    ] {
        let output = debug(target, options, command)?.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(code) && said.contains(words),
            "{command:?}: {} {said}",
            output.status
        );
        let mut person = Person::at(debug(target, options, command)?)?;
        let ended = person.ends()?;
        ensure!(ended == Some(code) && person.has_seen(words), "{command:?}: {ended:?} {}", person.seen());
        ensure!(person.is_cooked()?, "{command:?}: the terminal is left raw");
    }
    // Nothing behind `--` is a shell, as without it.
    let mut bare = debug(name, &[], &[])?;
    let mut shell = bare.arg("--").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    std::io::Write::write_all(&mut shell.stdin.take().context("no pipe")?, b"echo in-$((1+1)); exit 77\n")?;
    let output = shell.wait_with_output()?;
    ensure!(output.status.code() == Some(77) && output.stdout == b"in-2\n", "{output:?}");
    Ok(())
}
