// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask tidy`: the rules of the house that no compiler and no linter knows. It only reads.

mod code;
mod licences;
mod rooms;
mod source;

use std::fmt;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::place;
use crate::process::{output, program};

/// A rule that a file breaks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 when it is about the whole file.
    line: usize,
    says: String,
}

impl Finding {
    fn new(path: &str, line: usize, says: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, says: says.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.path, self.says),
            line => write!(out, "{}:{line}: {}", self.path, self.says),
        }
    }
}

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    crate::options::Options::new(args).finish_empty()?;
    check()?;
    Ok(ExitCode::SUCCESS)
}

/// Checks every file git knows or would add.
pub(crate) fn check() -> Result<()> {
    let listed =
        output(&mut program("git", ["ls-files", "-co", "--exclude-standard"])).context("list the files")?;
    let mut findings = Vec::new();
    let mut files = 0;
    for path in listed.lines() {
        // A file that is deleted but not yet committed so is still listed.
        let Ok(bytes) = fs::read(place::root().join(path)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        files += 1;
        findings.extend(source::check(path, &text));
        if rooms::is_manifest(path) {
            findings.extend(rooms::check(path, &text));
        }
    }
    findings.extend(licences::check()?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    eprintln!("tidy: {files} files");
    Ok(())
}
