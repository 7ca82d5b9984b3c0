// SPDX-License-Identifier: Apache-2.0
//! `purser kit key` and `purser kit sign`: keys, and kits that somebody vouches for.

use super::super::output;
use super::{Sources, names};
use crate::exit::Exit;
use anyhow::Context;
use clap_complete::ArgValueCompleter;
use kit::{Name, SecretKey, Shelf};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Make a pair of keys, to sign kits with and to know them by.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
FILE becomes the key to sign with, which only its owner may read: keep it off the hosts that use
kits. FILE.pub becomes the key that hosts are given by trust below [debug] of the configuration.
Both are Ed25519 in PEM, as openssl genpkey -algorithm ed25519 makes them, too.

Examples:
  purser kit key kits.key")]
pub(super) struct Key {
    /// The file for the key, which must not be there.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Key {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let key = SecretKey::random().context("asking the kernel for random bytes")?;
        let mut name = self.file.clone().into_os_string();
        name.push(".pub");
        let public = PathBuf::from(name);
        write(&self.file, 0o600, &key.render())?;
        write(&public, 0o644, &key.public().render()).inspect_err(|_| {
            // Half a pair is none.
            fs::remove_file(&self.file).unwrap_or_default();
        })?;
        let mut out = output::stdout();
        writeln!(out, "{}: the key to sign with; keep it where kits are built", self.file.display())?;
        writeln!(out, "{}: the key for trust = [\"…\"] on hosts", public.display())?;
        writeln!(out, "{}", key.public())?;
        out.flush()?;
        Ok(Exit::Success)
    }
}

fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let make = || {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    make().with_context(|| format!("writing the key {}", path.display()))
}

/// Vouch for a kit of this host, or for all kits in a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The signature is over the kit's digest, and so over every byte of it. That of a kit goes with it
when it is exported or pushed. A file is replaced by one with signatures for all kits in it.

Examples:
  purser kit sign gdb --key kits.key && purser kit push gdb
  purser kit sign kits.tar --key kits.key")]
pub(super) struct Sign {
    /// A kit of this host, or a file of purser kit export (it has a / or ends in .tar).
    #[arg(value_name = "NAME|FILE", add = ArgValueCompleter::new(names::shelved_or_path))]
    what: String,
    /// The key, as purser kit key makes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    sources: Sources,
}

impl Sign {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        // The key is in this process from now on.
        crate::agent::hide()?;
        let key = SecretKey::read(&self.key)?;
        let file = Path::new(&self.what);
        let signed =
            if self.what.contains('/') || file.extension().is_some_and(|extension| extension == "tar") {
                let kits = kit::seal(file, &key)?;
                kits.into_iter()
                    .map(|kit| (crate::table::harmless(&kit.title).into_owned(), kit.digest))
                    .collect()
            } else {
                let shelf = Shelf::new(&self.sources.load()?.kits);
                let kit = shelf.sign(&Name::new(&self.what)?, &key)?;
                vec![(kit.manifest.name.to_string(), kit.digest)]
            };
        let mut out = output::stdout();
        for (name, digest) in signed {
            writeln!(out, "{name}  {digest}  signed with {}", key.public())?;
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}
