// SPDX-License-Identifier: Apache-2.0
//! Why a core cannot be read.

use std::io;

/// What went wrong, and what to do about it. The caller says in which file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// No core, but something else.
    #[error("is no core file: {what}")]
    NotACore {
        /// What it looks like.
        what: &'static str,
    },
    /// A core of a machine that cannot be read here at all.
    #[error("is a core of a program for {machine}; look at it on such a machine")]
    OtherMachine {
        /// The kind of processor.
        machine: String,
    },
    /// Nothing of a core is there but its first bytes.
    #[error("is cut off before it says anything: was there room for it when it was written?")]
    Cut,
    /// The kernel said no.
    #[error("cannot be read: {source}")]
    Read {
        /// What it said.
        #[from]
        source: io::Error,
    },
    /// A program that unpacks is missing.
    #[error(
        "is compressed with {program}, which is not on this host: install it, or unpack the core elsewhere and bring it here"
    )]
    NoProgram {
        /// What would unpack it.
        program: &'static str,
    },
    /// Compressed bytes that are none.
    #[error("cannot be unpacked: {why}")]
    Damaged {
        /// What the one who unpacks said.
        why: String,
    },
    /// It is larger than there is room for.
    #[error(
        "has more than {room} bytes when it is unpacked, and there is no more room in {place}; TMPDIR names another place"
    )]
    NoRoom {
        /// How much there is.
        room: u64,
        /// The directory it was unpacked to.
        place: String,
    },
}
