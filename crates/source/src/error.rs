// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with a source.

use std::io;

/// Why something was not read.
#[expect(clippy::error_impl_error, reason = "read as source::Error")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused.
    #[error("{doing}: {source}")]
    Kernel {
        /// What was being done.
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// A path that is none.
    #[error("{path:?} is no path of log files: {reason}")]
    Path {
        /// As it was written.
        path: String,
        /// What to write instead.
        reason: &'static str,
    },
    /// The file with the positions.
    #[error("{doing} the positions in {path}: {source}", path = path.display())]
    Positions {
        /// `reading` or `writing`.
        doing: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn kernel(doing: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
        move |error| Error::Kernel { doing, source: error.into() }
    }

    /// Nothing is there, which is no trouble.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Error::Kernel { source, .. } if source.kind() == io::ErrorKind::NotFound
            || source.raw_os_error() == Some(rustix::io::Errno::NOTDIR.raw_os_error()))
    }
}
