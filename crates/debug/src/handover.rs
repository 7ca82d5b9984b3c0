// SPDX-License-Identifier: Apache-2.0
//! What one process of this program hands to another as a file in memory. It is the same program, so the form is
//! nobody else's business.

use crate::DebugError;
use crate::error::host;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;

/// The most bytes.
const LIMIT: usize = 4 << 20;

/// Writes it down.
pub(crate) fn put(what: &impl Serialize) -> Result<File, DebugError> {
    let doing = || host("writing the session down");
    let text = serde_json::to_vec(what).map_err(|error| doing()(error.into()))?;
    if text.len() > LIMIT {
        return Err(DebugError::TooLong { length: text.len(), limit: LIMIT });
    }
    let memory = memfd_create("session", MemfdFlags::CLOEXEC).map_err(|error| doing()(error.into()))?;
    let mut file = File::from(memory);
    file.write_all(&text).map_err(doing())?;
    Ok(file)
}

/// Reads what another one has written down.
pub(crate) fn take<T: DeserializeOwned>(file: OwnedFd) -> io::Result<T> {
    let mut file = File::from(file);
    let mut text = Vec::new();
    file.rewind()?;
    file.take(LIMIT as u64).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, put, take};
    use crate::DebugError;

    #[test]
    fn what_was_put_is_taken() {
        let file = put(&("a", 1)).unwrap();
        assert_eq!(take::<(String, u8)>(file.into()).unwrap(), ("a".into(), 1));
        assert!(take::<u8>(put(&"a").unwrap().into()).is_err());
        assert!(matches!(put(&"x".repeat(LIMIT)), Err(DebugError::TooLong { .. })));
    }
}
