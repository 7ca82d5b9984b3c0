// SPDX-License-Identifier: Apache-2.0
//! Kits on their way between hosts: one tar file with an OCI image layout, one image with one layer for each kit.
//!
//! An archive is not believed: every blob is read to its end and compared with the digest that names it, every
//! number is bounded, and files are written below the shelf only by [`crate::shelf`], which holds to the one form of
//! a layer. All kits of an archive come onto the shelf, or none.

mod export;
mod gather;
mod part;
mod seal;
#[cfg(test)]
mod tests;

#[cfg(feature = "around")]
pub use export::around;
pub use export::{Packed, export, pack};
pub use gather::Gathering;
pub use seal::seal;

use crate::digest::{Digest, Digesting};
use crate::error::{KitError, files};
use crate::name::Name;
use crate::oci::{Descriptor, INDEX_FILE, ImageConfig, ImageManifest, Index, LAYOUT_FILE, Packing};
use crate::shelf::{Adding, Shelf, Shelved, Unpacked};
use crate::sign::{PublicKey, Signature};
use part::Part;
use rustix::fs::{Mode, OFlags, open};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Most files in an archive.
const FILES_LIMIT: usize = 10_000;
/// Longest JSON document, in bytes.
const DOCUMENT_LIMIT: u64 = 1 << 20;
/// Most kits in an archive.
const KITS_LIMIT: usize = 256;
/// Most bytes that all kits of an archive may have when they are unpacked.
const UNPACKED_LIMIT: u64 = 16 << 30;

/// An archive that was opened and whose documents are right.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    file: Arc<File>,
    /// Where the data of each file begins, and how long it is.
    places: BTreeMap<String, (u64, u64)>,
    index: Index,
    kits: Vec<Entry>,
}

/// Which kits may be taken. All that is said must hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The digests that may be; any if there are none.
    pub digests: &'a [Digest],
    /// What the kits of these names must be.
    pub pins: Option<&'a BTreeMap<Name, Digest>>,
    /// What every kit must be called; anything when it is not said.
    pub name: Option<&'a Name>,
    /// Who must vouch for each kit, one of these; nobody need if there are none.
    pub trust: &'a [PublicKey],
}

/// A kit in an archive, as the archive's documents have it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the archive calls it. What it is stands in its `kit.toml`.
    pub title: String,
    /// The digest of the kit.
    pub digest: Digest,
    /// Its bytes in the archive.
    pub packed: u64,
    /// Who vouches for it.
    pub signatures: Vec<Signature>,
    layer: Descriptor,
    packing: Packing,
}

impl Archive {
    /// Opens an archive and reads its documents, which names every blob that is needed.
    ///
    /// # Errors
    /// When it cannot be read, or is no image layout with kits.
    pub fn open(path: &Path) -> Result<Archive, KitError> {
        // A pipe would wait for a writer before it can be told that it is no file.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = open(path, flags, Mode::empty()).map_err(io::Error::from);
        Archive::of(File::from(file.map_err(files("opening", path))?), path)
    }

    /// The same for a file that is open; `path` is what messages call it.
    ///
    /// # Errors
    /// As for [`Archive::open`].
    pub fn of(file: File, path: &Path) -> Result<Archive, KitError> {
        let wrong = |why: String| KitError::Archive { archive: path.to_path_buf(), why };
        let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if !regular {
            return Err(wrong("it is no regular file".to_string()));
        }
        let file = Arc::new(file);
        let places =
            places(&file).map_err(|error| wrong(format!("it is damaged, or no tar file: {error}")))?;
        let (path, index, kits) = (path.to_path_buf(), Index::of(Vec::new()), Vec::new());
        let mut archive = Archive { path, file, places, index, kits };
        if !archive.places.contains_key(LAYOUT_FILE) {
            return Err(wrong(format!("it is no OCI image layout: there is no {LAYOUT_FILE} in it")));
        }
        let index: Index = archive.document(INDEX_FILE, None)?;
        if index.manifests.is_empty() || index.manifests.len() > KITS_LIMIT {
            return Err(wrong(format!(
                "{} images in it; 1 to {KITS_LIMIT} can be kits",
                index.manifests.len()
            )));
        }
        for image in &index.manifests {
            let entry = archive.entry(image)?;
            archive.kits.push(entry);
        }
        archive.index = index;
        Ok(archive)
    }

    /// The kits in it.
    #[must_use]
    pub fn kits(&self) -> &[Entry] {
        &self.kits
    }

