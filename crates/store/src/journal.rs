// SPDX-License-Identifier: Apache-2.0
//! The journal: what was committed but is not in a block yet. One frame a commit holds the
//! events, new attachments and the read position, so that all of it survives or none.
//!
//! The checksum of a frame starts from the one of the frame before, and the first from the file
//! header's, so that a left-over frame of an earlier journal never passes for a frame of this one.
//! A frame whose events are already in a block is skipped by sequence; that is what makes every
//! instant between writing the block and emptying the journal safe.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::block::{HeaderFault, open_fixed, seal_fixed};
use crate::builder::Keys;
use crate::cursor::{Cursor, length, put_sized};
use crate::error::Error;
use crate::limits::{
    MAX_ATTACHMENT_BYTES, MAX_EVENT_BYTES, MAX_EXECUTABLE_BYTES, MAX_FRAME_BYTES, MAX_POSITION_BYTES,
    MAX_SUBJECT_BYTES,
};

pub(crate) const NAME: &str = "journal";
/// An emptied journal whose blocks are not yet known to be on the disk.
pub(crate) const OLD_NAME: &str = "journal.old";
/// A journal on its way to take the other's place.
pub(crate) const NEW_NAME: &str = "journal.new";
pub(crate) const JOURNAL_HEADER_LEN: usize = 64;
const MAGIC: [u8; 4] = *b"PJNL";
/// Length and checksum before a frame's payload.
const FRAME_START: usize = 8;
/// First sequence, number of events, number of attachments, length of the position.
const PAYLOAD_START: usize = 20;

/// The journal's first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalHeader {
    pub(crate) boot_id: [u8; 16],
    pub(crate) store_id: [u8; 16],
    /// Counts the journals of one writer, so that a reader sees that it was started anew.
    pub(crate) generation: u64,
}

impl JournalHeader {
    fn encode(&self) -> [u8; JOURNAL_HEADER_LEN] {
        let mut out = Vec::with_capacity(JOURNAL_HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&crate::block::VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.boot_id);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.generation.to_le_bytes());
        seal_fixed(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<JournalHeader, HeaderFault> {
        let fields = open_fixed::<JOURNAL_HEADER_LEN>(bytes, MAGIC)?;
        let mut cursor = Cursor::new(fields);
        let mut fields = || {
            Some(JournalHeader {
                boot_id: cursor.array()?,
                store_id: cursor.array()?,
                generation: cursor.u64()?,
            })
        };
        fields().ok_or(HeaderFault::Broken)
    }
}

/// The frame of the next commit, while it grows.
#[derive(Debug, Default)]
pub(crate) struct PendingFrame {
    events: Vec<u8>,
    count: u32,
    attachments: Vec<u8>,
    attachment_count: u32,
}

impl PendingFrame {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> usize {
        self.events.len() + self.attachments.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    pub(crate) fn push(&mut self, event: &[u8], keys: &Keys) {
        let out = &mut self.events;
        out.extend_from_slice(&keys.time_ns.to_le_bytes());
        out.extend_from_slice(&keys.user.to_le_bytes());
        out.push(keys.kind.min(63));
        put_sized(out, keys.subject);
        put_sized(out, keys.executable);
        put_sized(out, event);
        self.count += 1;
    }

    pub(crate) fn attach(&mut self, subject: &[u8], bytes: &[u8]) {
        put_sized(&mut self.attachments, subject);
        put_sized(&mut self.attachments, bytes);
        self.attachment_count += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.events.shrink_to(1 << 20);
        self.attachments.clear();
        self.attachments.shrink_to(1 << 20);
        self.count = 0;
        self.attachment_count = 0;
    }

    fn encode(&self, out: &mut Vec<u8>, first_sequence: u64, position: &[u8], crc: u32) -> u32 {
        let len = PAYLOAD_START + self.bytes() + position.len();
        let start = out.len();
        out.extend_from_slice(&length(len).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&first_sequence.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.attachment_count.to_le_bytes());
        out.extend_from_slice(&length(position.len()).to_le_bytes());
        out.extend_from_slice(&self.events);
        out.extend_from_slice(&self.attachments);
        out.extend_from_slice(position);
        let crc = frame_crc(crc, length(len), out.get(start + FRAME_START..).unwrap_or_default());
        if let Some(place) = out.get_mut(start + 4..start + 8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        crc
    }
}

fn frame_crc(before: u32, len: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(before, &len.to_le_bytes()), payload)
}

/// The journal of a writer. The file is made by the first commit and emptied when a block took its events.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Option<File>,
    len: u64,
    crc: u32,
    header: JournalHeader,
    buffer: Vec<u8>,
}

impl Journal {
    /// Starts without a file; what an earlier writer left has been taken up before.
    pub(crate) fn new(dir: &Path, boot_id: [u8; 16], store_id: [u8; 16], generation: u64) -> Journal {
        let header = JournalHeader { boot_id, store_id, generation };
        Journal { path: dir.join(NAME), file: None, len: 0, crc: 0, header, buffer: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Writes one frame by one write. After an error the file is as before.
    pub(crate) fn append(&mut self, frame: &PendingFrame, first: u64, position: &[u8]) -> Result<(), Error> {
        if self.file.is_none() {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&self.path);
            self.file = Some(file.map_err(|source| Error::io("creating", &self.path, source))?);
            self.len = 0;
        }
        let Some(file) = &self.file else { return Ok(()) };
        self.buffer.clear();
        let mut crc = self.crc;
        if self.len == 0 {
            let header = self.header.encode();
            crc = crc32c::crc32c(&header);
            self.buffer.extend_from_slice(&header);
        }
        crc = frame.encode(&mut self.buffer, first, position, crc);
        let written = file.write_all_at(&self.buffer, self.len);
        if let Err(source) = written {
            file.set_len(self.len).map_err(|source| Error::io("cutting", &self.path, source))?;
            return Err(Error::io("writing", &self.path, source));
        }
        self.crc = crc;
        self.len += self.buffer.len() as u64;
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// Empties the file: everything in it now is in a block.
    pub(crate) fn empty(&mut self) -> Result<(), Error> {
        self.header.generation += 1;
        self.len = 0;
        match &self.file {
            Some(file) => file.set_len(0).map_err(|source| Error::io("emptying", &self.path, source)),
            None => Ok(()),
        }
    }

    /// Puts the file aside as `journal.old`; the next commit starts a new one.
    pub(crate) fn put_aside(&mut self) -> Result<(), Error> {
        if self.file.is_some() {
            let old = self.path.with_file_name(OLD_NAME);
            std::fs::rename(&self.path, old).map_err(|source| Error::io("renaming", &self.path, source))?;
            self.file = None;
        }
        self.header.generation += 1;
        self.len = 0;
        Ok(())
    }

    /// Replaces whatever journal there is by one that only holds the position, in one step.
    pub(crate) fn restart(&mut self, next_sequence: u64, position: &[u8]) -> Result<(), Error> {
        let new = self.path.with_file_name(NEW_NAME);
        self.header.generation += 1;
        let mut bytes = self.header.encode().to_vec();
        let start = crc32c::crc32c(&bytes);
        let crc = PendingFrame::default().encode(&mut bytes, next_sequence, position, start);
        crate::checkpoint::write_private(&new, &bytes)?;
        std::fs::rename(&new, &self.path).map_err(|source| Error::io("renaming", &new, source))?;
        let file = File::options().read(true).write(true).open(&self.path);
        self.file = Some(file.map_err(|source| Error::io("opening", &self.path, source))?);
        self.len = bytes.len() as u64;
        self.crc = crc;
        Ok(())
    }

    /// Removes the file.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        self.file = None;
        self.len = 0;
        remove_if_there(&self.path)
    }
}

/// Unlinks a file; one that is not there is as good.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", path, source)),
        _ => Ok(()),
    }
}

