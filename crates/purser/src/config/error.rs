// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a configuration file, each with the place where.

use std::io;
use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("reading the configuration {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others than root and the user of this process could change the file.
    #[error("the configuration {path} is not safe to use: {reason}", path = path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// The file is longer than any honest one.
    #[error("the configuration {origin} is longer than {limit} bytes")]
    TooLong {
        /// Where the text comes from.
        origin: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// Something in the text.
    #[error("{origin}:{line}:{column}: {message}")]
    Wrong {
        /// Where the text comes from.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong, and what to write instead where that is known.
        message: String,
    },
}
