// SPDX-License-Identifier: Apache-2.0
//! A block as it lies in a segment: a fixed header, the writer's read position, the filter
//! and the frames of the body, each pressed with zstd. Here it is taken apart and checked; `builder` makes it.
//!
//! The header holds the BLAKE3 of everything behind it and the hash of the block before, so that
//! hashing headers alone proves the order, and one block can be checked without its neighbours.

use crate::body::{Body, Lists};
use crate::cursor::Cursor;
use crate::filter::Filter;
use crate::frame::Frame;
use crate::limits::{MAX_BLOCK_EVENTS, MAX_BODY_BYTES, MAX_FILTER_BYTES, MAX_POSITION_BYTES, MAX_RAW_BYTES};
use crate::merkle::Hash;

/// Bytes of a block's header.
pub(crate) const HEADER_LEN: usize = 160;
pub(crate) const MAGIC: [u8; 4] = *b"PBLK";
/// Version of every file of the store.
pub(crate) const VERSION: u16 = 2;

/// The fixed part of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) boot_id: [u8; 16],
    pub(crate) first_sequence: u64,
    /// Blocks written to this store before this one.
    pub(crate) number: u64,
    pub(crate) count: u32,
    pub(crate) time_min: u64,
    pub(crate) time_max: u64,
    pub(crate) position_len: usize,
    pub(crate) filter_len: usize,
    pub(crate) filter_raw_len: usize,
    pub(crate) body_len: usize,
    pub(crate) raw_len: usize,
    /// CRC32C of the pressed filter, which queries read without the rest.
    pub(crate) filter_crc: u32,
    /// CRC32C of everything behind the header.
    pub(crate) payload_crc: u32,
    /// Hash of the block before, or of the origin.
    pub(crate) previous: Hash,
    /// BLAKE3 of everything behind the header.
    pub(crate) payload_hash: Hash,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Fewer bytes than a header has.
    Short,
    /// Not a header, or one that does not match its checksum.
    Broken,
    /// Of another format.
    Version(u16),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let len = |len: usize| crate::cursor::length(len).to_le_bytes();
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.boot_id);
        out.extend_from_slice(&self.first_sequence.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&len(self.position_len));
        out.extend_from_slice(&self.time_min.to_le_bytes());
        out.extend_from_slice(&self.time_max.to_le_bytes());
        out.extend_from_slice(&len(self.filter_len));
        out.extend_from_slice(&len(self.filter_raw_len));
        out.extend_from_slice(&len(self.body_len));
        out.extend_from_slice(&len(self.raw_len));
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        out.extend_from_slice(&self.filter_crc.to_le_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.payload_hash);
        seal_fixed(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Header, HeaderFault> {
        let fields = open_fixed::<HEADER_LEN>(bytes, MAGIC)?;
        let header = Header::fields(&mut Cursor::new(fields)).ok_or(HeaderFault::Broken)?;
        let sane = (1..=MAX_BLOCK_EVENTS).contains(&header.count)
            && header.position_len <= MAX_POSITION_BYTES
            && header.filter_len <= MAX_FILTER_BYTES
            && header.filter_raw_len <= MAX_FILTER_BYTES
            && header.body_len <= MAX_BODY_BYTES
            && header.raw_len <= MAX_RAW_BYTES
            && header.first_sequence.checked_add(u64::from(header.count)).is_some()
            && header.number < u64::MAX;
        if sane { Ok(header) } else { Err(HeaderFault::Broken) }
    }

    fn fields(cursor: &mut Cursor) -> Option<Header> {
        let len = |cursor: &mut Cursor| cursor.u32().and_then(|len| usize::try_from(len).ok());
        let boot_id = cursor.array()?;
        let first_sequence = cursor.u64()?;
        let number = cursor.u64()?;
        let count = cursor.u32()?;
        let position_len = len(cursor)?;
        Some(Header {
            boot_id,
            first_sequence,
            number,
            count,
            position_len,
            time_min: cursor.u64()?,
            time_max: cursor.u64()?,
            filter_len: len(cursor)?,
            filter_raw_len: len(cursor)?,
            body_len: len(cursor)?,
            raw_len: len(cursor)?,
            payload_crc: cursor.u32()?,
            filter_crc: cursor.u32()?,
            previous: cursor.array()?,
            payload_hash: cursor.array()?,
        })
    }

    /// The sequence after the block's last event.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.count))
    }

    /// Bytes behind the header.
    pub(crate) fn payload_len(&self) -> usize {
        self.position_len + self.filter_len + self.body_len
    }

    /// Bytes of the whole block.
    pub(crate) fn block_len(&self) -> usize {
        HEADER_LEN + self.payload_len()
    }
}

/// The hash the next block carries.
pub(crate) fn hash(header: &[u8]) -> Hash {
    *blake3::hash(header).as_bytes()
}

