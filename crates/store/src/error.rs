// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in the store, each with the file it went wrong on.
//! Damage found at start is not an error: it is counted in `Recovery`.

use std::io;
use std::path::{Path, PathBuf};

/// Everything the store can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(clippy::error_impl_error, reason = "it is `store::Error` wherever it is used")]
pub enum Error {
    /// Another writer holds the store.
    #[error("opening the store {}: process {pid} is writing to it; stop that one first", dir.display())]
    Locked {
        /// The store.
        dir: PathBuf,
        /// Process id written in the lock file, 0 when it cannot be read.
        pid: u32,
    },
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
    /// No space left: nothing was lost, free some space and commit again.
    #[error("writing {}: no space left; events wait in memory until there is", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// More bytes than the format allows for one item.
    #[error("appending an event: its {what} has {len} bytes, more than {limit}")]
    TooLarge {
        /// Which item.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Too much was appended without a commit.
    #[error("appending an event: {bytes} bytes wait for a commit; commit first")]
    Uncommitted {
        /// Bytes that wait.
        bytes: usize,
    },
    /// Written in another version of the format.
    #[error(
        "reading {}: it has format version {version}, this program has {}; use the version of purser that \
         wrote it, or another directory",
        path.display(),
        crate::block::VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// The bytes are not what a writer leaves.
    #[error("reading {} at byte {offset}: {detail}; run verify for the whole extent", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the broken piece begins.
        offset: u64,
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl Error {
    /// Names the action and the file of a failed call; a full disk gets its own variant.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::Full { path: path.to_path_buf() }
            }
            _ => Error::Io { action, path: path.to_path_buf(), source },
        }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, detail: &'static str) -> Error {
        Error::Damaged { path: path.to_path_buf(), offset, detail }
    }
}