    /// Puts all kits onto the shelf, or none when one is not `wanted`. `seen` is told the bytes of the archive that
    /// were read, from several threads.
    ///
    /// # Errors
    /// When something in the archive is not as it should be, or a file cannot be written.
    pub fn import(
        &self,
        shelf: &Shelf,
        wanted: &Wanted<'_>,
        seen: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Shelved>, KitError> {
        self.kits.iter().try_for_each(|entry| self.may_be_taken(entry, wanted))?;
        let adding = shelf.adding()?;
        let unpacked = self.unpack(&adding, &AtomicU64::new(UNPACKED_LIMIT), seen)?;
        let mut names: Vec<&Name> = unpacked.iter().map(|kit| &kit.name).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            let twice = pair.first().map_or("", |name| name.as_str());
            return Err(self.wrong(format!("it has two kits {twice}")));
        }
        if let Some((kit, name)) =
            unpacked.iter().find_map(|kit| Some((kit, wanted.name.filter(|name| **name != kit.name)?)))
        {
            return Err(self.wrong(format!("it is the kit {} and not {name}", kit.name)));
        }
        if let Some((kit, pin)) = unpacked.iter().find_map(|kit| {
            let pin = wanted.pins?.get(&kit.name)?;
            (*pin != kit.digest).then_some((kit, *pin))
        }) {
            let (archive, kit, digest) = (self.path.clone(), kit.name.to_string(), kit.digest);
            return Err(KitError::Pinned { archive, kit, digest, pin });
        }
        for entry in &self.kits {
            // A wrong one must not take the place of a right one.
            let good = entry.signatures.iter().filter(|one| one.is_good(&entry.digest, &one.by));
            let good: Vec<Signature> = good.cloned().collect();
            if !good.is_empty() {
                adding.vouch(&entry.digest, &good)?;
            }
        }
        adding.keep(&unpacked)?;
        unpacked.iter().map(|kit| shelf.find(&kit.name)).collect()
    }

    /// What can be told before anything is unpacked.
    fn may_be_taken(&self, entry: &Entry, wanted: &Wanted<'_>) -> Result<(), KitError> {
        let (archive, kit, digest) = (self.path.clone(), entry.title.clone(), entry.digest);
        if !wanted.digests.is_empty() && !wanted.digests.contains(&digest) {
            return Err(KitError::NotPinned { archive, kit, digest });
        }
        let good = |signature: &Signature| wanted.trust.iter().any(|key| signature.is_good(&digest, key));
        if wanted.trust.is_empty() || entry.signatures.iter().any(good) {
            return Ok(());
        }
        let why = match entry.signatures.first() {
            None => "nobody has signed it".to_string(),
            Some(one) if wanted.trust.contains(&one.by) => "its signature is for something else".to_string(),
            Some(one) => format!("it is signed with the key {}, which is not among those trusted", one.by),
        };
        Err(KitError::NotSigned { archive, kit, why })
    }

    /// One thread takes every other kit, so that two are unpacked at once.
    fn unpack(
        &self,
        adding: &Adding<'_>,
        room: &AtomicU64,
        seen: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Unpacked>, KitError> {
        let share = |first: usize| -> Result<Vec<Unpacked>, KitError> {
            self.kits.iter().skip(first).step_by(2).map(|entry| self.one(entry, adding, room, seen)).collect()
        };
        let (ours, theirs) = thread::scope(|scope| {
            let other = scope.spawn(|| share(1));
            let ours = share(0);
            (ours, other.join().unwrap_or_else(|_| Err(self.wrong("it cannot be unpacked".to_string()))))
        });
        let (mut ours, theirs) = (ours?, theirs?);
        ours.extend(theirs);
        Ok(ours)
    }

    fn one(
        &self,
        entry: &Entry,
        adding: &Adding<'_>,
        room: &AtomicU64,
        seen: &(dyn Fn(u64) + Sync),
    ) -> Result<Unpacked, KitError> {
        let blob = Watched { inner: self.blob(&entry.layer)?, seen };
        let mut blob = Digesting::new(BufReader::with_capacity(256 << 10, blob));
        let inner: Box<dyn Read + '_> = match entry.packing {
            Packing::Plain => Box::new(&mut blob),
            Packing::Gzip => Box::new(flate2::read::GzDecoder::new(&mut blob)),
            Packing::Zstd => {
                Box::new(zstd::Decoder::new(&mut blob).map_err(|error| self.wrong(error.to_string()))?)
            }
        };
        let unpacked = adding.unpack(&mut Bounded { inner, room }, Some(entry.digest));
        let unpacked = unpacked.map_err(|error| self.wrong(format!("kit {:?}: {error}", entry.title)))?;
        io::copy(&mut blob, &mut io::sink()).map_err(|error| self.wrong(error.to_string()))?;
        let (_, digest) = blob.finish();
        if digest != entry.layer.digest {
            return Err(self.wrong(format!("{} is damaged: it has the digest {digest}", entry.layer.path())));
        }
        Ok(unpacked)
    }

