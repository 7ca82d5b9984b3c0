// SPDX-License-Identifier: Apache-2.0
//! Why a kit could not be made, moved, kept or used.

use crate::digest::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// The name cannot be used.
    #[error("{name:?} is no name for a kit: use up to 32 lower case letters, digits and -, a letter first")]
    Name {
        /// What was given.
        name: String,
    },
    /// No digest.
    #[error("{text:?} is no digest: sha256: and 64 hexadecimal digits are one")]
    Digest {
        /// What was given.
        text: String,
    },
    /// A `kit.toml` or a recipe that is wrong.
    #[error("{origin}: {why}")]
    Wrong {
        /// The file, or where the text comes from.
        origin: String,
        /// What is wrong in it.
        why: String,
    },
    /// Nothing on the shelf under this name.
    #[error("there is no kit {name} in {shelf}; see what there is with: purser kit ls", shelf = shelf.display())]
    NoKit {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        shelf: PathBuf,
    },
    /// Packages cannot be had here.
    #[error(
        "kits are built from Debian packages, which takes {program}: {source}; build on Debian or Ubuntu and bring the kit here with: purser kit export, purser kit import"
    )]
    NoPackages {
        /// The program that is missing or fails to start.
        program: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program that fetches or opens packages failed.
    #[error("{doing}: {said}")]
    Fetch {
        /// What was being done.
        doing: String,
        /// The last lines that were printed.
        said: String,
    },
    /// A recipe that names what its packages do not have, or that cannot be relocated.
    #[error("kit {kit}: {at}: {why}")]
    Build {
        /// The kit.
        kit: String,
        /// The path in the kit.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// An image of which no kit can be made.
    #[error("{image}: {why}")]
    Image {
        /// Which one.
        image: String,
        /// What is wrong.
        why: String,
    },
    /// An archive that is damaged, hostile or something else.
    #[error("{archive}: {why}; nothing of it was taken", archive = archive.display())]
    Archive {
        /// The file.
        archive: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// An archive's kit that nobody pinned.
    #[error("{archive}: kit {kit} has the digest {digest}, which is none of those given; nothing of it was taken", archive = archive.display())]
    NotPinned {
        /// The file.
        archive: PathBuf,
        /// The kit.
        kit: String,
        /// What it has.
        digest: Digest,
    },
    /// A kit whose name is pinned to another digest.
    #[error("{archive}: kit {kit} has the digest {digest}, and the configuration pins it to {pin}; nothing was taken", archive = archive.display())]
    Pinned {
        /// Where it comes from.
        archive: PathBuf,
        /// The kit.
        kit: String,
        /// What it has.
        digest: Digest,
        /// What it should have.
        pin: Digest,
    },
    /// A kit that nobody vouches for who is trusted.
    #[error("{archive}: kit {kit}: {why}; the configuration's trust wants a signature, so nothing was taken", archive = archive.display())]
    NotSigned {
        /// Where it comes from.
        archive: PathBuf,
        /// The kit.
        kit: String,
        /// What is missing.
        why: String,
    },
    /// A key that cannot be used.
    #[error("the key {path}: {why}", path = path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Made for another processor.
    #[error("kit {kit} is for {arch} and this host is {here}")]
    Arch {
        /// The kit.
        kit: String,
        /// What it is for.
        arch: String,
        /// What this is.
        here: &'static str,
    },
    /// What is on disk is not what was put there.
    #[error("kit {kit} is damaged: {why}; import or build it again")]
    Damaged {
        /// The kit.
        kit: String,
        /// What differs.
        why: String,
    },
    /// The file system said no.
    #[error("{doing} {path}: {source}", path = path.display())]
    Files {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Names what was being done when the file system said no.
pub(crate) fn files<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> KitError {
    let path = path.to_path_buf();
    move |source| KitError::Files { doing, path, source: source.into() }
}
