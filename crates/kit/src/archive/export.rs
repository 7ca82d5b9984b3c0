// SPDX-License-Identifier: Apache-2.0
//! Writing an archive of kits: the same bytes for the same kits.

use super::in_place;
use crate::digest::{Digest, Digesting};
use crate::error::{KitError, files};
use crate::layer::{Kind, Writer};
use crate::name::Name;
use crate::oci::{INDEX_FILE, Image, Index, LAYOUT, LAYOUT_FILE, SIGNATURES};
use crate::shelf::{Shelf, Shelved};
use crate::sign::{self, Signature};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::iter;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Archives are made seldom and copied often.
const LEVEL: i32 = 19;

/// Writes kits into one archive, which is there whole or not at all, and returns its length in bytes. Each kit is
/// compared with its digest on the way. `seen` is told of each that is done.
///
/// # Errors
/// When a kit is damaged, or the archive cannot be written.
pub fn export(
    shelf: &Shelf,
    kits: &[Shelved],
    to: &Path,
    seen: &(dyn Fn(&Shelved) + Sync),
) -> Result<u64, KitError> {
    let mut blobs = BTreeMap::new();
    let mut images = Vec::new();
    for image in packed(shelf, kits, seen) {
        let image = image?;
        images.push(image.descriptor);
        blobs.extend(image.blobs.into_iter().map(|(descriptor, bytes)| (descriptor.path(), bytes)));
    }
    if images.len() != kits.len() {
        // A thread that came to a bad end has taken its kits along.
        return Err(files("writing", to)(io::Error::other("not all kits could be packed")));
    }
    in_place(to, |out| layout(&Index::of(images), &blobs, out))
}

/// All images in the order of their kits; packed by as many threads as there are processors, each of which takes the
/// next kit that nobody has taken.
fn packed(shelf: &Shelf, kits: &[Shelved], seen: &(dyn Fn(&Shelved) + Sync)) -> Vec<Result<Image, KitError>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let take = || kits.get(next.fetch_add(1, Ordering::Relaxed));
        let packed = iter::from_fn(|| take().map(|kit| (kit.manifest.name.clone(), image(shelf, kit))));
        let told =
            packed.inspect(|(name, _)| kits.iter().filter(|kit| kit.manifest.name == *name).for_each(seen));
        told.collect::<Vec<_>>()
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut images = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    let place = |name: &Name| kits.iter().position(|kit| kit.manifest.name == *name);
    images.sort_by_key(|(name, _)| place(name));
    images.into_iter().map(|(_, image)| image).collect()
}

/// The tar file: blobs by their paths, then what names them.
fn layout<W: Write>(index: &Index, blobs: &BTreeMap<String, Vec<u8>>, out: W) -> io::Result<W> {
    let mut writer = Writer::new(out);
    let mut put = |at: &str, bytes: &[u8]| {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        writer.entry(at, &Kind::File { executable: false, size }, &mut &*bytes)
    };
    for (at, bytes) in blobs {
        put(at, bytes)?;
    }
    put(INDEX_FILE, &serde_json::to_vec(index)?)?;
    put(LAYOUT_FILE, LAYOUT.as_bytes())?;
    writer.finish()
}

/// An archive with these bytes as its only layer, and right digests.
#[cfg(feature = "around")]
#[must_use]
pub fn around(layer: &[u8]) -> Vec<u8> {
    let packed = zstd::encode_all(layer, 1).unwrap_or_default();
    let Ok(image) = Image::new("fuzzed", "1", crate::digest::Digest::of(layer), packed) else {
        return Vec::new();
    };
    let blobs = image.blobs.into_iter().map(|(descriptor, bytes)| (descriptor.path(), bytes)).collect();
    layout(&Index::of(vec![image.descriptor]), &blobs, Vec::new()).unwrap_or_default()
}

fn image(shelf: &Shelf, kit: &Shelved) -> Result<Image, KitError> {
    let name = kit.manifest.name.to_string();
    let damaged = |why: String| KitError::Damaged { kit: name.clone(), why };
    let packer = zstd::Encoder::new(Vec::new(), LEVEL).map_err(|error| damaged(error.to_string()))?;
    let signatures = shelf.signatures(&kit.digest)?;
    let (packer, digest) = shelf.layer(kit, Digesting::new(packer))?.finish();
    if digest != kit.digest {
        return Err(damaged(format!("its files have the digest {digest} and should have {}", kit.digest)));
    }
    let packed = packer.finish().map_err(|error| damaged(error.to_string()))?;
    let image = Image::new(&name, &kit.manifest.version, digest, packed);
    let mut image = image.map_err(|error| damaged(error.to_string()))?;
    if !signatures.is_empty() {
        image.descriptor.annotations.insert(SIGNATURES.to_string(), sign::render(&signatures));
    }
    Ok(image)
}

/// A kit as a registry takes it.
#[derive(Debug)]
pub struct Packed {
    /// What stands under the tag: its type and its bytes.
    pub manifest: (String, Vec<u8>),
    /// What it names.
    pub blobs: Vec<Vec<u8>>,
}

impl Packed {
    /// The tag of who vouches for an image whose manifest has this digest.
    #[must_use]
    pub fn signature_tag(manifest: &Digest) -> String {
        format!("sha256-{}.sig", manifest.hex())
    }

    /// An image without files that says who vouches for a kit: `subject` is the kit's manifest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn signatures(subject: &Packed, signatures: &[Signature]) -> Result<Packed, KitError> {
        let (kind, bytes) = &subject.manifest;
        let document = crate::oci::vouching(kind, bytes, &sign::render(signatures));
        let wrong = |error: serde_json::Error| KitError::Wrong {
            origin: "the signatures".to_string(),
            why: error.to_string(),
        };
        Ok(Packed {
            manifest: (kind.clone(), serde_json::to_vec(&document).map_err(wrong)?),
            blobs: vec![crate::oci::EMPTY.to_vec()],
        })
    }

    /// Who vouches for a kit, as the annotations of that image say it.
    #[must_use]
    pub fn signed(annotations: &BTreeMap<String, String>) -> Option<&str> {
        annotations.get(SIGNATURES).map(String::as_str)
    }
}

/// A kit of the shelf as an image, the same as in an archive.
///
/// # Errors
/// When the kit is damaged.
pub fn pack(shelf: &Shelf, kit: &Shelved) -> Result<Packed, KitError> {
    let image = image(shelf, kit)?;
    let mut blobs: Vec<Vec<u8>> = image.blobs.into_iter().map(|(_, bytes)| bytes).collect();
    // The last one names the others.
    let manifest = blobs.pop().unwrap_or_default();
    Ok(Packed { manifest: (image.descriptor.media_type, manifest), blobs })
}
