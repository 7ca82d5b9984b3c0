// SPDX-License-Identifier: Apache-2.0
//! The kit's gdbserver in a session, and a gdb of the host that has nothing of the target: over a port that the
//! session opens, and over the session's own pipes.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::targets::{Root, kits};
use super::{DESCENT, HARDENED, PAUSE, answers, goes_on, parked, session};
use crate::debug::{Container, marks, nothing_is_left};
use crate::lab::{Lab, wait_limited};

const LIMIT: Duration = Duration::from_secs(10);

/// The host's gdb, which reads all through the connection.
fn host_gdb(connect: &[&str]) -> Result<Vec<String>> {
    let mut gdb = Command::new("timeout");
    gdb.args(["60", "gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off"]);
    for command in connect {
        gdb.args(["-ex", command]);
    }
    answers(&mut gdb, &["bt", "info sharedlibrary", "info threads", "detach"])
}

fn is_whole(told: &[String]) -> Result<()> {
    ensure!(told[0] == DESCENT, "another backtrace: {}", told[0]);
    let rows: Vec<&str> = told[1].lines().filter(|line| line.contains("target:/lib")).collect();
    ensure!(rows.len() == 6 && rows.iter().all(|row| row.contains(" Yes ")), "{}", told[1]);
    for name in ["target", "counting", "throwing"] {
        ensure!(told[2].contains(&format!("\"{name}\"")), "no thread {name}: {}", told[2]);
    }
    Ok(())
}

#[test]
fn over_a_port_and_over_pipes() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let image = Root::glibc()?.image("remote")?;
    let target = Container::start("remote", &HARDENED, &image.0, &["/bin/target"])?;
    parked(target.pid, PAUSE)?;
    let before = marks();

    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut serving = session(&target.name, &kits, &["--kit", "gdb", "-L", &format!("{port}:5005")])?
        .args(["--", "gdbserver", "--once", "--attach", "127.0.0.1:5005", "1"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(serving.stderr.take().context("no stderr")?).lines();
    let listens = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("Listening on port 5005")));
    ensure!(listens.is_some(), "gdbserver does not listen");
    let told = host_gdb(&[&format!("target remote 127.0.0.1:{port}")])?;
    let ended = wait_limited(&mut serving, LIMIT)?.context("gdbserver does not end")?;
    ensure!(ended.success(), "{ended}");
    is_whole(&told).context("over a port")?;
    goes_on(target.pid)?;

    let pipe = session(&target.name, &kits, &["-T", "--kit", "gdb"])?;
    let words: Vec<String> = std::iter::once(pipe.get_program())
        .chain(pipe.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let connect = format!("target extended-remote | {} -- gdbserver --multi -", words.join(" "));
    is_whole(&host_gdb(&[&connect, "attach 1"])?).context("over pipes")?;
    goes_on(target.pid)?;
    nothing_is_left(&before)?;
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);
    Ok(())
}
