// SPDX-License-Identifier: Apache-2.0
//! What can go wrong between us and a runtime. Never carries a runtime's answer, only its shape.

use std::io;
use std::path::PathBuf;

/// Why a runtime's socket or state could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nobody answers on the socket.
    #[error("connecting to {socket}: {source}; is the runtime running, and may we use its socket?")]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The runtime took the connection and then broke it.
    #[error("talking to the runtime on {socket}: {source}")]
    Talk {
        /// The socket's path.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The whole exchange took longer than it may.
    #[error("no answer from the runtime on {socket} in time; it may hang")]
    TimedOut {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The answer is longer than any honest one.
    #[error("the answer on {socket} is longer than {limit} bytes")]
    TooLong {
        /// The socket's path.
        socket: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// There are more containers than are looked at.
    #[error("the runtime on {socket} has more than {limit} containers; the others are left out")]
    TooMany {
        /// The socket's path.
        socket: PathBuf,
        /// The limit in containers.
        limit: usize,
    },
    /// The answer is not of the runtime's protocol.
    #[error("the answer on {socket} makes no sense: {what}")]
    Garbage {
        /// The socket's path.
        socket: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// The runtime answered, and refused.
    #[error("the runtime on {socket} refused with status {status}")]
    Refused {
        /// The socket's path.
        socket: PathBuf,
        /// The HTTP status.
        status: u16,
    },
    /// A file or a directory could not be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A state file is longer than any honest one, or no regular file.
    #[error("reading {path}: no regular file of at most {limit} bytes")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// A state file is not what its runtime writes.
    #[error("reading {path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where the text is wrong.
        source: serde_json::Error,
    },
}
