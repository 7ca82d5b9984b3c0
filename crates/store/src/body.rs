// SPDX-License-Identifier: Apache-2.0
//! The unpacked body of a block: dictionaries that were too large for the filter, then the keys
//! of the events as columns, then the events' bytes. Columns press better than rows.

use std::sync::Arc;

use crate::block::Header;
use crate::cursor::Cursor;
use crate::filter::{self, Filter};

/// The keys of one event and where its bytes lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) time_ns: u64,
    pub(crate) kind: u8,
    pub(crate) subject: u32,
    pub(crate) user: u32,
    pub(crate) executable: u32,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// A subject and its attachment, when it has one.
pub(crate) type Subject = (Vec<u8>, Option<Arc<[u8]>>);

/// A block, taken apart.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) first_sequence: u64,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) executables: Vec<Vec<u8>>,
    raw: Vec<u8>,
    rows: Vec<Row>,
}

impl Body {
    /// `None` when the bytes do not hold exactly what the header promises.
    pub(crate) fn decode(header: &Header, filter: &Filter, raw: Vec<u8>) -> Option<Body> {
        let mut cursor = Cursor::new(&raw);
        let subjects = list(filter.subjects, &mut cursor)?;
        let users = list(filter.users, &mut cursor)?;
        let executables = list(filter.executables, &mut cursor)?;
        let attachment = |bytes: &[u8]| (!bytes.is_empty()).then(|| Arc::from(bytes));
        let subjects: Vec<_> =
            filter::subjects(subjects).map(|(name, bytes)| (name.to_vec(), attachment(bytes))).collect();
        let users: Vec<u32> = filter::users(users).collect();
        let executables: Vec<_> = filter::executables(executables).map(<[u8]>::to_vec).collect();
        let count = usize::try_from(header.count).ok()?;
        let mut rows = columns(&mut cursor, count, header.time_min)?;
        let mut start = raw.len() - cursor.rest().len();
        for row in &mut rows {
            row.user = *users.get(row.user as usize)?;
            subjects.get(row.subject as usize)?;
            executables.get(row.executable as usize)?;
            row.start = start;
            start = start.checked_add(row.len)?;
        }
        (start == raw.len()).then_some(Body {
            first_sequence: header.first_sequence,
            subjects,
            executables,
            raw,
            rows,
        })
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn event(&self, row: &Row) -> &[u8] {
        self.raw.get(row.start..row.start + row.len).unwrap_or_default()
    }

    /// The bytes of neighbouring events, one behind the other.
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

fn columns(cursor: &mut Cursor, count: usize, time_min: u64) -> Option<Vec<Row>> {
    let kinds = cursor.take(count)?;
    let subjects = indexes(cursor, count)?;
    let users = indexes(cursor, count)?;
    let executables = indexes(cursor, count)?;
    let mut rows = Vec::with_capacity(count);
    let mut time_ns = time_min;
    for (((kind, subject), user), executable) in kinds.iter().zip(subjects).zip(users).zip(executables) {
        time_ns = time_ns.wrapping_add(unzigzag(cursor.varint()?));
        rows.push(Row { time_ns, kind: *kind, subject, user, executable, start: 0, len: 0 });
    }
    for row in &mut rows {
        row.len = usize::try_from(cursor.varint()?).ok()?;
    }
    Some(rows)
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
pub(crate) fn put_indexes(out: &mut Vec<u8>, indexes: &[u16], distinct: usize) {
    if distinct <= 256 {
        out.push(1);
        out.extend(indexes.iter().map(|index| index.to_le_bytes()[0]));
    } else {
        out.push(2);
        indexes.iter().for_each(|index| out.extend_from_slice(&index.to_le_bytes()));
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
