// SPDX-License-Identifier: Apache-2.0
//! Images in files: what `docker save` and `podman save` write, OCI image layouts in a tar file or a directory, a tree
//! in a tar file such as `docker export` writes, and an unpacked tree.
//!
//! A layer is read once, from its place in the file, and its unpacked bytes are compared with the digest that the
//! image's configuration has of them.

mod extended;
mod index;
mod made;
mod unpack;

use crate::ImageError;
use crate::config::{Config, Document};
use crate::files::{DOCUMENT_LIMIT, Place, digits};
use crate::stores::architecture;
use index::Files;
use rustix::fs::{Mode, OFlags, mkdirat};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use unpack::Unpacking;
pub use unpack::digest;

const DOCKER: &str = "manifest.json";
const LAYOUT: &str = "index.json";
/// What an image of a layout is called.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
const IMAGES_LIMIT: usize = 64;
const NESTING_LIMIT: usize = 4;

/// An image in a file, or a tree.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// The digest of its configuration, without `sha256:`; nothing where it has none.
    pub id: String,
    /// What it is to be started with.
    pub config: Config,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// A directory that is the tree.
    Unpacked,
    /// A tar file that is the tree.
    Tree,
    /// Files with layers, and the digests of these when they are unpacked; the lowest first.
    Layers { files: Files, layers: Vec<(String, String)> },
}

/// An image of an archive by its documents: configuration, layers, names.
struct Entry {
    names: Vec<String>,
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
}

impl Archive {
    /// What is in the file or directory at `path`; of several images the one called `name`.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or has several images and none is named.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Archive, ImageError> {
        let read = |source| ImageError::Read { path: path.to_path_buf(), source };
        let meta = std::fs::metadata(path).map_err(read)?;
        let files = if meta.is_dir() {
            let place = Place::open(path).ok_or_else(|| read(std::io::ErrorKind::NotFound.into()))?;
            Files::Directory(place)
        } else if meta.is_file() {
            Files::of_tar(path)?
        } else {
            return Err(damaged(path, "it is neither a file nor a directory"));
        };
        let plain =
            |form| Archive { path: path.to_path_buf(), id: String::new(), config: Config::default(), form };
        let entries = match saved(path, &files)? {
            Some(entries) => entries,
            None if files.has(LAYOUT) => layout(path, &files)?,
            None if meta.is_dir() => return Ok(plain(Form::Unpacked)),
            None => return Ok(plain(Form::Tree)),
        };
        let entry = choose(path, entries, name)?;
        let bytes = needed(path, &files, &entry.config)?;
        let document: Document = parse(path, &entry.config, &bytes)?;
        let (digests, config) = document.parts().map_err(|why| damaged(path, why))?;
        if digests.len() != entry.layers.len() {
            return Err(damaged(path, "the image's configuration has another number of layers"));
        }
        let id = unpack::digest(&bytes);
        let layers = entry.layers.into_iter().zip(digests).collect();
        Ok(Archive { path: path.to_path_buf(), id, config, form: Form::Layers { files, layers } })
    }

    /// Unpacks it into an empty directory, at most `limit` bytes, and gives the layers, the highest first. A tree
    /// that is unpacked already is taken as it is.
    ///
    /// # Errors
    /// When it is damaged or leads out of the directory, or there is no room.
    pub fn unpack(&self, into: BorrowedFd<'_>, limit: u64) -> Result<Vec<OwnedFd>, ImageError> {
        let failed = |at: &str, why: String| damaged(&self.path, format!("{at}{why}"));
        let mut unpacking = Unpacking::new(limit);
        match &self.form {
            Form::Unpacked => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let read = |errno: rustix::io::Errno| ImageError::Read {
                    path: self.path.clone(),
                    source: errno.into(),
                };
                Ok(vec![rustix::fs::open(&self.path, flags, Mode::empty()).map_err(read)?])
            }
            Form::Tree => {
                let file = std::fs::File::open(&self.path);
                let file = file.map_err(|source| ImageError::Read { path: self.path.clone(), source })?;
                let layer = directory(into, 0).map_err(|error| failed("", error.to_string()))?;
                unpacking.tree(file, &layer).map_err(|why| failed("", why))?;
                Ok(vec![layer])
            }
            Form::Layers { files, layers } => {
                let mut found = Vec::new();
                for (number, (name, digest)) in layers.iter().enumerate() {
                    let at = format!("{name}: ");
                    let layer = directory(into, number).map_err(|error| failed(&at, error.to_string()))?;
                    let file = files.open(name).map_err(|error| failed(&at, error.to_string()))?;
                    let file = file.ok_or_else(|| failed(&at, "it is not there".to_owned()))?;
                    if unpacking.layer(file, &layer, digest).map_err(|why| failed(&at, why))? {
                        found.clear();
                    }
                    found.push(layer);
                }
                found.reverse();
                Ok(found)
            }
        }
    }
}

