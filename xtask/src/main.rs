// SPDX-License-Identifier: Apache-2.0
//! The workshop: `cargo xtask NAME` sets a machine up, builds, tests, measures and packs.
//!
//! Each command has a file of its own. This crate knows nothing about what the product does; it
//! starts programs and reads their answers. It needs no crate but `anyhow`, so that it is built in
//! seconds on a machine on which nothing else can be built yet.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to the one who started it"
)]

mod bench;
mod check;
mod daemon;
mod demo;
mod deny;
mod dist;
mod fuzz;
mod options;
mod packages;
mod place;
mod process;
mod receivers;
mod setup;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::Result;

/// A command: its name, what `cargo xtask` says about it, and what it does with its arguments.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<ExitCode>,
}

const TASKS: [Task; 10] = [
    Task {
        name: "setup",
        about: "[--build|--run|--tests|--bench]  install what is missing (Debian 12, root)",
        run: setup::main,
    },
    Task {
        name: "run",
        about: "[--for SECONDS] [-- ARGS]  build, start a demo container, record it",
        run: demo::main,
    },
    Task { name: "test", about: "[-- ARGS]  everything that must pass, in order", run: check::main },
    Task { name: "tidy", about: "rules of the house no compiler knows", run: tidy::main },
    Task {
        name: "vm",
        about: "--kernel 6.1|6.12 [--limit SECONDS] [--file HOST:GUEST]... -- COMMAND  run on another kernel",
        run: vm::main,
    },
    Task { name: "bench", about: "[NAME...] [--seconds N]  measure, beside rivals", run: bench::main },
    Task { name: "fuzz", about: "[TARGET...] [--seconds N]  feed decoders and parsers", run: fuzz::main },
    Task { name: "dist", about: "one static file, checked, in dist/", run: dist::main },
    Task {
        name: "deny",
        about: "licences, duplicates and sources of dependencies, by cargo-deny",
        run: deny::main,
    },
    Task { name: "help", about: "this list", run: help },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("help", String::as_str);
    let name = if matches!(name, "-h" | "--help") { "help" } else { name };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("xtask: there is no command {name:?}; `cargo xtask help` lists them");
        return ExitCode::from(2);
    };
    match (task.run)(args.get(1..).unwrap_or_default()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help(_args: &[String]) -> Result<ExitCode> {
    for task in &TASKS {
        println!("cargo xtask {:<6} {}", task.name, task.about);
    }
    Ok(ExitCode::SUCCESS)
}
