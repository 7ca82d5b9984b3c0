// SPDX-License-Identifier: Apache-2.0
//! For fuzzing only (feature `mend`): changes what lies inside the pressed pieces of a segment and makes all
//! lengths, checksums and hashes fit again, so that damage reaches the decoders behind the checksums.
//! Nothing in the product calls it, and it cannot sign: a mended segment is never whole to `verify`.

use crate::block::{HEADER_LEN, Header, hash, payload, unpack};
use crate::builder::press_onto;
use crate::cursor::{Cursor, put_sized};
use crate::filter::Filter;
use crate::frame::Frame;
use crate::merkle::Hash;
use crate::segment::{SEGMENT_HEADER_LEN, SegmentHeader};

/// Gives each unpacked piece of a sound segment to `edit` in turn (of each block the frames, and then the
/// filter with the list of frames) and packs what comes back. What is behind the last block stays as it is.
pub fn mend(segment: &[u8], edit: &mut dyn FnMut(&mut Vec<u8>)) -> Vec<u8> {
    let Ok(header) = SegmentHeader::decode(segment) else { return segment.to_vec() };
    let mut out = header.encode().to_vec();
    let (mut offset, mut previous) = (SEGMENT_HEADER_LEN, header.previous);
    while let Some(rest) = segment.get(offset..) {
        let Some((block, len)) = mended(rest, previous, edit) else {
            out.extend_from_slice(rest);
            break;
        };
        previous = hash(block.get(..HEADER_LEN).unwrap_or_default());
        out.extend_from_slice(&block);
        offset += len;
    }
    out
}

/// The first block of `bytes` after the edits, and how long it was before them.
fn mended(bytes: &[u8], previous: Hash, edit: &mut dyn FnMut(&mut Vec<u8>)) -> Option<(Vec<u8>, usize)> {
    let mut press = zstd::bulk::Compressor::new(1).ok()?;
    let mut header = Header::decode(bytes).ok()?;
    let len = header.block_len();
    let pieces = payload(&header, bytes.get(HEADER_LEN..)?)?;
    let old = unpack(pieces.filter, header.filter_raw_len)?;
    let filter = Filter::decode(&old)?;
    let layout = filter.layout(&header)?;
    let (mut frames, mut body) = (Vec::new(), Vec::new());
    header.raw_len = 0;
    for frame in layout.lists.iter().chain(&layout.frames) {
        let mut raw = unpack(pieces.body.get(frame.stored.clone())?, frame.raw_len)?;
        edit(&mut raw);
        let start = body.len();
        press_onto(&mut press, &raw, &mut body).ok()?;
        let crc = crc32c::crc32c(body.get(start..)?);
        header.raw_len += raw.len();
        Frame { raw_len: raw.len(), stored: start..body.len(), crc, ..frame.clone() }.encode(&mut frames);
    }
    let mut raw = with_frames(&old, &filter, &frames)?;
    edit(&mut raw);
    let mut behind = pieces.position.to_vec();
    header.filter_len = press_onto(&mut press, &raw, &mut behind).ok()?;
    header.filter_raw_len = raw.len();
    header.filter_crc = crc32c::crc32c(behind.get(header.position_len..)?);
    header.body_len = body.len();
    behind.extend_from_slice(&body);
    header.payload_crc = crc32c::crc32c(&behind);
    header.payload_hash = *blake3::hash(&behind).as_bytes();
    header.previous = previous;
    Some(([&header.encode()[..], &behind].concat(), len))
}

/// The raw filter with another list of frames.
fn with_frames(old: &[u8], filter: &Filter, frames: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(old);
    cursor.take(9)?;
    for _ in [filter.subjects, filter.users, filter.executables].into_iter().flatten() {
        cursor.sized()?;
    }
    let mut new = old.get(..old.len() - cursor.rest().len())?.to_vec();
    cursor.sized()?;
    put_sized(&mut new, frames);
    new.extend_from_slice(cursor.rest());
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keys, Options, Reader, Writer};

    #[test]
    fn a_mended_segment_is_read_with_what_was_changed_inside() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, _) = Writer::open(dir.path(), [1; 16], 1, Options::default()).unwrap();
        let keys = Keys { time_ns: 1, kind: 1, subject: b"c", user: 0, executable: b"/x", text: &[b"old"] };
        for _ in 0..3 {
            writer.append(b"old", &keys).unwrap();
        }
        writer.commit(b"p").unwrap();
        writer.close(2).unwrap();
        let path = dir.path().join("00000000000000000001.seg");
        let before = std::fs::read(&path).unwrap();
        let mut pieces = 0;
        let after = mend(&before, &mut |piece| {
            pieces += 1;
            if let Some(end) = piece.len().checked_sub(3).filter(|end| piece.ends_with(b"old") && *end > 0) {
                piece.truncate(end);
                piece.extend_from_slice(b"new");
            }
        });
        assert_eq!((pieces, mend(&before, &mut |_| ())), (2, before));
        std::fs::write(&path, after).unwrap();
        let events: Vec<Vec<u8>> = Reader::open(dir.path())
            .unwrap()
            .query(&crate::Query::default())
            .map(|entry| entry.unwrap().event)
            .collect();
        assert_eq!(events, [b"old", b"old", b"new"]);
        assert!(!crate::verify(dir.path(), None, &mut |_, _| {}).unwrap().whole());
    }
}
