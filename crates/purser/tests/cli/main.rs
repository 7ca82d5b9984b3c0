// SPDX-License-Identifier: Apache-2.0
//! The commands as their users meet them: the real program on small stores made here. Nothing
//! in this file needs root, an agent or a kernel feature.

mod commands;
mod log;
mod record;

use std::ffi::OsStr;
use std::process::{Command, Output};

/// The program, in a known time zone and without colours.
fn purser() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
    command.env("TZ", "UTC").env_remove("NO_COLOR");
    command
}

/// Runs the program on a store.
fn on(store: &record::Record, arguments: &[&str]) -> Output {
    purser().args(arguments).arg("--store").arg(store.dir()).output().unwrap()
}

/// Runs the program.
fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    purser().args(arguments).output().unwrap()
}

/// What a successful run printed.
fn good(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "stderr: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a failed run said, after a look at its exit code.
fn bad(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "stderr: {said}");
    said
}
