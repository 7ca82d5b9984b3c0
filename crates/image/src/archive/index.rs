// SPDX-License-Identifier: Apache-2.0
//! Files by name, in a tar file that is not packed or in a directory. Of a tar file only the places are kept.

use crate::ImageError;
use crate::files::Place;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The most entries of a tar file that are looked at, and files that are kept.
const ENTRIES_LIMIT: usize = 2_000_000;
const FILES_LIMIT: usize = 100_000;
const NAME_LIMIT: usize = 256;

#[derive(Debug)]
pub(super) enum Files {
    Directory(Place),
    /// Where each file begins and how long it is; links lead to another name.
    Tar {
        path: PathBuf,
        places: BTreeMap<String, (u64, u64)>,
        links: BTreeMap<String, String>,
    },
}

impl Files {
    /// Looks at a tar file. One that is packed, or none, has no files.
    pub(super) fn of_tar(path: &Path) -> Result<Files, ImageError> {
        let file =
            File::open(path).map_err(|source| ImageError::Read { path: path.to_path_buf(), source })?;
        let (mut places, mut links) = (BTreeMap::new(), BTreeMap::new());
        // A tree's tar file is read to its end elsewhere, and what is wrong with it is told there.
        index(file, &mut places, &mut links).unwrap_or_default();
        Ok(Files::Tar { path: path.to_path_buf(), places, links })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Files::Directory(place) => place.file(name).is_ok_and(|file| file.is_some()),
            Files::Tar { .. } => self.place(name).is_some(),
        }
    }

    /// The place of a file, or of what a link leads to: old archives have each layer once.
    fn place(&self, name: &str) -> Option<(u64, u64)> {
        let Files::Tar { places, links, .. } = self else { return None };
        places.get(name).or_else(|| places.get(links.get(name)?)).copied()
    }

    pub(super) fn open(&self, name: &str) -> io::Result<Option<io::Take<File>>> {
        match self {
            Files::Directory(place) => {
                let file = place.file(name).map_err(|error| io::Error::other(error.to_string()))?;
                Ok(file.map(|file| file.take(u64::MAX)))
            }
            Files::Tar { path, .. } => {
                let Some((start, length)) = self.place(name) else { return Ok(None) };
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(start))?;
                Ok(Some(file.take(length)))
            }
        }
    }

    pub(super) fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(io::Error::other(format!("it is longer than {limit} bytes"))),
            false => Ok(Some(bytes)),
        }
    }
}

fn index(
    file: File,
    places: &mut BTreeMap<String, (u64, u64)>,
    links: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(file);
    // Raw, so that nobody reads an endless name into memory; the names here are short.
    for entry in archive.entries_with_seek()?.raw(true).take(ENTRIES_LIMIT) {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.trim_start_matches("./").to_owned();
        if name.len() > NAME_LIMIT || places.len() + links.len() >= FILES_LIMIT {
            continue;
        }
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                places.insert(name, (entry.raw_file_position(), entry.size()));
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).trim_start_matches("../").to_owned();
                links.insert(name, target);
            }
            _ => {}
        }
    }
    Ok(())
}
