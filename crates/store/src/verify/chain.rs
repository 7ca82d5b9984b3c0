// SPDX-License-Identifier: Apache-2.0
//! Walks the segments block by block and holds each against the one before, against its own hash
//! and against the signed states. After a broken place it goes on at the next whole block, so that
//! a finding names no more than what is broken.

use std::path::Path;

use crate::block::{HEADER_LEN, Header, MAGIC, hash, unpack};
use crate::error::Error;
use crate::identity::{Origin, verifies};
use crate::merkle::{Hash, Tree};
use crate::segment::{
    SEGMENT_HEADER_LEN, SegmentFile, TRAILER_LEN, Trailer, list_segments, put_entry, read_up_to,
};

use super::signatures::Proof;
use super::{FindingKind, Report, lengths, name_of};

/// How much is searched at once for the next whole block.
const WINDOW_BYTES: usize = 1 << 20;

/// What the next block must be.
#[derive(Debug, Clone, Copy)]
struct Expected {
    block: u64,
    sequence: u64,
    /// `None` behind a broken or missing block, which was told already.
    hash: Option<Hash>,
}

/// What was seen of one segment.
struct Segment {
    file: SegmentFile,
    name: String,
    len: u64,
    offset: u64,
    /// Where the blocks end by the trailer.
    blocks_end: Option<u64>,
    tree: Tree,
    index: Vec<u8>,
    first: Option<u64>,
    intact: bool,
}

