// SPDX-License-Identifier: Apache-2.0
//! The unpacked body of a block, or those of its frames that are wanted: the keys of the events as
//! columns, then the events' bytes. Columns press better than rows.

use std::sync::Arc;

use crate::block::Header;
use crate::cursor::Cursor;
use crate::filter::{self, Filter};
use crate::frame::Frame;

/// The keys of one event and where its bytes lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The event's number in its block.
    pub(crate) number: u32,
    pub(crate) time_ns: u64,
    pub(crate) kind: u8,
    pub(crate) subject: u32,
    pub(crate) user: u32,
    pub(crate) executable: u32,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// A subject of the block.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: Arc<[u8]>,
    pub(crate) attachment: Option<Arc<[u8]>>,
    /// Whether events of it are asked for.
    pub(crate) wanted: bool,
}

/// What the columns number.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) users: Vec<u32>,
    pub(crate) executables: Vec<Arc<[u8]>>,
}

impl Lists {
    /// `elsewhere` holds the lists that are not in the filter. `wants` is asked once about each subject.
    pub(crate) fn decode(
        filter: &Filter,
        elsewhere: &[u8],
        mut wants: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Option<Lists> {
        let mut cursor = Cursor::new(elsewhere);
        let subjects = list(filter.subjects, &mut cursor)?;
        let users = list(filter.users, &mut cursor)?;
        let executables = list(filter.executables, &mut cursor)?;
        let subjects = filter::subjects(subjects).map(|(name, bytes)| Subject {
            wanted: wants(name, bytes),
            name: Arc::from(name),
            attachment: (!bytes.is_empty()).then(|| Arc::from(bytes)),
        });
        cursor.rest().is_empty().then(|| Lists {
            subjects: subjects.collect(),
            users: filter::users(users).collect(),
            executables: filter::executables(executables).map(Arc::from).collect(),
        })
    }

    /// Whether a frame may hold events of a wanted subject.
    pub(crate) fn wants(&self, frame: &Frame) -> bool {
        let (first, last) = (usize::from(frame.subjects.0), usize::from(frame.subjects.1));
        self.subjects.get(first..=last).is_none_or(|subjects| subjects.iter().any(|subject| subject.wanted))
    }
}

/// A block, taken apart as far as it is wanted.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) first_sequence: u64,
    pub(crate) lists: Lists,
    time_min: u64,
    raw: Vec<u8>,
    /// Frame by frame; in a frame by subject, and then as they were appended.
    rows: Vec<Row>,
    /// A bit for each number that a row has.
    seen: Vec<u64>,
    count: u32,
}

impl Body {
    /// Without any frame yet. `raw` is memory to be used again.
    pub(crate) fn new(header: &Header, lists: Lists, raw: Vec<u8>) -> Body {
        let words = (header.count as usize).div_ceil(64);
        Body {
            first_sequence: header.first_sequence,
            lists,
            time_min: header.time_min,
            raw,
            rows: Vec::new(),
            seen: vec![0; words],
            count: header.count,
        }
    }

    /// Memory that the caller unpacks the next frame into, behind what is there.
    pub(crate) fn raw_mut(&mut self) -> &mut Vec<u8> {
        &mut self.raw
    }

    /// Takes apart what was unpacked from byte `from` on. `None` when it is not what a frame of a
    /// block holds.
    pub(crate) fn take(&mut self, frame: &Frame, from: usize) -> Option<()> {
        let mut cursor = Cursor::new(self.raw.get(from..)?);
        let first_row = self.rows.len();
        columns(&mut cursor, frame, self.time_min, &mut self.rows)?;
        let mut start = self.raw.len() - cursor.rest().len();
        for row in self.rows.get_mut(first_row..)? {
            row.user = *self.lists.users.get(row.user as usize)?;
            self.lists.subjects.get(row.subject as usize)?;
            self.lists.executables.get(row.executable as usize)?;
            row.start = start;
            start = start.checked_add(row.len)?;
            let word = self.seen.get_mut((row.number / 64) as usize)?;
            let bit = 1 << (row.number % 64);
            if row.number >= self.count || *word & bit != 0 {
                return None;
            }
            *word |= bit;
        }
        (start == self.raw.len()).then_some(())
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn event(&self, row: &Row) -> &[u8] {
        self.raw.get(row.start..row.start + row.len).unwrap_or_default()
    }

    /// The bytes of events that lie one behind the other.
    pub(crate) fn events(&self, rows: &[Row]) -> &[u8] {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return &[] };
        self.raw.get(first.start..last.start + last.len).unwrap_or_default()
    }

    /// The memory, to be used again.
    pub(crate) fn into_raw(self) -> Vec<u8> {
        self.raw
    }
}

fn list<'a>(in_filter: Option<&'a [u8]>, cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    match in_filter {
        Some(list) => Some(list),
        None => cursor.sized(),
    }
}

fn columns(cursor: &mut Cursor, frame: &Frame, time_min: u64, rows: &mut Vec<Row>) -> Option<()> {
    let count = usize::try_from(frame.count).ok()?;
    let kinds = cursor.take(count)?;
    let subjects = indexes(cursor, count)?;
    let users = indexes(cursor, count)?;
    let executables = indexes(cursor, count)?;
    let first = rows.len();
    rows.reserve(count);
    let mut number = 0u64;
    for (((kind, subject), user), executable) in kinds.iter().zip(subjects).zip(users).zip(executables) {
        number = number.wrapping_add(unzigzag(cursor.varint()?));
        let number = u32::try_from(number).ok()?;
        rows.push(Row { number, time_ns: 0, kind: *kind, subject, user, executable, start: 0, len: 0 });
    }
    let mut time_ns = time_min;
    for row in rows.get_mut(first..)? {
        time_ns = time_ns.wrapping_add(unzigzag(cursor.varint()?));
        row.time_ns = time_ns;
    }
    for row in rows.get_mut(first..)? {
        row.len = usize::try_from(cursor.varint()?).ok()?;
    }
    Some(())
}

/// A column of indexes: its width in bytes (1 or 2), then the indexes.
fn indexes<'a>(cursor: &mut Cursor<'a>, count: usize) -> Option<impl Iterator<Item = u32> + use<'a>> {
    let width = usize::from(cursor.u8()?);
    if width != 1 && width != 2 {
        return None;
    }
    let column = cursor.take(count.checked_mul(width)?)?.chunks_exact(width);
    Some(column.map(|index| index.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))))
}

/// The writing side of the index columns.
pub(crate) fn put_indexes(out: &mut Vec<u8>, indexes: impl Iterator<Item = u16>, distinct: usize) {
    if distinct <= 256 {
        out.push(1);
        out.extend(indexes.map(|index| index.to_le_bytes()[0]));
    } else {
        out.push(2);
        indexes.for_each(|index| out.extend_from_slice(&index.to_le_bytes()));
    }
}

/// Small differences of either sign as small numbers.
pub(crate) fn zigzag(from: u64, to: u64) -> u64 {
    let difference = to.wrapping_sub(from).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_come_back() {
        for (from, to) in [(0, 0), (5, 3), (3, 5), (0, u64::MAX), (u64::MAX, 0), (1 << 63, 1)] {
            assert_eq!(from.wrapping_add(unzigzag(zigzag(from, to))), to);
        }
    }
}
