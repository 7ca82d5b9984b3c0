// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test`: everything that must pass before a change is in. The first step that fails ends it.
//!
//! The tests of the rooms come last, so that the end of the output is cargo's own summary.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::options::Options;
use crate::process::{cargo, run};
use crate::setup::{self, Level};
use crate::{dist, fuzz, place, tidy};

const FUZZ_SECONDS: u64 = 12;

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    let (words, test_args) = Options::new(args).finish()?;
    anyhow::ensure!(words.is_empty(), "unexpected argument {:?}; arguments of cargo test follow `--`", words);
    step("setup", || setup::prepare(Level::Tests))?;
    step("fmt", formatted)?;
    step("tidy", tidy::check)?;
    step("clippy", || {
        run(&mut cargo([
            "clippy",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    // The file that users copy must stay small and need nothing beside it.
    step("dist", || dist::make().map(|made| eprintln!("{made}")))?;
    step("fuzz", || fuzz::fuzz(&[], FUZZ_SECONDS, &[]))?;
    step("cargo test", || {
        // Everything that fails is told at once: a run takes long.
        let mut cargo = cargo(["test", "--locked", "--workspace", "--no-fail-fast"]);
        // A test that cannot run on this machine says SKIP elsewhere; here that is a failure.
        run(cargo.args(&test_args).env("PURSER_REQUIRE_ALL", "1"))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("test: {name} ...");
    let start = Instant::now();
    let result = work().with_context(|| format!("step {name}"));
    let end = if result.is_ok() { "ok" } else { "FAILED" };
    eprintln!("test: {name} {end} after {:.1} s", start.elapsed().as_secs_f64());
    result
}

/// The fuzz targets are a workspace of their own.
fn formatted() -> Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    run(cargo(["fmt", "--check"]).current_dir(place::root().join("fuzz")))
}
