// SPDX-License-Identifier: Apache-2.0
//! `purser completions`: completion scripts from the definition of the command line.

use super::{definition, output};
use crate::exit::Exit;
use clap_complete::Shell;
use std::io::Write;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// For this shell.
    shell: Shell,
}

const HELP: &str = "\
Examples:
  purser completions bash > /etc/bash_completion.d/purser
  purser completions zsh > /usr/local/share/zsh/site-functions/_purser
  purser completions fish > ~/.config/fish/completions/purser.fish

Exit codes: 0 done, 1 failed, 2 wrong command line";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    // The generator panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "purser", &mut script);
    let mut out = output::stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::Success)
}
