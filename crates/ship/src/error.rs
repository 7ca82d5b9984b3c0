// SPDX-License-Identifier: Apache-2.0
//! What keeps a sink from being set up. What happens while sending is a [`crate::SendError`].

use std::io;
use std::path::{Path, PathBuf};

/// Everything that setting a sink up can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(clippy::error_impl_error, reason = "it is `ship::Error` wherever it is used")]
pub enum Error {
    /// A system call failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, such as "reading".
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another line moves this cursor.
    #[error("opening the cursor {}: another process is using it; stop that one first", path.display())]
    Locked {
        /// The cursor.
        path: PathBuf,
    },
    /// The cursor belongs to another store.
    #[error(
        "opening the cursor {}: it counts the events of store {found}, and this store is {expected}; \
         if the store was replaced on purpose, remove the cursor and the sink begins anew",
        path.display()
    )]
    OtherStore {
        /// The cursor.
        path: PathBuf,
        /// The store it belongs to, in hexadecimal.
        found: String,
        /// The store at hand, in hexadecimal.
        expected: String,
    },
    /// Both slots of the cursor are broken.
    #[error(
        "opening the cursor {}: both of its slots are damaged; remove it and say where to go on with \
         purser sink rewind",
        path.display()
    )]
    Damaged {
        /// The cursor.
        path: PathBuf,
    },
    /// A setting that cannot work.
    #[error("{0}")]
    Settings(String),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Error {
        Error::Io { action, path: path.to_path_buf(), source: source.into() }
    }
}
