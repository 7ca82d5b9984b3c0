// SPDX-License-Identifier: Apache-2.0
//! `purser kit pull`: kits from registries.

use super::super::{Usage, output, say};
use super::{Sources, fetch, names};
use crate::exit::Exit;
use clap_complete::ArgValueCandidates;
use kit::{Digest, Shelf};
use std::io::Write;

/// Most kits of one call, those counted that others need.
const KITS_LIMIT: usize = 64;

/// Fetch kits from a registry.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
NAME means the registry that the configuration names below [debug], and its mirrors before it;
there is no registry that is meant otherwise. Logins are those of docker login and podman login.
Every byte is compared with its digest, a digest in the reference with the image's, pins of the
configuration with the kit's; when trust names keys, the kit must be signed with one of them.
What a kit fetched by its name needs is fetched, too.

Examples:
  purser kit pull gdb
  purser kit pull gdb:18
  purser kit pull registry.example:5000/kits/gdb:18@sha256:9f2c…

Exit codes: 0 all are there, 1 failed, 2 wrong command line or configuration")]
pub(super) struct Pull {
    /// Kits: NAME, NAME:TAG, or REGISTRY/REPOSITORY:TAG@DIGEST.
    #[arg(value_name = "KIT", required = true, add = ArgValueCandidates::new(names::shipped))]
    wanted: Vec<String>,
    /// Take kits with these digests only, as purser kit ls shows them. May be repeated.
    #[arg(long, value_name = "DIGEST")]
    digest: Vec<String>,
    #[command(flatten)]
    sources: Sources,
}

impl Pull {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let digests = self.digest.iter().map(|digest| Digest::new(digest)).collect::<Result<Vec<_>, _>>();
        let digests = digests.map_err(|error| Usage(format!("--digest: {error}")))?;
        let debug = self.sources.load()?;
        let mut out = output::stdout();
        let mut left: Vec<String> = self.wanted.iter().rev().cloned().collect();
        let mut done = 0;
        while let Some(word) = left.pop() {
            done += 1;
            if done > KITS_LIMIT {
                anyhow::bail!(Usage(format!("more than {KITS_LIMIT} kits at once")));
            }
            let fetched = fetch::fetch(&debug, &word, &digests)?;
            let kit = fetched.kit;
            let news = if fetched.known { "  as before" } else { "" };
            writeln!(out, "{}  {}{news}", kit.manifest.name, kit.digest)?;
            out.flush()?;
            for required in &kit.manifest.requires {
                let there = Shelf::new(&debug.kits).find(required).is_ok();
                let coming = left.iter().any(|word| word == required.as_str());
                if there || coming {
                    continue;
                }
                if word.contains('/') || !digests.is_empty() {
                    say(&format!("purser: kit {} needs kit {required}; fetch it, too", kit.manifest.name));
                } else {
                    left.push(required.to_string());
                }
            }
        }
        Ok(Exit::Success)
    }
}
