// SPDX-License-Identifier: Apache-2.0
//! `purser kit`: toolkits for `purser debug`, from recipes, on this host, and to other hosts.

mod build;
mod carry;
mod look;
mod progress;

use crate::exit::Exit;
use kit::{KitError, Name, Shelf};
use std::path::PathBuf;

/// Where kits are if nobody says.
const KITS: &str = "/var/lib/purser-kits";

/// Build, move, check and remove the toolkits of purser debug.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: KitCommand,
}

const HELP: &str = "\
A kit is a set of tools with its own loader and libraries, so that it runs in every container. Kits
are built from Debian packages by recipes, on a Debian or Ubuntu host, and carried to others in one
file.

Examples:
  purser kit build base gdb                    build two of the kits that purser has recipes for
  purser kit build ./mine.toml                 build a kit of your own
  purser kit ls                                what there is on this host, and what can be built
  purser kit export --all kits.tar             all kits in one file, for a host without a network
  purser kit import kits.tar                   take them there
  purser kit verify                            is every file as it was?

Exit codes: 0 done, 1 failed, or damage was found; 2 wrong command line";

#[derive(Debug, clap::Subcommand)]
enum KitCommand {
    Ls(look::List),
    Show(look::Show),
    Build(build::Build),
    Export(carry::Export),
    Import(carry::Import),
    Verify(look::Verify),
    Rm(look::Remove),
    Gc(look::Collect),
}

/// Where this host's kits are.
#[derive(Clone, Debug, clap::Args)]
struct Kits {
    /// The directory of kits.
    #[arg(long, value_name = "DIR", default_value = KITS)]
    kits: PathBuf,
}

impl Kits {
    fn shelf(&self) -> Shelf {
        Shelf::new(&self.kits)
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        KitCommand::Ls(list) => list.run(),
        KitCommand::Show(show) => show.run(),
        KitCommand::Build(build) => build.run(),
        KitCommand::Export(export) => export.run(),
        KitCommand::Import(import) => import.run(),
        KitCommand::Verify(verify) => verify.run(),
        KitCommand::Rm(remove) => remove.run(),
        KitCommand::Gc(collect) => collect.run(),
    }
}

fn named(names: &[String]) -> Result<Vec<Name>, KitError> {
    names.iter().map(|name| Name::new(name)).collect()
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let tenths = bytes / ((1 << 20) / 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