    fn entry(&self, image: &Descriptor) -> Result<Entry, KitError> {
        let title: String = image.title().chars().take(100).collect();
        let wrong = |why: &str| self.wrong(format!("image {title:?}: {why}"));
        let manifest: ImageManifest = self.document(&image.path(), Some(image))?;
        let config: ImageConfig = self.document(&manifest.config.path(), Some(&manifest.config))?;
        let ([layer], [digest]) = (&manifest.layers[..], &config.rootfs.diff_ids[..]) else {
            return Err(wrong("it is no kit: a kit has one layer"));
        };
        let here = crate::debian::architecture();
        if config.architecture != here {
            return Err(wrong(&format!("it is for {}, and this host is {here}", config.architecture)));
        }
        let packing = layer.packing().ok_or_else(|| wrong("its layer is neither tar, gzip nor zstd"))?;
        self.blob(layer)?;
        let signatures = crate::sign::parse(image.signatures()).map_err(|why| wrong(&why))?;
        Ok(Entry { title, digest: *digest, packed: layer.size, signatures, layer: layer.clone(), packing })
    }

    /// A JSON document, compared with what describes it.
    fn document<T: DeserializeOwned>(
        &self,
        path: &str,
        described: Option<&Descriptor>,
    ) -> Result<T, KitError> {
        let mut file = self.file(path)?;
        if file.len() > DOCUMENT_LIMIT {
            return Err(self.wrong(format!("{path} is longer than any document")));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| self.wrong(format!("reading {path}: {error}")))?;
        if described.is_some_and(|described| described.digest != Digest::of(&bytes)) {
            return Err(self.wrong(format!("{path} is damaged: it has the digest {}", Digest::of(&bytes))));
        }
        serde_json::from_slice(&bytes).map_err(|error| self.wrong(format!("{path}: {error}")))
    }

    fn blob(&self, described: &Descriptor) -> Result<Part, KitError> {
        let file = self.file(&described.path())?;
        if file.len() == described.size {
            return Ok(file);
        }
        Err(self.wrong(format!(
            "{} is damaged: it has {} bytes and should have {}",
            described.path(),
            file.len(),
            described.size
        )))
    }

    fn file(&self, path: &str) -> Result<Part, KitError> {
        let place = self.places.get(path).ok_or_else(|| self.wrong(format!("there is no {path} in it")))?;
        Ok(Part::new(&self.file, *place))
    }

    fn wrong(&self, why: String) -> KitError {
        KitError::Archive { archive: self.path.clone(), why }
    }
}

/// Writes a file as a whole or not at all, beside its place first. Returns its length in bytes.
fn in_place(
    to: &Path,
    write: impl FnOnce(BufWriter<File>) -> io::Result<BufWriter<File>>,
) -> Result<u64, KitError> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let fresh = to.with_file_name(format!(".{name}.{}", std::process::id()));
    let make = || -> io::Result<u64> {
        let out = write(BufWriter::with_capacity(256 << 10, File::create_new(&fresh)?))?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&fresh, to)?;
        Ok(file.metadata()?.len())
    };
    make().map_err(files("writing", to)).inspect_err(|_| fs::remove_file(&fresh).unwrap_or_default())
}

/// Where in the tar file each of its files is. Nothing is unpacked, so names do no harm.
fn places(file: &Arc<File>) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let length = file.metadata()?.len();
    let mut archive = tar::Archive::new(BufReader::new(Part::new(file, (0, length))));
    let mut places = BTreeMap::new();
    // As they stand there: what comes before a file to give it another name may have any length, and is read at once.
    for entry in archive.entries_with_seek()?.raw(true) {
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_string();
        let (at, size) = (entry.raw_file_position(), entry.size());
        if at.checked_add(size).is_none_or(|end| end > length) {
            return Err(io::Error::other(format!("{name} is cut off")));
        }
        if places.len() >= FILES_LIMIT || places.insert(name.clone(), (at, size)).is_some() {
            return Err(io::Error::other(format!(
                "{name} is there twice, or more than {FILES_LIMIT} files are"
            )));
        }
    }
    Ok(places)
}

/// Takes what is read from the room that all share.
struct Bounded<'a, R> {
    inner: R,
    room: &'a AtomicU64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        let took = |room: u64| room.checked_sub(u64::try_from(count).ok()?);
        match self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, took) {
            Ok(_) => Ok(count),
            Err(_) => Err(io::Error::other("all kits together are larger than an archive's may be")),
        }
    }
}

/// Tells how much was read.
struct Watched<'a, R> {
    inner: R,
    seen: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        (self.seen)(u64::try_from(count).unwrap_or_default());
        Ok(count)
    }
}
