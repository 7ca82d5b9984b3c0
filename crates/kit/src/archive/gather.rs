// SPDX-License-Identifier: Apache-2.0
//! An archive made of blobs that come from elsewhere, one after the other, while they come.

use super::{Archive, UNPACKED_LIMIT};
use crate::error::{KitError, files};
use crate::layer::Writer;
use crate::oci::{self, Descriptor, INDEX_FILE, Index, LAYOUT, LAYOUT_FILE};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// An archive that is being written.
#[derive(Debug)]
pub struct Gathering {
    writer: Writer<BufWriter<File>>,
    file: File,
    called: PathBuf,
    images: Vec<Descriptor>,
}

impl Gathering {
    /// Into an empty file that can be read, too; messages call the archive `called`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn new(file: File, called: &Path) -> Result<Gathering, KitError> {
        let again = file.try_clone().map_err(files("opening", called))?;
        let writer = Writer::new(BufWriter::with_capacity(256 << 10, again));
        Ok(Gathering { writer, file, called: called.to_path_buf(), images: Vec::new() })
    }

    /// One blob, called by its digest (`sha256:…`). `fill` writes all of its bytes, no more and no fewer. They are
    /// compared with the digest when the archive is read.
    ///
    /// # Errors
    /// What `fill` fails with, or when the file cannot be written.
    pub fn blob<E: From<KitError>>(
        &mut self,
        digest: &str,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        if size > UNPACKED_LIMIT {
            let why = format!("{digest} has {size} bytes, more than all kits of an archive may have");
            return Err(KitError::Archive { archive: self.called.clone(), why }.into());
        }
        let path = format!("blobs/{}", digest.replace(':', "/"));
        let out = self.writer.file(&path, size).map_err(files("writing", &self.called))?;
        fill(out)?;
        Ok(self.writer.end_file(size).map_err(files("writing", &self.called))?)
    }

    /// An image: the blob of its manifest, what it is called, and who vouches for it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn image(
        &mut self,
        kind: &str,
        manifest: &[u8],
        title: &str,
        signatures: Option<&str>,
    ) -> Result<(), KitError> {
        let mut descriptor = Descriptor::new(kind, manifest);
        let mut annotations = BTreeMap::from([(oci::TITLE.to_string(), title.to_string())]);
        annotations.extend(signatures.map(|text| (oci::SIGNATURES.to_string(), text.to_string())));
        descriptor.annotations = annotations;
        let (digest, size) = (descriptor.digest.to_string(), descriptor.size);
        self.images.push(descriptor);
        let called = self.called.clone();
        self.blob(&digest, size, |out| out.write_all(manifest).map_err(files("writing", &called)))
    }

    /// The archive, read.
    ///
    /// # Errors
    /// When the file cannot be written, or holds no kits.
    pub fn finish(mut self) -> Result<Archive, KitError> {
        let fault = |error: std::io::Error| files("writing", &self.called)(error);
        let index = serde_json::to_vec(&Index::of(self.images)).map_err(|error| fault(error.into()))?;
        for (at, bytes) in [(INDEX_FILE, index.as_slice()), (LAYOUT_FILE, LAYOUT.as_bytes())] {
            let size = bytes.len() as u64;
            self.writer.file(at, size).and_then(|out| out.write_all(bytes)).map_err(fault)?;
            self.writer.end_file(size).map_err(fault)?;
        }
        self.writer.finish().and_then(|mut out| out.flush()).map_err(fault)?;
        Archive::of(self.file, &self.called)
    }
}
