// SPDX-License-Identifier: Apache-2.0
//! How a block's body is cut: events of one subject lie together in a frame that is pressed on its own,
//! so that a question about one container unpacks little of a block that holds many. Few and small
//! subjects share a frame, because small frames press badly. The list of frames stands in the filter.
//! It unpacks nothing; `body` does.

use std::ops::Range;

use crate::block::Header;
use crate::cursor::{Cursor, length};
use crate::limits::MAX_RAW_BYTES;

/// Event bytes from which a subject, or several together, get a frame of their own.
pub(crate) const FULL_FRAME_BYTES: usize = 16 << 10;
/// Bytes of one frame in the list.
const ENTRY_LEN: usize = 20;

/// One frame of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Least and greatest index of its subjects.
    pub(crate) subjects: (u16, u16),
    /// Its events; 0 for the frame of lists that were too long for the filter.
    pub(crate) count: u32,
    pub(crate) raw_len: usize,
    /// Where it lies in the body.
    pub(crate) stored: Range<usize>,
    /// CRC32C of its stored bytes.
    pub(crate) crc: u32,
}

impl Frame {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.subjects.0.to_le_bytes());
        out.extend_from_slice(&self.subjects.1.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&length(self.raw_len).to_le_bytes());
        out.extend_from_slice(&length(self.stored.len()).to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    fn decode(cursor: &mut Cursor, start: usize) -> Option<Frame> {
        let subjects = (cursor.u16()?, cursor.u16()?);
        let count = cursor.u32()?;
        let raw_len = usize::try_from(cursor.u32()?).ok()?;
        let stored_len = usize::try_from(cursor.u32()?).ok()?;
        let stored = start..start.checked_add(stored_len)?;
        (raw_len <= MAX_RAW_BYTES).then_some(Frame { subjects, count, raw_len, stored, crc: cursor.u32()? })
    }
}

/// The frames of one body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Lists that were too long for the filter.
    pub(crate) lists: Option<Frame>,
    /// Frames of events.
    pub(crate) frames: Vec<Frame>,
}

impl Layout {
    /// `None` when the list does not describe a body as the header promises it.
    pub(crate) fn decode(header: &Header, bytes: &[u8], has_lists: bool) -> Option<Layout> {
        let mut cursor = Cursor::new(bytes);
        let (mut frames, mut end) = (Vec::with_capacity(bytes.len() / ENTRY_LEN), 0);
        let (mut raw_len, mut count) = (0usize, 0u64);
        while !cursor.rest().is_empty() {
            let frame = Frame::decode(&mut cursor, end)?;
            end = frame.stored.end;
            raw_len = raw_len.checked_add(frame.raw_len)?;
            count += u64::from(frame.count);
            frames.push(frame);
        }
        let fits = end == header.body_len && raw_len == header.raw_len && count == u64::from(header.count);
        if !fits || frames.is_empty() {
            return None;
        }
        let lists = has_lists.then(|| frames.remove(0));
        let sane = lists.iter().all(|lists| lists.count == 0) && frames.iter().all(|frame| frame.count > 0);
        sane.then_some(Layout { lists, frames })
    }
}

/// Numbers of events in the order of their subjects, and where each frame ends in it.
pub(crate) fn arrange(subjects: &[u16], lens: &[u32], distinct: usize) -> (Vec<u32>, Vec<usize>) {
    let mut events = vec![0usize; distinct];
    let mut bytes = vec![0usize; distinct];
    for (subject, len) in subjects.iter().zip(lens) {
        let subject = usize::from(*subject);
        if let (Some(events), Some(bytes)) = (events.get_mut(subject), bytes.get_mut(subject)) {
            *events += 1;
            *bytes += *len as usize;
        }
    }
    let (mut places, mut ends) = (Vec::with_capacity(distinct), Vec::new());
    let (mut place, mut in_frame) = (0, 0usize);
    for (events, bytes) in events.iter().zip(&bytes) {
        let begun = ends.last().copied().unwrap_or(0) < place;
        if begun && *events > 0 && in_frame.max(*bytes) >= FULL_FRAME_BYTES {
            ends.push(place);
            in_frame = 0;
        }
        places.push(place);
        place += events;
        in_frame += bytes;
    }
    ends.push(place);
    let mut order = vec![0; subjects.len()];
    for (number, subject) in (0..).zip(subjects) {
        if let Some(place) = places.get_mut(usize::from(*subject)) {
            if let Some(slot) = order.get_mut(*place) {
                *slot = number;
            }
            *place += 1;
        }
    }
    (order, ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_subjects_stand_alone_and_small_ones_together() {
        let full = FULL_FRAME_BYTES as u32;
        let subjects = [0, 1, 2, 0, 1, 2, 3];
        let (order, ends) = arrange(&subjects, &[10, full, 10, 10, 10, 10, 10], 4);
        assert_eq!(order, [0, 3, 1, 4, 2, 5, 6]);
        assert_eq!(ends, [2, 4, 7]);
        // A subject whose events were all taken back has none.
        assert_eq!(arrange(&[1, 1], &[full, full], 3), (vec![0, 1], vec![2]));
    }

    #[test]
    fn a_list_that_does_not_fit_its_header_is_refused() {
        let mut header = crate::block::tests::sample();
        (header.count, header.body_len, header.raw_len) = (5, 30, 300);
        let frames = [(0, 100, 0..10), (3, 150, 10..25), (2, 50, 25..30)]
            .map(|(count, raw_len, stored)| Frame { subjects: (0, 1), count, raw_len, stored, crc: 7 });
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let [lists, first, second] = frames;
        let layout = Layout { lists: Some(lists), frames: vec![first, second] };
        assert_eq!(Layout::decode(&header, &bytes, true), Some(layout));
        assert_eq!(Layout::decode(&header, &bytes, false), None, "an empty frame of events");
        for len in 0..bytes.len() {
            assert_eq!(Layout::decode(&header, &bytes[..len], true), None);
        }
        header.count = 6;
        assert_eq!(Layout::decode(&header, &bytes, true), None);
    }
}
