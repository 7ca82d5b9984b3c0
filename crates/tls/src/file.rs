// SPDX-License-Identifier: Apache-2.0
//! Files with certificates and keys. A pipe would be waited for without end, and a file without end would fill the
//! memory, so that OpenSSL is not left to open them.

use crate::{Secret, TlsError, said};
use openssl::x509::X509;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest file of certificates or a key. Those of distributions have a quarter of it.
pub(crate) const LIMIT: usize = 1 << 20;

/// All certificates in the file at `path`; there is at least one.
pub(crate) fn certificates(path: &Path, what: &'static str) -> Result<Vec<X509>, TlsError> {
    let wrong = |why| TlsError::File { what, path: path.to_owned(), why };
    let text = read(path).map_err(wrong)?;
    let found = X509::stack_from_pem(text.expose()).map_err(|error| wrong(said(&error)))?;
    if found.is_empty() {
        return Err(wrong("there is no certificate in PEM in it".to_owned()));
    }
    Ok(found)
}

/// What is in the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Secret, String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let about = |error: rustix::io::Errno| io::Error::from(error).to_string();
    let file = open(path, flags, Mode::empty()).map_err(about)?;
    let stat = fstat(&file).map_err(about)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is not a regular file".to_owned());
    }
    // In one piece, so that growing leaves no copy of a key behind.
    let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(LIMIT) + 2);
    let read = File::from(file).take(LIMIT as u64 + 1).read_to_end(&mut bytes);
    let text = Secret::new(bytes);
    match read {
        Err(error) => Err(error.to_string()),
        Ok(count) if count > LIMIT => Err(format!("it is longer than {LIMIT} bytes")),
        Ok(_) => Ok(text),
    }
}
