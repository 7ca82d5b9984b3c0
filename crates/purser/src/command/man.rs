// SPDX-License-Identifier: Apache-2.0
//! `purser man`: manual pages from the definition of the command line, for packagers.

use super::{definition, docker_debug, output};
use crate::exit::Exit;
use anyhow::Context;
use std::io::Write;
use std::path::PathBuf;

/// Write the manual pages into a directory.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The directory; it is made if need be.
    dir: PathBuf,
}

const HELP: &str = "\
Examples:
  purser man /usr/local/share/man/man1

Exit codes: 0 done, 1 failed, 2 wrong command line";

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(definition(), &args.dir))
        .and_then(|()| clap_mangen::generate_to(docker_debug::definition(), &args.dir))
        .with_context(|| format!("writing manual pages into {}", args.dir.display()))?;
    let mut out = output::stdout();
    let pages = pages(&definition()) + pages(&docker_debug::definition());
    writeln!(out, "{pages} pages, first of them {}", args.dir.join("purser.1").display())?;
    out.flush()?;
    Ok(Exit::Success)
}

/// A page for each command that is shown.
fn pages(command: &clap::Command) -> usize {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    1 + shown.map(pages).sum::<usize>()
}
