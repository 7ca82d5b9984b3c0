// SPDX-License-Identifier: Apache-2.0
//! What tells one build of a program or library from another: its build-id, and where it has none its first page,
//! which a core has too.

use crate::elf::{Bytes, Header, PT_LOAD, PT_NOTE, Segment, exact, up_to};
use crate::notes;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;

/// What the kernel dumps of an object's beginning.
pub(crate) const PAGE: usize = 4096;
/// The most segments of an object that are looked at; real ones have about 15.
const SEGMENTS_LIMIT: u64 = 256;
/// The longest build-id; Go's have 83 bytes, all others at most 64.
const ID_LIMIT: u32 = 256;
/// The most runs of notes that are looked through for a build-id, and the longest; real objects have three with some
/// hundred bytes.
const NOTES_LIMIT: usize = 16;
const NOTES_LEN_LIMIT: u64 = 64 << 10;

const NT_GNU_BUILD_ID: u32 = 3;
const NT_GO_BUILD_ID: u32 = 4;

/// The mark that a linker put into an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BuildId {
    /// Of ld, gold, lld and mold, for all languages.
    Gnu(Vec<u8>),
    /// Of Go's own linker.
    Go(Vec<u8>),
}

impl fmt::Display for BuildId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildId::Gnu(bytes) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
            BuildId::Go(bytes) => write!(out, "go:{}", bytes.escape_ascii()),
        }
    }
}

/// What an object can be told by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Absent where the linker made none, and in a core where it was not dumped.
    pub build_id: Option<BuildId>,
    /// The digest of the first page; absent in a core where it was not dumped.
    pub first_page: Option<[u8; 32]>,
}

impl Identity {
    /// Whether both are of one build; `None` when they have nothing in common to compare.
    pub fn is(&self, other: &Identity) -> Option<bool> {
        match (&self.build_id, &other.build_id) {
            (Some(one), Some(other)) => Some(one == other),
            _ => Some(self.first_page? == other.first_page?),
        }
    }
}

/// Of a file; `None` when it is no ELF file of this byte order.
///
/// # Errors
/// When it cannot be read.
pub fn identify(file: &dyn Bytes) -> io::Result<Option<Identity>> {
    of(file, |segment, _| Some(segment.offset))
}

/// Of an object that is mapped so that its first byte is the first of `memory`.
pub(crate) fn of_mapped(memory: &dyn Bytes) -> io::Result<Option<Identity>> {
    // Addresses count from that of the segment with the beginning of the file, which is not 0 in every program.
    of(memory, |segment, first| segment.address.checked_sub(first?))
}

fn of(
    bytes: &dyn Bytes,
    place: impl Fn(&Segment, Option<u64>) -> Option<u64>,
) -> io::Result<Option<Identity>> {
    let Ok(header) = Header::read(bytes)? else { return Ok(None) };
    let (mut notes, mut first) = (Vec::new(), None);
    header.segments(bytes, SEGMENTS_LIMIT, |segment| match segment.kind {
        PT_NOTE => notes.push(segment),
        PT_LOAD if first.is_none() && segment.offset < PAGE as u64 => {
            first = segment.address.checked_sub(segment.offset);
        }
        _ => {}
    })?;
    let mut page = up_to(bytes, 0, PAGE)?;
    page.resize(PAGE, 0);
    let mut identity = Identity { build_id: None, first_page: Some(Sha256::digest(&page).into()) };
    for segment in notes.iter().take(NOTES_LIMIT) {
        let Some(at) = place(segment, first) else { continue };
        // At once: who made this may have put thousands into it, and there are many objects.
        let len = segment.file_len.min(NOTES_LEN_LIMIT);
        let run = up_to(bytes, at, usize::try_from(len).unwrap_or_default())?;
        notes::each(&run, (0, len, segment.align), |note| {
            match (note.owner.as_slice(), note.kind) {
                (b"GNU", NT_GNU_BUILD_ID) => {
                    if let Some(id) = note.content(&run, ID_LIMIT)?.filter(|id| !id.is_empty()) {
                        identity.build_id = Some(BuildId::Gnu(id));
                        return Ok(false);
                    }
                }
                (b"Go", NT_GO_BUILD_ID) if identity.build_id.is_none() => {
                    identity.build_id = note.content(&run, ID_LIMIT)?.map(BuildId::Go);
                }
                _ => {}
            }
            Ok(true)
        })?;
    }
    Ok(Some(identity))
}

/// Whether there is an ELF file; `None` when there is nothing.
pub(crate) fn is_elf(bytes: &dyn Bytes) -> io::Result<Option<bool>> {
    Ok(exact(bytes, 0, 4)?.map(|magic| magic == b"\x7fELF"))
}
