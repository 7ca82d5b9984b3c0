// SPDX-License-Identifier: Apache-2.0
//! What a source tells of itself.

use serde::{Deserialize, Serialize};

/// What a source has done and has trouble with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Files known.
    pub files: usize,
    /// Files held open.
    pub open: usize,
    /// Lines handed over since the start.
    pub lines: u64,
    /// Those of them whose text was cut.
    pub cut: u64,
    /// Files that were written anew.
    pub truncated: u64,
    /// Bytes of its files that were not read yet, as of the last look at each.
    pub lag_bytes: u64,
    /// Containers whose output cannot be read.
    pub unread: Vec<Unread>,
    /// How often something went wrong.
    pub errors: u64,
    /// The last trouble, and the file.
    pub error: Option<String>,
}

impl Status {
    pub(crate) fn trouble(&mut self, text: String) {
        self.errors += 1;
        self.error = Some(text);
    }
}

/// A container whose output cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unread {
    /// Its name.
    pub container: String,
    /// Why not, and what to do about it.
    pub reason: String,
}

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileState {
    /// The container's id, empty on the host.
    pub container: String,
    /// Where it was last seen.
    pub path: String,
    /// Its inode.
    pub inode: u64,
    /// Where the next line begins that was not handed over.
    pub position: u64,
    /// Its size at the last look.
    pub size: u64,
    /// Bytes between the two.
    pub lag_bytes: u64,
    /// Whether it is held open.
    pub open: bool,
}
