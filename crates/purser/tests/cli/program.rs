// SPDX-License-Identifier: Apache-2.0
//! Running the program, and judging how it ended.

use crate::record::Record;
use std::ffi::OsStr;
use std::process::{Command, Output};

/// The program, in a known time zone and without colours.
pub(crate) fn purser() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
    command.env("TZ", "UTC").env_remove("NO_COLOR");
    command
}

/// Runs the program on a store.
pub(crate) fn on(store: &Record, arguments: &[&str]) -> Output {
    purser().args(arguments).arg("--store").arg(store.dir()).output().unwrap()
}

/// Runs the program.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    purser().args(arguments).output().unwrap()
}

/// What a successful run printed.
pub(crate) fn good(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "stderr: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a failed run said, after a look at its exit code.
pub(crate) fn bad(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "stderr: {said}");
    said
}
