// SPDX-License-Identifier: Apache-2.0
//! `purser kit push`: a kit of this host into a registry, and who vouches for it beside it.

use super::super::{Usage, output};
use super::progress::Progress;
use super::{Sources, fetch, names};
use crate::exit::Exit;
use clap_complete::ArgValueCandidates;
use kit::{Name, Packed, Shelf};
use registry::{Reference, Repository};
use std::io::Write;

/// Put a kit into a registry.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The kit becomes the image that purser kit export makes. Its signatures go beside it. What is
printed last can be given to purser kit pull as it is.

Examples:
  purser kit push gdb registry.example/kits/gdb:18
  purser kit push gdb                    below the registry of the configuration")]
pub(super) struct Push {
    /// The kit.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(names::shelved))]
    name: String,
    /// Where to put it [default: the name, below registry of [debug] of the configuration].
    #[arg(value_name = "REGISTRY/REPOSITORY:TAG")]
    to: Option<String>,
    #[command(flatten)]
    sources: Sources,
}

impl Push {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut debug = self.sources.load()?;
        // What is put goes to the registry itself.
        debug.mirrors.clear();
        let name = Name::new(&self.name)?;
        let to = self.to.as_deref().unwrap_or(&self.name);
        let wish = fetch::wish(&debug, to)?;
        let Some(reference) = wish.places.first() else { anyhow::bail!("there is no registry") };
        if reference.digest.is_some() {
            anyhow::bail!(Usage(format!("{reference} has a digest; it is told when the kit is there")));
        }
        let shelf = Shelf::new(&debug.kits);
        let kit = shelf.find(&name)?;
        let progress = Progress::new("packing", 1);
        progress.note(name.as_str());
        let packed = kit::pack(&shelf, &kit)?;
        drop(progress);
        let signatures = shelf.signatures(&kit.digest)?;
        let digest = fetch::with_registry(&debug, reference, |repository| {
            let digest = put(repository, reference.tag(), &packed)?;
            if !signatures.is_empty() {
                let beside = Packed::signatures(&packed, &signatures)?;
                put(repository, &Packed::signature_tag(&kit::Digest::new(digest.as_str())?), &beside)?;
            }
            Ok(digest)
        })?;
        let mut out = output::stdout();
        writeln!(out, "{name}  {}", kit.digest)?;
        let image =
            Reference { tag: Some(reference.tag().to_string()), digest: Some(digest), ..reference.clone() };
        writeln!(out, "{image}")?;
        out.flush()?;
        Ok(Exit::Success)
    }
}

fn put(repository: &mut Repository<'_>, tag: &str, packed: &Packed) -> anyhow::Result<registry::Digest> {
    let whole = packed.blobs.iter().map(|blob| blob.len() as u64).sum();
    let progress = Progress::new("sending", whole);
    for blob in &packed.blobs {
        repository.push_blob(blob, &|bytes| progress.add(bytes))?;
    }
    let (kind, manifest) = &packed.manifest;
    Ok(repository.push_manifest(tag, kind, manifest)?)
}
