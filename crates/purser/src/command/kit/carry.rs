// SPDX-License-Identifier: Apache-2.0
//! `purser kit export` and `import`: kits in one file, from host to host; images as kits.

use super::super::{Usage, output};
use super::progress::Progress;
use super::{Kits, Sources, named, names, size, trusted};
use crate::exit::Exit;
use clap_complete::ArgValueCandidates;
use kit::{Archive, Digest, Shelf, Shelved, Wanted};
use std::io::Write;
use std::path::PathBuf;

/// Write kits into one file: an OCI image layout in a tar file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The same kits make the same file. Other programs read it, too: skopeo copy oci-archive:FILE:NAME …

Examples:
  purser kit export --all kits.tar
  purser kit export base gdb --output gdb.tar")]
pub(super) struct Export {
    /// The kits.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    #[arg(add = ArgValueCandidates::new(names::shelved))]
    names: Vec<String>,
    /// All kits of this host, into FILE.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "output"])]
    all: Option<PathBuf>,
    /// The file.
    #[arg(short, long, value_name = "FILE", required_unless_present = "all")]
    output: Option<PathBuf>,
    #[command(flatten)]
    kits: Kits,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let shelf = self.kits.shelf()?;
        let kits: Vec<Shelved> = match &self.all {
            Some(_) => shelf.list()?.into_iter().map(|(_, kit)| kit).collect::<Result<_, _>>()?,
            None => named(&self.names)?.iter().map(|name| shelf.find(name)).collect::<Result<_, _>>()?,
        };
        if kits.is_empty() {
            let message = format!(
                "there are no kits in {}; build some with: purser kit build",
                self.kits.directory()?.display()
            );
            anyhow::bail!(message);
        }
        let Some(file) = self.all.as_ref().or(self.output.as_ref()) else {
            return Err(Usage("say into which file, with --output".to_string()).into());
        };
        let progress = Progress::new("packing", u64::try_from(kits.len()).unwrap_or(1));
        let length = kit::export(&shelf, &kits, file, &|_| progress.add(1))?;
        drop(progress);
        let mut out = output::stdout();
        for kit in &kits {
            writeln!(out, "{}  {}", kit.manifest.name, kit.digest)?;
        }
        writeln!(out, "{}: {}", file.display(), size(length))?;
        out.flush()?;
        Ok(Exit::Success)
    }
}

/// Take kits from a file that purser kit export has written, or make one of an image.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All kits of the file are taken, or none. Every byte is compared with the digests in the file;
that tells damage, and --digest tells whether it is what you were promised. When trust of the
configuration names keys, each kit must be signed with one of them; what pins names must be what
it says.

With --image it is all programs in the PATH of an image that Docker, Podman or containerd has on
this host, with the libraries they need, moved to where kits are. What cannot be moved is left
out and told. Data is what programs look for at fixed paths: take it along with --keep, and tell
the program where.

Examples:
  purser kit import kits.tar
  purser kit import gdb.tar --digest sha256:9f2c… --digest sha256:11ab…
  purser kit import --image nicolaka/netshoot:latest --name netshoot --keep 'usr/share/nmap/**'")]
pub(super) struct Import {
    /// The file.
    #[arg(value_name = "FILE", required_unless_present = "image")]
    file: Option<PathBuf>,
    /// An image of this host's engines.
    #[arg(long, value_name = "REF", conflicts_with_all = ["file", "digest"])]
    image: Option<String>,
    /// What the kit of the image is called [default: the last part of the image's name].
    #[arg(long, value_name = "NAME", requires = "image")]
    name: Option<String>,
    /// A pattern of more files of the image to take, such as usr/share/nmap/**. May be repeated.
    #[arg(long, value_name = "PATTERN", requires = "image")]
    keep: Vec<String>,
    /// Take kits with these digests only, and refuse the file if it has others. May be repeated.
    #[arg(long, value_name = "DIGEST")]
    digest: Vec<String>,
    #[command(flatten)]
    sources: Sources,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let pins = self.digest.iter().map(|digest| Digest::new(digest)).collect::<Result<Vec<_>, _>>();
        let pins = pins.map_err(|error| Usage(format!("--digest: {error}")))?;
        let debug = self.sources.load()?;
        let (trust, named) = (trusted(&debug)?, super::pins(&debug));
        let wanted = Wanted { digests: &pins, pins: Some(&named), name: None, trust: &trust };
        let shelf = Shelf::new(&debug.kits);
        let mut out = output::stdout();
        let Some(file) = &self.file else {
            let image = self.image.as_deref().unwrap_or_default();
            let built = super::image::whole(image, self.name.as_deref(), &self.keep)?;
            let bytes = built.tree.bytes();
            let kit = shelf.put(&built)?;
            writeln!(out, "{}  {}  {}", kit.manifest.name, size(bytes), kit.digest)?;
            out.flush()?;
            return Ok(Exit::Success);
        };
        let archive = Archive::open(file)?;
        let progress = Progress::new("unpacking", archive.kits().iter().map(|kit| kit.packed).sum());
        let taken = archive.import(&shelf, &wanted, &|bytes| progress.add(bytes))?;
        drop(progress);
        for kit in taken {
            writeln!(out, "{}  {}", kit.manifest.name, kit.digest)?;
        }
        out.flush()?;
        Ok(Exit::Success)
    }
}