/// Pads a fixed record and ends it with its CRC32C.
pub(crate) fn seal_fixed<const N: usize>(mut out: Vec<u8>) -> [u8; N] {
    out.resize(N - 4, 0);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    let mut fixed = [0; N];
    fixed.copy_from_slice(&out);
    fixed
}

/// Checks magic, version and CRC32C of a fixed record and gives the fields behind them.
pub(crate) fn open_fixed<const N: usize>(bytes: &[u8], magic: [u8; 4]) -> Result<&[u8], HeaderFault> {
    let Some(fixed) = bytes.first_chunk::<N>() else { return Err(HeaderFault::Short) };
    let (start, crc) = fixed.split_at(N - 4);
    if start.get(..4) != Some(&magic) || crc32c::crc32c(start).to_le_bytes() != *crc {
        return Err(HeaderFault::Broken);
    }
    let mut cursor = Cursor::new(start.get(4..).unwrap_or_default());
    let version = cursor.u16().unwrap_or_default();
    if version != VERSION {
        return Err(HeaderFault::Version(version));
    }
    cursor.u16();
    Ok(cursor.rest())
}

/// The three pieces behind a header.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) position: &'a [u8],
    pub(crate) filter: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// Cuts the payload apart and checks its CRC32C.
pub(crate) fn payload<'a>(header: &Header, bytes: &'a [u8]) -> Option<Payload<'a>> {
    let bytes = bytes.get(..header.payload_len())?;
    if crc32c::crc32c(bytes) != header.payload_crc {
        return None;
    }
    let mut cursor = Cursor::new(bytes);
    Some(Payload {
        position: cursor.take(header.position_len)?,
        filter: cursor.take(header.filter_len)?,
        body: cursor.take(header.body_len)?,
    })
}

/// Unpacks one zstd frame to exactly `raw_len` bytes, which the caller has held against a limit.
pub(crate) fn unpack(stored: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    let raw = zstd::bulk::decompress(stored, raw_len).ok()?;
    (raw.len() == raw_len).then_some(raw)
}

/// What [`scan`] saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Whole blocks.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes up to the end of the last whole block.
    pub consumed: usize,
}

/// Parses blocks from the start of `bytes` (behind a segment header, when there is one) and takes
/// each one apart down to its events, until one is not whole. Never fails and never panics.
pub fn scan(bytes: &[u8]) -> Scan {
    let mut seen = Scan::default();
    if crate::segment::SegmentHeader::decode(bytes).is_ok() {
        seen.consumed = crate::segment::SEGMENT_HEADER_LEN;
    }
    while let Some(rest) = bytes.get(seen.consumed..) {
        let Ok(header) = Header::decode(rest) else { break };
        let Some(payload) = rest.get(HEADER_LEN..).and_then(|rest| payload(&header, rest)) else { break };
        let Some(events) = events(&header, &payload) else { break };
        seen.events += events;
        seen.blocks += 1;
        seen.consumed += header.block_len();
    }
    seen
}

/// Takes a whole payload apart and counts its events.
fn events(header: &Header, payload: &Payload) -> Option<u64> {
    let filter = unpack(payload.filter, header.filter_raw_len)?;
    let filter = Filter::decode(&filter)?;
    let layout = filter.layout(header)?;
    let stored = |frame: &Frame| payload.body.get(frame.stored.clone());
    let lists = match &layout.lists {
        Some(frame) => unpack(stored(frame)?, frame.raw_len)?,
        None => Vec::new(),
    };
    let mut body = Body::new(header, Lists::decode(&filter, &lists, |_, _| true)?, Vec::new());
    for frame in &layout.frames {
        let from = body.raw_mut().len();
        let raw = unpack(stored(frame)?, frame.raw_len)?;
        body.raw_mut().extend_from_slice(&raw);
        body.take(frame, from)?;
    }
    Some(body.rows().len() as u64)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Header {
        Header {
            boot_id: [7; 16],
            first_sequence: 41,
            number: 3,
            count: 2,
            time_min: 10,
            time_max: 20,
            position_len: 4,
            filter_len: 5,
            filter_raw_len: 6,
            body_len: 7,
            raw_len: 8,
            payload_crc: 9,
            filter_crc: 10,
            previous: [1; 32],
            payload_hash: [2; 32],
        }
    }

    #[test]
    fn headers_come_back_and_any_flipped_bit_is_seen() {
        let bytes = sample().encode();
        assert_eq!(Header::decode(&bytes), Ok(sample()));
        assert_eq!(Header::decode(&bytes[..159]), Err(HeaderFault::Short));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), Err(HeaderFault::Broken));
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = sample().encode();
        bytes[4] = 3;
        let crc = crc32c::crc32c(&bytes[..156]);
        bytes[156..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(HeaderFault::Version(3)));
    }
}