/// An event as a frame holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalEvent<'a> {
    pub(crate) sequence: u64,
    pub(crate) time_ns: u64,
    pub(crate) user: u32,
    pub(crate) kind: u8,
    pub(crate) subject: &'a [u8],
    pub(crate) executable: &'a [u8],
    pub(crate) event: &'a [u8],
}

/// One commit.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) first_sequence: u64,
    pub(crate) events: Vec<JournalEvent<'a>>,
    pub(crate) attachments: Vec<(&'a [u8], &'a [u8])>,
    pub(crate) position: &'a [u8],
}

impl<'a> Frame<'a> {
    fn decode(payload: &'a [u8]) -> Option<Frame<'a>> {
        let mut cursor = Cursor::new(payload);
        let first_sequence = cursor.u64()?;
        let count = cursor.u32()?;
        let attachment_count = cursor.u32()?;
        let position_len = usize::try_from(cursor.u32()?).ok()?;
        first_sequence.checked_add(u64::from(count))?;
        // Each takes bytes of the payload, so a false count ends with the bytes, not with the memory.
        let mut events = Vec::new();
        for number in 0..u64::from(count) {
            let event = JournalEvent {
                sequence: first_sequence + number,
                time_ns: cursor.u64()?,
                user: cursor.u32()?,
                kind: cursor.u8()?,
                subject: cursor.sized()?,
                executable: cursor.sized()?,
                event: cursor.sized()?,
            };
            let sane = event.kind < 64
                && event.subject.len() <= MAX_SUBJECT_BYTES
                && event.executable.len() <= MAX_EXECUTABLE_BYTES
                && event.event.len() <= MAX_EVENT_BYTES;
            events.push(sane.then_some(event)?);
        }
        let mut attachments = Vec::new();
        for _ in 0..attachment_count {
            let pair = (cursor.sized()?, cursor.sized()?);
            (pair.1.len() <= MAX_ATTACHMENT_BYTES).then_some(())?;
            attachments.push(pair);
        }
        let position = cursor.take(position_len)?;
        let whole = cursor.rest().is_empty() && position_len <= MAX_POSITION_BYTES;
        whole.then_some(Frame { first_sequence, events, attachments, position })
    }
}

/// Goes through the frames of a journal's bytes, as far as they are whole.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    /// Offset of the next frame in the journal.
    offset: usize,
    crc: u32,
}

impl<'a> Frames<'a> {
    /// `bytes` start with the journal's header.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<(JournalHeader, Frames<'a>), HeaderFault> {
        let header = JournalHeader::decode(bytes)?;
        let crc = crc32c::crc32c(bytes.get(..JOURNAL_HEADER_LEN).unwrap_or_default());
        Ok((header, Frames { bytes, offset: JOURNAL_HEADER_LEN, crc }))
    }

    /// Goes on behind frames read before.
    pub(crate) fn resume(bytes: &'a [u8], crc: u32) -> Frames<'a> {
        Frames { bytes, offset: 0, crc }
    }

    /// Offset in the bytes given, and the checksum to resume with.
    pub(crate) fn state(&self) -> (usize, u32) {
        (self.offset, self.crc)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let mut cursor = Cursor::new(self.bytes.get(self.offset..)?);
        let len = cursor.u32()?;
        let crc = cursor.u32()?;
        let len_bytes = usize::try_from(len).ok().filter(|len| *len <= MAX_FRAME_BYTES)?;
        let payload = cursor.take(len_bytes)?;
        if frame_crc(self.crc, len, payload) != crc {
            return None;
        }
        let frame = Frame::decode(payload)?;
        self.crc = crc;
        self.offset += FRAME_START + len_bytes;
        Some(frame)
    }
}