fn directory(into: BorrowedFd<'_>, number: usize) -> rustix::io::Result<OwnedFd> {
    let name = number.to_string();
    mkdirat(into, &name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(into, &name, flags, Mode::empty())
}

/// What `docker save` writes; nothing when a file of this name is something else.
fn saved(path: &Path, files: &Files) -> Result<Option<Vec<Entry>>, ImageError> {
    let Some(bytes) = read(path, files, DOCKER)? else { return Ok(None) };
    let Ok(all) = serde_json::from_slice::<Vec<Saved>>(&bytes) else { return Ok(None) };
    let entries = all.into_iter().take(IMAGES_LIMIT).map(|one| Entry {
        names: one.repo_tags.unwrap_or_default(),
        config: one.config,
        layers: one.layers,
    });
    let entries: Vec<Entry> = entries.collect();
    Ok(entries.iter().all(|one| files.has(&one.config)).then_some(entries))
}

fn layout(path: &Path, files: &Files) -> Result<Vec<Entry>, ImageError> {
    let bytes = needed(path, files, LAYOUT)?;
    let mut found = Vec::new();
    manifests(path, files, (LAYOUT, &bytes), &[], NESTING_LIMIT, &mut found)?;
    Ok(found)
}

/// Collects the images of an index, and of those in it: of several for one name the one for this processor.
fn manifests(
    path: &Path,
    files: &Files,
    (at, bytes): (&str, &[u8]),
    names: &[String],
    depth: usize,
    found: &mut Vec<Entry>,
) -> Result<(), ImageError> {
    let manifest: Manifest = parse(path, at, bytes)?;
    if let Some(config) = manifest.config {
        let blob = |one: &Descriptor| {
            blob(&one.digest).ok_or_else(|| damaged(path, format!("{at}: a digest is none")))
        };
        let layers = manifest.layers.unwrap_or_default().iter().map(blob).collect::<Result<_, _>>()?;
        found.push(Entry { names: names.to_vec(), config: blob(&config)?, layers });
        return Ok(());
    }
    if depth == 0 {
        return Err(damaged(path, "its indexes have no end"));
    }
    let mut below = manifest.manifests.unwrap_or_default();
    let is_ours =
        |one: &Descriptor| one.platform.as_ref().is_some_and(|of| of.architecture == architecture());
    // An index within an index is one image for several processors.
    if depth < NESTING_LIMIT || below.iter().all(|one| names_of(one).is_empty() && one.platform.is_some()) {
        below.sort_by_key(|one| !is_ours(one));
        below.truncate(1);
    }
    for one in below.iter().take(IMAGES_LIMIT) {
        let at = blob(&one.digest).ok_or_else(|| damaged(path, format!("{at}: a digest is none")))?;
        let bytes = needed(path, files, &at)?;
        let own = names_of(one);
        let names = if own.is_empty() { names } else { &own };
        manifests(path, files, (&at, &bytes), names, depth - 1, found)?;
    }
    Ok(())
}

fn names_of(one: &Descriptor) -> Vec<String> {
    let of = |key: &&str| one.annotations.as_ref()?.get(*key).cloned();
    NAMES.iter().filter_map(of).collect()
}

fn blob(digest: &str) -> Option<String> {
    Some(format!("blobs/sha256/{}", digits(digest)?))
}

fn choose(path: &Path, mut entries: Vec<Entry>, name: Option<&str>) -> Result<Entry, ImageError> {
    let all: Vec<String> = entries.iter().map(|one| one.names.join(" ").escape_debug().to_string()).collect();
    if let Some(name) = name {
        entries.retain(|one| one.names.iter().any(|known| known == name));
    }
    match (entries.pop(), entries.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) if all.is_empty() => Err(damaged(path, "there is no image in it")),
        (None, _) => {
            Err(damaged(path, format!("there is no such image in it; there are: {}", all.join(", "))))
        }
        (Some(_), false) => {
            let all = all.join(", ");
            Err(damaged(path, format!("there are several images in it; write archive:FILE#NAME, of: {all}")))
        }
    }
}

fn read(path: &Path, files: &Files, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
    files.read(name, DOCUMENT_LIMIT).map_err(|error| damaged(path, format!("{name}: {error}")))
}

fn needed(path: &Path, files: &Files, name: &str) -> Result<Vec<u8>, ImageError> {
    let bytes = read(path, files, name)?.ok_or_else(|| damaged(path, format!("there is no {name} in it")))?;
    // What is called by its digest can be compared with it.
    match name.strip_prefix("blobs/sha256/") {
        Some(hex) if hex != unpack::digest(&bytes) => {
            Err(damaged(path, format!("{name} is not what it is called")))
        }
        _ => Ok(bytes),
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, name: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| damaged(path, format!("{name}: {error}")))
}

fn damaged(path: &Path, why: impl Into<String>) -> ImageError {
    ImageError::Damaged { path: path.to_path_buf(), why: why.into() }
}

#[cfg(test)]
mod tests;
