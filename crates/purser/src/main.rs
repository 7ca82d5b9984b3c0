// SPDX-License-Identifier: Apache-2.0
//! The program `purser`. Everything is in the library of the same name; only this file ends
//! the process.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(purser::main().code())
}
