// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask deny`: cargo-deny over deny.toml. Building that tool takes minutes, so it is not a part
//! of `test`, where `tidy` holds every dependency's licence against the same list.

use std::process::ExitCode;

use anyhow::Result;

use crate::place;
use crate::process::{cargo, program, run};

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    crate::options::Options::new(args).finish_empty()?;
    let home = place::scratch().join("tools");
    let tool = home.join("bin/cargo-deny");
    if !tool.exists() {
        eprintln!("deny: building cargo-deny, once");
        run(cargo(["install", "--locked", "--quiet", "cargo-deny", "--root"]).arg(&home).current_dir("/"))?;
    }
    run(&mut program(tool, ["check", "licenses", "bans", "sources"]))?;
    Ok(ExitCode::SUCCESS)
}
