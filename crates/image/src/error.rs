// SPDX-License-Identifier: Apache-2.0
//! Why the files of an image or a container cannot be had.

use std::io;
use std::path::PathBuf;

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Nothing is called so.
    #[error("no image on this host is called {word:?}{candidates}")]
    Unknown {
        /// What was asked for.
        word: String,
        /// What there is, as text that goes on from the sentence.
        candidates: String,
    },
    /// Several are called so.
    #[error("{word:?} may be one of several images; write more of the id:{candidates}")]
    Ambiguous {
        /// What was asked for.
        word: String,
        /// Which, a line each.
        candidates: String,
    },
    /// No image can be called so.
    #[error("{word:?} is no name of an image: write NAME[:TAG][@sha256:DIGEST], or the start of an id")]
    Reference {
        /// What was given.
        word: String,
    },
    /// No store has the container.
    #[error("no engine's files have the layers of container {id}")]
    NoContainer {
        /// Its id.
        id: String,
    },
    /// The engine keeps files in a way that is not known here.
    #[error(
        "{name} is kept by the storage driver {driver:?}, whose files cannot be read here; export it (docker save, docker export) and open it as archive:FILE"
    )]
    Driver {
        /// The image or the container.
        name: String,
        /// The driver.
        driver: String,
    },
    /// Only packed layers are here.
    #[error("{name} is not unpacked for any container yet ({why}); export it and open it as archive:FILE")]
    Packed {
        /// The image.
        name: String,
        /// What is missing.
        why: String,
    },
    /// A layer's directory is not there.
    #[error("a layer of {name} is missing: there is no directory {path}; pull or load the image again", path = path.display())]
    Missing {
        /// The image or the container.
        name: String,
        /// Where the layer should be.
        path: PathBuf,
    },
    /// A file that is damaged or hostile.
    #[error("{path}: {why}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file system said no.
    #[error("reading {path}: {source}", path = path.display())]
    Read {
        /// What was being read.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}
