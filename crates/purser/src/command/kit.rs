// SPDX-License-Identifier: Apache-2.0
//! `purser kit`: toolkits for `purser debug`, from recipes, on this host, and to other hosts.

mod build;
mod carry;
mod fetch;
mod image;
mod login;
mod look;
mod names;
mod progress;
mod pull;
mod push;
mod sign;

pub(super) use fetch::fetch;
pub(super) use image::of_image;
pub(super) use names::shelved_or_path;

use crate::config::{Config, Debug};
use crate::exit::Exit;
use kit::{KitError, Name, PublicKey, Shelf};
use std::path::PathBuf;

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
file or by a registry.

Examples:
  purser kit build base gdb                    build two of the kits that purser has recipes for
  purser kit build ./mine.toml                 build a kit of your own
  purser kit ls                                what there is on this host, and what can be built
  purser kit export --all kits.tar             all kits in one file, for a host without a network
  purser kit import kits.tar                   take them there
  purser kit pull gdb                          or fetch one from the registry of the configuration
  purser kit import --image tools:1 --name t   all programs of an image of this host as a kit
  purser kit verify                            is every file as it was?

Exit codes: 0 done, 1 failed, or damage was found; 2 wrong command line";

#[derive(Debug, clap::Subcommand)]
enum KitCommand {
    Ls(look::List),
    Show(look::Show),
    Build(build::Build),
    Export(carry::Export),
    Import(carry::Import),
    Pull(pull::Pull),
    Push(push::Push),
    Sign(sign::Sign),
    Key(sign::Key),
    Verify(look::Verify),
    Rm(look::Remove),
    Gc(look::Collect),
}

/// Where this host's kits are.
#[derive(Clone, Debug, clap::Args)]
struct Kits {
    /// The directory of kits [default: `debug.kits` of the configuration, /var/lib/purser-kits].
    #[arg(long, value_name = "DIR")]
    kits: Option<PathBuf>,
}

impl Kits {
    /// Where sessions look for them, too.
    fn directory(&self) -> anyhow::Result<PathBuf> {
        match &self.kits {
            Some(kits) => Ok(kits.clone()),
            None => Ok(Config::load(None)?.0.debug.kits),
        }
    }

    fn shelf(&self) -> anyhow::Result<Shelf> {
        Ok(Shelf::new(&self.directory()?))
    }
}

/// Where kits are, where they come from, and who is trusted.
#[derive(Clone, Debug, clap::Args)]
struct Sources {
    /// The configuration file [default: /etc/purser/purser.toml if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    kits: Kits,
}

impl Sources {
    fn load(&self) -> anyhow::Result<Debug> {
        let mut debug = Config::load(self.config.as_deref())?.0.debug;
        if let Some(kits) = &self.kits.kits {
            debug.kits.clone_from(kits);
        }
        Ok(debug)
    }
}

/// The keys that the configuration trusts.
fn trusted(debug: &Debug) -> Result<Vec<PublicKey>, KitError> {
    debug.trust.iter().map(|path| PublicKey::read(path)).collect()
}

/// What the configuration pins kits to; it was checked when it was read.
fn pins(debug: &Debug) -> std::collections::BTreeMap<Name, kit::Digest> {
    debug
        .pins
        .iter()
        .filter_map(|(name, pin)| Some((Name::new(name).ok()?, kit::Digest::new(pin).ok()?)))
        .collect()
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        KitCommand::Ls(list) => list.run(),
        KitCommand::Show(show) => show.run(),
        KitCommand::Build(build) => build.run(),
        KitCommand::Export(export) => export.run(),
        KitCommand::Import(import) => import.run(),
        KitCommand::Pull(pull) => pull.run(),
        KitCommand::Push(push) => push.run(),
        KitCommand::Sign(sign) => sign.run(),
        KitCommand::Key(key) => key.run(),
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
    if bytes < 1 << 20 {
        return format!("{} KiB", bytes.div_ceil(1 << 10));
    }
    let tenths = bytes / ((1 << 20) / 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        let sizes = [(1, "1 KiB"), (30_000, "30 KiB"), (1 << 20, "1.0 MiB"), (44_879_053, "42.8 MiB")];
        for (bytes, told) in sizes {
            assert_eq!(size(bytes), told);
        }
    }
}
