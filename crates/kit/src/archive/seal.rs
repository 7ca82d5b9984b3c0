// SPDX-License-Identifier: Apache-2.0
//! Signing the kits of an archive: the same file with signatures in its index.

use super::{Archive, Entry};
use crate::error::{KitError, files};
use crate::layer::{Kind, Writer};
use crate::oci::{INDEX_FILE, Index, SIGNATURES};
use crate::sign::{self, SecretKey};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
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
        all.retain(|known| known.by != key.public());
        all.push(key.sign(&entry.digest));
        image.annotations.insert(SIGNATURES.to_string(), sign::render(&all));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write(&archive, &Index::of(images), &fresh)
        .map_err(files("writing", &fresh))
        .and_then(|()| fs::rename(&fresh, path).map_err(files("putting in place", path)));
    written.inspect_err(|_| fs::remove_file(&fresh).unwrap_or_default())?;
    Ok(Archive::open(path)?.kits)
}

fn write(archive: &Archive, index: &Index, fresh: &Path) -> io::Result<()> {
    let mut writer = Writer::new(BufWriter::with_capacity(256 << 10, File::create_new(fresh)?));
    let mut put = |at: &str, size: u64, data: &mut dyn Read| {
        writer.entry(at, &Kind::File { executable: false, size }, data)
    };
    for (at, place) in archive.places.iter().filter(|(at, _)| *at != INDEX_FILE) {
        put(at, place.1, &mut super::Part::new(&archive.file, *place))?;
    }
    let index = serde_json::to_vec(index)?;
    put(INDEX_FILE, index.len() as u64, &mut index.as_slice())?;
    let mut out = writer.finish()?;
    out.flush()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
