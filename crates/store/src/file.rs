// SPDX-License-Identifier: Apache-2.0
//! Opens what a store directory holds. A copy that somebody prepared may have a named pipe there, and
//! opening that would wait for ever.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::Error;

/// Opens a regular file to read it; anything else is an error.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    regular(path).map_err(|source| Error::io("opening", path, source))
}

/// The same, and `None` when there is nothing of that name.
pub(crate) fn open_if_there(path: &Path) -> Result<Option<File>, Error> {
    match regular(path) {
        Ok(file) => Ok(Some(file)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("opening", path, source)),
    }
}

fn regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}
