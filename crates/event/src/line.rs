// SPDX-License-Identifier: Apache-2.0
//! A line of a log file, and the place in the file that it was read from.
//!
//! The event is also the position of its source: where the next line begins stands in it, so that
//! both are committed to the store by the same write, or neither is.

/// A line, or several that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The name of the source.
    pub source: String,
    /// The file's path, inside the container's root when it belongs to one.
    pub path: Vec<u8>,
    /// Which file it was when the line was read.
    pub file: FileKey,
    /// Where in the file the line begins, in bytes.
    pub offset: u64,
    /// Bytes of the file it takes, line ends included: the next one begins behind them.
    pub bytes: u64,
    /// The text; bytes that are no UTF-8 as they were.
    pub message: Vec<u8>,
    /// The fields of a line of JSON: one JSON object, or empty.
    pub json: String,
    /// Why the line was no JSON although it was to be; empty when that is not told.
    pub error: String,
    /// A set of [`line_flags`].
    pub flags: u32,
    /// When it was written, nanoseconds since the Unix epoch, as far as the file tells; else 0.
    pub written_ns: u64,
    /// How many secrets were replaced by markers.
    pub redacted: u32,
}

impl Line {
    /// The standard stream of a container it was printed to.
    pub fn stream(&self) -> Option<&'static str> {
        match self.flags {
            flags if flags & line_flags::STDOUT != 0 => Some("stdout"),
            flags if flags & line_flags::STDERR != 0 => Some("stderr"),
            _ => None,
        }
    }
}

/// A file for as long as it is not written anew: inodes are used again, first bytes seldom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// The number of the file system's device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// A hash of the first bytes of the file, at most 1,024 and none behind the line.
    pub fingerprint: u64,
}

/// Bits of [`Line::flags`].
pub mod line_flags {
    /// The text was longer than the limit, and its end is not there.
    pub const CUT: u32 = 1;
    /// Several lines of the file.
    pub const MULTILINE: u32 = 1 << 1;
    /// Fields of JSON belong beside those of the document, not below `json`.
    pub const UNDER_ROOT: u32 = 1 << 2;
    /// Such fields replace those of the document that have their name.
    pub const OVERWRITE: u32 = 1 << 3;
    /// Written to the container's standard output.
    pub const STDOUT: u32 = 1 << 4;
    /// Written to the container's standard error.
    pub const STDERR: u32 = 1 << 5;
    /// It is not in the format in which runtimes keep what containers print.
    pub const UNWRAPPED: u32 = 1 << 6;
}
