// SPDX-License-Identifier: Apache-2.0
//! Signing the kits of an archive: the same file with signatures in its index.

use super::{Archive, Entry, Part, in_place};
use crate::error::KitError;
use crate::layer::{Kind, Writer};
use crate::oci::{INDEX_FILE, Index, SIGNATURES};
use crate::sign::{self, SecretKey};
use std::io::{self, Read, Write};
use std::path::Path;

/// Signs all kits of an archive, which is replaced as a whole or not at all. Returns what was signed.
///
/// # Errors
/// When it is no archive of kits, or cannot be written.
pub fn seal(path: &Path, key: &SecretKey) -> Result<Vec<Entry>, KitError> {
    let archive = Archive::open(path)?;
    let mut images = archive.index.manifests.clone();
    for (image, entry) in images.iter_mut().zip(&archive.kits) {
        let mut all = entry.signatures.clone();
        sign::add(&mut all, key.sign(&entry.digest));
        image.annotations.insert(SIGNATURES.to_string(), sign::render(&all));
    }
    in_place(path, |out| write(&archive, &Index::of(images), out))?;
    Ok(Archive::open(path)?.kits)
}

fn write<W: Write>(archive: &Archive, index: &Index, out: W) -> io::Result<W> {
    let mut writer = Writer::new(out);
    let mut put = |at: &str, size: u64, data: &mut dyn Read| {
        writer.entry(at, &Kind::File { executable: false, size }, data)
    };
    for (at, place) in archive.places.iter().filter(|(at, _)| *at != INDEX_FILE) {
        put(at, place.1, &mut Part::new(&archive.file, *place))?;
    }
    let index = serde_json::to_vec(index)?;
    put(INDEX_FILE, index.len() as u64, &mut index.as_slice())?;
    writer.finish()
}