/// The walk.
pub(super) struct Walk<'a> {
    dir: &'a Path,
    origin: &'a Origin,
    origin_hash: Hash,
    proof: &'a Proof,
    report: &'a mut Report,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    expected: Expected,
    /// Number of the first signed state not yet passed.
    mark: usize,
    marked_sequence: u64,
    last_name: String,
    last_is_open: Option<u64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        dir: &'a Path,
        origin: &'a Origin,
        proof: &'a Proof,
        report: &'a mut Report,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Walk<'a> {
        let floor = proof.floor;
        Walk {
            dir,
            origin,
            origin_hash: origin.hash(),
            proof,
            report,
            progress,
            done: 0,
            total: 0,
            expected: Expected { block: floor.block, sequence: floor.sequence, hash: Some(floor.hash) },
            mark: 0,
            marked_sequence: floor.sequence,
            last_name: String::new(),
            last_is_open: None,
        }
    }

    pub(super) fn segments(&mut self) -> Result<(), Error> {
        let segments = list_segments(self.dir)?;
        self.total = lengths(&segments);
        for (number, (first, path)) in segments.iter().enumerate() {
            let next = segments.get(number + 1).map(|(next, _)| *next);
            self.segment(*first, path, next)?;
        }
        Ok(())
    }

    fn segment(&mut self, first: u64, path: &Path, next: Option<u64>) -> Result<(), Error> {
        let name = name_of(path);
        self.report.segments += 1;
        let file = match SegmentFile::open(path) {
            Ok(Some(file)) => file,
            Ok(None) => {
                self.short_segment(&name, first, next);
                return Ok(());
            }
            Err(Error::Version { version, .. }) => {
                let detail = format!("it has format version {version}");
                self.report.add(FindingKind::Version, &name, (first, next.unwrap_or(first + 1)), detail);
                return Ok(());
            }
            Err(Error::Damaged { .. }) => {
                let range = (first, next.unwrap_or(first + 1));
                self.report.add(FindingKind::Edited, &name, range, "its header is not what was written");
                SegmentFile::open_without_header(path, self.origin.store_id)?
            }
            Err(other) => return Err(other),
        };
        if file.header.store_id != self.origin.store_id {
            let detail = "it was written under other keys";
            self.report.add(FindingKind::Foreign, &name, (first, next.unwrap_or(first + 1)), detail);
            return Ok(());
        }
        let known = file.header.first_sequence != 0;
        if known && file.header.first_sequence != first {
            let detail =
                format!("it is the segment {:020}.seg under another name", file.header.first_sequence);
            self.report.add(FindingKind::Reordered, &name, (first, first + 1), detail);
            return Ok(());
        }
        if known && file.header.first_block < self.proof.floor.block {
            if self.report.closed {
                let detail = "retention removed it, but it is there";
                self.report.add(FindingKind::Unexpected, &name, (first, self.proof.floor.sequence), detail);
            }
            return Ok(());
        }
        self.walk(file, name, next)
    }

    /// A file without a whole header: a crash leaves it as the last one.
    fn short_segment(&mut self, name: &str, first: u64, next: Option<u64>) {
        if self.report.closed || next.is_some() {
            let range = (first, next.unwrap_or(first + 1));
            self.report.add(FindingKind::Truncated, name, range, "it ends before its first block");
        }
    }

    fn walk(&mut self, file: SegmentFile, name: String, next: Option<u64>) -> Result<(), Error> {
        let len = file.len()?;
        let trailer = file.trailer.clone();
        let behind = trailer.as_ref().map(|trailer| (TRAILER_LEN + trailer.index_len) as u64);
        let blocks_end = behind.and_then(|behind| len.checked_sub(behind));
        let header = file.header.clone();
        let mut segment = Segment {
            file,
            name,
            len,
            offset: SEGMENT_HEADER_LEN as u64,
            blocks_end,
            tree: Tree::default(),
            index: Vec::new(),
            first: None,
            intact: true,
        };
        if header.first_sequence != 0 {
            let at_start = header.first_block == self.expected.block;
            if at_start && self.expected.hash.is_some_and(|hash| hash != header.previous) {
                let range = (header.first_sequence, header.first_sequence + 1);
                let detail = "its header does not follow the segment before it";
                self.report.add(FindingKind::Edited, &segment.name, range, detail);
            }
        }
        while self.block(&mut segment)? {}
        match &trailer {
            Some(trailer) => self.footer(&segment, trailer)?,
            None => self.unsealed(&segment, next),
        }
        self.last_name.clone_from(&segment.name);
        self.last_is_open = trailer.is_none().then_some(header.first_sequence);
        Ok(())
    }

    /// Checks the block at hand; false at the end of the segment.
    fn block(&mut self, segment: &mut Segment) -> Result<bool, Error> {
        if segment.blocks_end.unwrap_or(segment.len) <= segment.offset {
            return Ok(false);
        }
        let (file, path) = (&segment.file.file, &segment.file.path);
        let head = read_up_to(file, path, segment.offset, HEADER_LEN)?;
        let Ok(header) = Header::decode(&head) else { return self.resume(segment) };
        let payload_at = segment.offset + HEADER_LEN as u64;
        let payload = read_up_to(file, path, payload_at, header.payload_len())?;
        if payload.len() < header.payload_len() {
            return Ok(false);
        }
        let range = (header.first_sequence, header.next_sequence());
        self.place(segment, &header, range);
        if *blake3::hash(&payload).as_bytes() != header.payload_hash
            || crc32c::crc32c(&payload) != header.payload_crc
        {
            segment.intact = false;
            let detail = format!("block {} differs from its hash", header.number);
            self.report.add(FindingKind::Edited, &segment.name, range, detail);
        } else {
            self.report.events += u64::from(header.count);
        }
        let filter = payload.get(header.position_len..header.position_len + header.filter_len);
        let filter = filter.and_then(|filter| unpack(filter, header.filter_raw_len)).unwrap_or_default();
        put_entry(&mut segment.index, segment.offset, &head, &filter);
        let block_hash = hash(&head);
        segment.tree.push(&block_hash);
        segment.first = segment.first.or(Some(header.first_sequence));
        segment.offset += header.block_len() as u64;
        self.expected = Expected {
            block: header.number.saturating_add(1),
            sequence: header.next_sequence(),
            hash: Some(block_hash),
        };
        self.marks(segment);
        self.done += header.block_len() as u64;
        (self.progress)(self.done.min(self.total), self.total);
        Ok(true)
    }

    /// Holds a block against what must come here.
    fn place(&mut self, segment: &mut Segment, header: &Header, range: (u64, u64)) {
        let expected = self.expected;
        if header.number > expected.block || header.first_sequence > expected.sequence {
            let gap = (expected.sequence, header.first_sequence);
            let detail = format!("blocks {} to {} should stand before this", expected.block, header.number);
            self.report.add(FindingKind::Missing, &segment.name, gap, detail);
            segment.intact = false;
        } else if header.number < expected.block || header.first_sequence < expected.sequence {
            let detail = format!("block {} stands where block {} should", header.number, expected.block);
            self.report.add(FindingKind::Reordered, &segment.name, range, detail);
            segment.intact = false;
        } else if expected.hash.is_some_and(|hash| hash != header.previous) {
            let detail = format!("block {} does not follow the one before it", header.number);
            self.report.add(FindingKind::Edited, &segment.name, range, detail);
            segment.intact = false;
        }
    }

    /// Finds the next whole header behind a broken place; false when there is none.
    fn resume(&mut self, segment: &mut Segment) -> Result<bool, Error> {
        let end = segment.blocks_end.unwrap_or(segment.len);
        let mut from = segment.offset + 1;
        while from < end {
            let window = read_up_to(&segment.file.file, &segment.file.path, from, WINDOW_BYTES)?;
            for hit in memchr::memmem::find_iter(&window, &MAGIC) {
                let at = from + hit as u64;
                let head = read_up_to(&segment.file.file, &segment.file.path, at, HEADER_LEN)?;
                let Ok(header) = Header::decode(&head) else { continue };
                if at >= end || header.number < self.expected.block {
                    continue;
                }
                let range = (self.expected.sequence, header.first_sequence);
                let detail = format!("bytes {} to {} are no block", segment.offset, at - 1);
                self.report.add(FindingKind::Edited, &segment.name, range, detail);
                segment.intact = false;
                segment.offset = at;
                self.expected =
                    Expected { block: header.number, sequence: header.first_sequence, hash: None };
                return Ok(true);
            }
            from += (WINDOW_BYTES - MAGIC.len()) as u64;
        }
        Ok(false)
    }

    /// Compares with the signed states that end at the block just passed.
    fn marks(&mut self, segment: &Segment) {
        let expected = self.expected;
        while let Some(mark) = self.proof.marks.get(self.mark).filter(|mark| mark.blocks <= expected.block) {
            self.mark += 1;
            if mark.blocks < expected.block {
                continue;
            }
            let root_differs = segment.intact
                && segment.first == Some(mark.segment)
                && mark.segment_root != segment.tree.root();
            if expected.hash != Some(mark.last_hash)
                || mark.next_sequence != expected.sequence
                || root_differs
            {
                let range = (self.marked_sequence, mark.next_sequence);
                let detail = "the blocks are not the ones that a checkpoint signed";
                self.report.add(FindingKind::Edited, &segment.name, range, detail);
            }
            self.marked_sequence = mark.next_sequence;
        }
    }

    fn footer(&mut self, segment: &Segment, trailer: &Trailer) -> Result<(), Error> {
        let first = segment.first.unwrap_or(trailer.first_sequence);
        let range = (first, self.expected.sequence.max(first + 1));
        let end = segment.blocks_end.unwrap_or(0);
        if segment.offset != end {
            // A whole block that was expected here is broken or gone.
            let gap = (self.expected.sequence, trailer.next_sequence);
            self.report.add(
                FindingKind::Edited,
                &segment.name,
                gap,
                "the blocks do not reach up to the footer",
            );
            self.expected = Expected {
                block: trailer.first_block.saturating_add(trailer.blocks),
                sequence: trailer.next_sequence,
                hash: None,
            };
            return Ok(());
        }
        if !segment.intact {
            // What is wrong has been told; the footer cannot fit it.
            return Ok(());
        }
        let stored = read_up_to(&segment.file.file, &segment.file.path, end, trailer.index_len)?;
        let same_index = *blake3::hash(&stored).as_bytes() == trailer.index_hash
            && unpack(&stored, trailer.index_raw_len).is_some_and(|raw| raw == segment.index);
        let public = self.proof.publics.get(&trailer.epoch);
        let signed = match public {
            Some(public) => verifies(public, &trailer.message(&self.origin_hash), &trailer.signature),
            // Signed by a key that came after the checkpoints were read.
            None => self.report.live,
        };
        let fits = trailer.root == segment.tree.root()
            && Some(trailer.last_hash) == self.expected.hash
            && trailer.next_sequence == self.expected.sequence
            && trailer.store_id == self.origin.store_id
            && trailer.canonical(&segment.file)?;
        if !(same_index && signed && fits) {
            self.report.add(FindingKind::Edited, &segment.name, range, "its footer is not what was signed");
        }
        Ok(())
    }

    fn unsealed(&mut self, segment: &Segment, next: Option<u64>) {
        let rest = segment.len - segment.offset.min(segment.len);
        // The last checkpoint may name it as the segment in progress; what follows it is then the intruder.
        let in_progress = self.proof.marks.last().map(|mark| mark.segment) == segment.first;
        if let Some(next) = next.filter(|_| !in_progress) {
            let range = (self.expected.sequence, next.max(self.expected.sequence + 1));
            let detail = "it ends without a footer, though another segment follows";
            if !self.report.live {
                self.report.add(FindingKind::Truncated, &segment.name, range, detail);
            }
        } else if rest > 0 && self.report.closed {
            let range = (self.expected.sequence, self.expected.sequence + 1);
            let detail = format!("{rest} bytes behind its last block are no block");
            self.report.add(FindingKind::Unexpected, &segment.name, range, detail);
        } else if !self.report.live {
            self.report.torn_bytes += rest;
        }
    }

    /// Holds the end of the chain against the last signed state; gives the sequence after it.
    pub(super) fn finish(self) -> Result<u64, Error> {
        let expected = self.expected;
        let Some(last) = self.proof.marks.last() else {
            if expected.sequence > self.marked_sequence {
                self.report.unsigned = Some((self.marked_sequence, expected.sequence - 1));
            }
            return Ok(expected.sequence);
        };
        if last.blocks > expected.block {
            let name =
                if self.last_name.is_empty() { "(segments)".to_owned() } else { self.last_name.clone() };
            let detail = format!("{} signed blocks are missing at the end", last.blocks - expected.block);
            self.report.add(FindingKind::Missing, &name, (expected.sequence, last.next_sequence), detail);
        } else if last.blocks < expected.block {
            let range = (last.next_sequence, expected.sequence);
            if self.report.closed {
                let detail = "blocks follow that no checkpoint signed, though the store was closed";
                self.report.add(FindingKind::Unexpected, &self.last_name, range, detail);
            } else if range.1 > range.0 {
                self.report.unsigned = Some((range.0, range.1 - 1));
            }
        } else if self.report.closed && self.last_is_open.is_some_and(|first| first != last.segment) {
            let range = (self.last_is_open.unwrap_or(0), expected.sequence);
            self.report.add(FindingKind::Truncated, &self.last_name, range, "its footer is gone");
        }
        Ok(expected.sequence)
    }
}
