// SPDX-License-Identifier: Apache-2.0
//! A terminal on one side only is none for the program: what is piped passes byte by byte, and what is a terminal is left as
//! it is.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::super::debug;
use super::person::{connect, terminal};
use super::{Person, Turn};

#[test]
fn a_terminal_that_is_wanted_must_be_there() -> Result<()> {
    let turn = Turn::take()?;
    for options in [&["-t"][..], &["-it"], &["--tty"]] {
        let output = debug(turn.name()?, options, &["true"])?.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_said =
            said.starts_with("purser: the input device is not a TTY: ") && said.contains("leave -t out");
        ensure!(output.status.code() == Some(125) && is_said, "{options:?}: {} {said}", output.status);
    }
    let output = debug(turn.name()?, &["-t", "-T"], &["true"])?.output()?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    // With -i and without, standard input is there and no terminal is made.
    for options in [&["-i"][..], &[], &["-T"], &["-iT"]] {
        let mut command = debug(turn.name()?, options, &["sh", "-c", "tty; cat"])?;
        let mut session = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        session.stdin.take().context("no pipe")?.write_all(b"a\0\x03\x04\r\n")?;
        let output = session.wait_with_output()?;
        ensure!(output.stdout == b"not a tty\na\0\x03\x04\r\n", "{options:?}: {output:?}");
    }
    Ok(())
}

#[test]
fn no_terminal_with_a_pipe_on_one_side() -> Result<()> {
    let turn = Turn::take()?;
    // Input is a pipe, and both outputs are a terminal.
    let (master, slave) = terminal(24, 80)?;
    let mut command = debug(turn.name()?, &["-i"], &["sh", "-c", "tty; cat; read more; exit 6"])?;
    connect(&mut command, &slave)?;
    let mut client = command.stdin(Stdio::piped()).spawn()?;
    let mut pipe = client.stdin.take().context("no pipe")?;
    let mut person = Person::beside(master, slave, client);
    pipe.write_all(b"through\0the pipe\n")?;
    person.sees("not a tty\r\nthrough\0the pipe\r\n")?;
    ensure!(person.is_cooked()?, "the terminal is raw");
    drop(pipe);
    ensure!(person.ends()? == Some(6), "another exit code");

    // Input is a terminal, and output is a pipe: every byte of a program of the target.
    let (master, slave) = terminal(24, 80)?;
    let mut command =
        debug(turn.name()?, &["-i"], &["sh", "-c", "tty >&2; read line; echo $line; cat /bin/busybox"])?;
    connect(&mut command, &slave)?;
    let mut client = command.stdout(Stdio::piped()).spawn()?;
    let mut out = client.stdout.take().context("no pipe")?;
    let mut person = Person::beside(master, slave, client);
    person.sees("not a tty")?;
    ensure!(person.is_cooked()?, "the terminal is raw");
    person.types("typed\n")?;
    let mut bytes = Vec::new();
    out.read_to_end(&mut bytes)?;
    let wanted = [b"typed\n".to_vec(), fs::read("/bin/busybox")?].concat();
    ensure!(bytes == wanted, "{} bytes, not {}", bytes.len(), wanted.len());
    ensure!(person.ends()? == Some(0) && person.is_cooked()?, "another end");

    // A terminal on both sides that is not wanted.
    let mut person = Person::at(debug(turn.name()?, &["-T"], &["sh", "-c", "tty; read line; exit 7"])?)?;
    person.sees("not a tty")?;
    ensure!(person.is_cooked()?, "the terminal is raw");
    person.types("\n")?;
    ensure!(person.ends()? == Some(7), "another exit code");
    Ok(())
}
