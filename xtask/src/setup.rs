// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask setup`: makes a fresh Debian 12 able to build, run and test.
//!
//! What is there is left alone, so that a second run costs nothing. Nothing is ever removed.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::options::Options;
use crate::process::{program, run};
use crate::{daemon, packages, receivers};

/// What the machine must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Build,
    Run,
    Tests,
    Bench,
}

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    let mut options = Options::new(args);
    let levels = [
        ("--build", Level::Build),
        ("--run", Level::Run),
        ("--tests", Level::Tests),
        ("--bench", Level::Bench),
    ];
    let asked = levels.into_iter().filter(|(flag, _)| options.flag(flag)).map(|(_, level)| level).max();
    options.finish_empty()?;
    prepare(asked.unwrap_or(Level::Tests))?;
    eprintln!("setup: ready");
    Ok(ExitCode::SUCCESS)
}

/// Brings the machine to `level`; each level holds the ones before it.
pub(crate) fn prepare(level: Level) -> Result<()> {
    let groups = [
        (Level::Build, packages::BUILD),
        (Level::Run, packages::RUN),
        (Level::Tests, packages::TESTS),
        (Level::Bench, packages::BENCH),
    ];
    let wanted: Vec<&str> = groups
        .into_iter()
        .filter(|(of, _)| *of <= level)
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    packages::install(&wanted)?;
    if level >= Level::Tests {
        receivers::fetch()?;
    }
    if level >= Level::Run {
        mount("bpf", "/sys/fs/bpf")?;
        mount("tracefs", "/sys/kernel/tracing")?;
        daemon::ensure_docker()?;
    }
    Ok(())
}

/// Mounts a file system of the kernel at `place` unless one is mounted there.
fn mount(kind: &str, place: &str) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(place)) || !Path::new(place).exists() {
        return Ok(());
    }
    packages::require_root()?;
    eprintln!("setup: mounting {kind} at {place}");
    run(&mut program("mount", ["-t", kind, kind, place]))
}
