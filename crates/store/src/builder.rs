// SPDX-License-Identifier: Apache-2.0
//! The block that is still open: events and their keys gather here, in columns, until the
//! block is encoded. It writes nothing to disk.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::attachments::Attachments;
use crate::block::{HEADER_LEN, Header};
use crate::body::{put_indexes, zigzag};
use crate::cursor::{put_sized, put_varint};
use crate::filter::{Parts, Trigrams};
use crate::frame::{Frame, arrange};
use crate::limits::{MAX_FILTER_EXECUTABLES, MAX_FILTER_SUBJECTS, MAX_FILTER_USERS};
use crate::merkle::Hash;

/// What the store may know of an event without reading it.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// Nanoseconds since 1970, UTC.
    pub time_ns: u64,
    /// 0 to 63; larger ones are stored as 63.
    pub kind: u8,
    /// Container id, or empty.
    pub subject: &'a [u8],
    /// User id.
    pub user: u32,
    /// Path of the executable, or empty.
    pub executable: &'a [u8],
    /// Pieces to find by substring, such as the arguments; each also stands in the event's bytes.
    pub text: &'a [&'a [u8]],
}

/// Distinct byte strings, numbered as they come.
#[derive(Debug, Default)]
struct Dictionary {
    values: Vec<Arc<[u8]>>,
    indexes: HashMap<Arc<[u8]>, u16>,
    last: u16,
    bytes: usize,
}

impl Dictionary {
    /// The index, and whether it is new. Events mostly repeat the one before, so that is tried first.
    fn insert(&mut self, value: &[u8]) -> (u16, bool) {
        if self.values.get(usize::from(self.last)).is_some_and(|last| **last == *value) {
            return (self.last, false);
        }
        if let Some(index) = self.indexes.get(value) {
            self.last = *index;
            return (*index, false);
        }
        // A block holds at most MAX_BLOCK_EVENTS events, so the index fits.
        let index = u16::try_from(self.values.len()).unwrap_or(u16::MAX);
        let value: Arc<[u8]> = Arc::from(value);
        self.bytes += value.len() + 4;
        self.values.push(Arc::clone(&value));
        self.indexes.insert(value, index);
        self.last = index;
        (index, true)
    }

    fn clear(&mut self) {
        self.values.clear();
        self.indexes.clear();
        self.last = 0;
        self.bytes = 0;
    }
}

/// The open block.
#[derive(Debug)]
pub(crate) struct Builder {
    first_sequence: u64,
    kinds: Vec<u8>,
    times: Vec<u64>,
    subjects: Vec<u16>,
    users: Vec<u16>,
    executables: Vec<u16>,
    lens: Vec<u32>,
    bytes: Vec<u8>,
    kind_mask: u64,
    subject_values: Dictionary,
    user_values: Vec<u32>,
    user_indexes: HashMap<u32, u16>,
    executable_values: Dictionary,
    trigrams: Trigrams,
}

/// Where a block stands in the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) boot_id: [u8; 16],
    pub(crate) number: u64,
    pub(crate) previous: Hash,
    pub(crate) position: &'a [u8],
}

/// A block ready to be written.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
    pub(crate) filter: Vec<u8>,
}

impl Builder {
    pub(crate) fn new(first_sequence: u64) -> Builder {
        Builder {
            first_sequence,
            kinds: Vec::new(),
            times: Vec::new(),
            subjects: Vec::new(),
            users: Vec::new(),
            executables: Vec::new(),
            lens: Vec::new(),
            bytes: Vec::new(),
            kind_mask: 0,
            subject_values: Dictionary::default(),
            user_values: Vec::new(),
            user_indexes: HashMap::new(),
            executable_values: Dictionary::default(),
            trigrams: Trigrams::new(),
        }
    }

    pub(crate) fn restart(&mut self, first_sequence: u64) {
        self.first_sequence = first_sequence;
        self.kinds.clear();
        self.times.clear();
        self.subjects.clear();
        self.users.clear();
        self.executables.clear();
        self.lens.clear();
        self.bytes.clear();
        // One huge event must not hold its memory for ever.
        self.bytes.shrink_to(1 << 20);
        self.kind_mask = 0;
        self.subject_values.clear();
        self.user_values.clear();
        self.user_indexes.clear();
        self.executable_values.clear();
        self.trigrams.clear();
    }

    pub(crate) fn count(&self) -> usize {
        self.kinds.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.first_sequence + self.kinds.len() as u64
    }

    /// Whether it has an event of this subject.
    pub(crate) fn holds(&self, subject: &[u8]) -> bool {
        self.subject_values.indexes.contains_key(subject)
    }

    /// Adds an event; true when its subject is new to the block.
    pub(crate) fn push(&mut self, event: &[u8], keys: &Keys) -> bool {
        let kind = keys.kind.min(63);
        self.kinds.push(kind);
        self.kind_mask |= 1 << kind;
        self.times.push(keys.time_ns);
        let (subject, new_subject) = self.subject_values.insert(keys.subject);
        self.subjects.push(subject);
        let (executable, _) = self.executable_values.insert(keys.executable);
        self.executables.push(executable);
        let user = self.insert_user(keys.user);
        self.users.push(user);
        self.lens.push(crate::cursor::length(event.len()));
        self.bytes.extend_from_slice(event);
        for piece in keys.text {
            self.trigrams.insert(piece);
        }
        new_subject
    }

    fn insert_user(&mut self, user: u32) -> u16 {
        if let (Some(last), Some(value)) =
            (self.users.last(), self.users.last().map(|last| usize::from(*last)))
            && self.user_values.get(value) == Some(&user)
        {
            return *last;
        }
        if let Some(index) = self.user_indexes.get(&user) {
            return *index;
        }
        let index = u16::try_from(self.user_values.len()).unwrap_or(u16::MAX);
        self.user_values.push(user);
        self.user_indexes.insert(user, index);
        index
    }

    /// Forgets the events behind the first `count`. Dictionaries and trigrams keep too much, which a filter may.
    pub(crate) fn truncate(&mut self, count: usize) {
        let bytes: usize = self.lens.iter().take(count).map(|len| *len as usize).sum();
        self.kinds.truncate(count);
        self.times.truncate(count);
        self.subjects.truncate(count);
        self.users.truncate(count);
        self.executables.truncate(count);
        self.lens.truncate(count);
        self.bytes.truncate(bytes);
    }

    /// The block's bytes. The caller has seen that it holds at least one event.
    pub(crate) fn encode(
        &self,
        place: &Place,
        attachments: &Attachments,
        press: &mut zstd::bulk::Compressor<'static>,
    ) -> io::Result<Encoded> {
        let lists = self.lists(attachments);
        let (frames, body, raw_len) = self.body(&lists, press)?;
        let filter = self.filter(&lists, &frames);
        let mut bytes = Vec::with_capacity(HEADER_LEN + place.position.len() + filter.len() + body.len());
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(place.position);
        let filter_len = press_onto(press, &filter, &mut bytes)?;
        let filter_crc = crc32c::crc32c(bytes.get(HEADER_LEN + place.position.len()..).unwrap_or_default());
        bytes.extend_from_slice(&body);
        let payload = bytes.get(HEADER_LEN..).unwrap_or_default();
        let header = Header {
            boot_id: place.boot_id,
            first_sequence: self.first_sequence,
            number: place.number,
            count: crate::cursor::length(self.kinds.len()),
            time_min: self.times.iter().copied().min().unwrap_or_default(),
            time_max: self.times.iter().copied().max().unwrap_or_default(),
            position_len: place.position.len(),
            filter_len,
            filter_raw_len: filter.len(),
            filter_crc,
            body_len: body.len(),
            raw_len,
            payload_crc: crc32c::crc32c(payload),
            previous: place.previous,
            payload_hash: *blake3::hash(payload).as_bytes(),
        };
        if let Some(start) = bytes.first_chunk_mut::<HEADER_LEN>() {
            *start = header.encode();
        }
        Ok(Encoded { header, bytes, filter })
    }

    fn lists(&self, attachments: &Attachments) -> EncodedLists {
        let mut subjects = Vec::with_capacity(self.subject_values.bytes + 64);
        for subject in &self.subject_values.values {
            put_sized(&mut subjects, subject);
            put_sized(&mut subjects, attachments.get(subject).map_or(&[], |bytes| bytes));
        }
        let users: Vec<u8> = self.user_values.iter().flat_map(|user| user.to_le_bytes()).collect();
        let mut executables = Vec::with_capacity(self.executable_values.bytes);
        self.executable_values.values.iter().for_each(|value| put_sized(&mut executables, value));
        EncodedLists { subjects, users, executables }
    }

    fn filter(&self, lists: &EncodedLists, frames: &[u8]) -> Vec<u8> {
        let [subjects, users, executables] = lists.in_filter();
        let parts =
            Parts { kinds: self.kind_mask, subjects, users, executables, frames, trigrams: &self.trigrams };
        let mut filter = Vec::with_capacity(8 << 10);
        parts.encode(&mut filter);
        filter
    }

    /// The list of frames, the pressed frames and how long they were before.
    fn body(
        &self,
        lists: &EncodedLists,
        press: &mut zstd::bulk::Compressor<'static>,
    ) -> io::Result<(Vec<u8>, Vec<u8>, usize)> {
        let (mut frames, mut body, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        let mut raw_len = 0;
        let mut close = |raw: &mut Vec<u8>, subjects, count| -> io::Result<()> {
            let start = body.len();
            press_onto(press, raw, &mut body)?;
            let crc = crc32c::crc32c(body.get(start..).unwrap_or_default());
            Frame { subjects, count, raw_len: raw.len(), stored: start..body.len(), crc }.encode(&mut frames);
            raw_len += raw.len();
            raw.clear();
            Ok(())
        };
        if lists.put_elsewhere(&mut raw) {
            close(&mut raw, (0, 0), 0)?;
        }
        let starts = self.starts();
        let (order, ends) = arrange(&self.subjects, &self.lens, self.subject_values.values.len());
        let mut from = 0;
        for end in ends {
            let events = order.get(from..end).unwrap_or_default();
            from = end;
            self.put_frame(events, &starts, &mut raw);
            let subject = |number: Option<&u32>| number.map_or(0, |number| at(&self.subjects, *number));
            let subjects = (subject(events.first()), subject(events.last()));
            close(&mut raw, subjects, crate::cursor::length(events.len()))?;
        }
        Ok((frames, body, raw_len))
    }

    /// Where each event's bytes begin.
    fn starts(&self) -> Vec<usize> {
        let begin = |start: &mut usize, len: &u32| {
            let here = *start;
            *start += *len as usize;
            Some(here)
        };
        self.lens.iter().scan(0, begin).collect()
    }

    /// The columns of some events and then their bytes.
    fn put_frame(&self, events: &[u32], starts: &[usize], raw: &mut Vec<u8>) {
        raw.extend(events.iter().map(|number| at(&self.kinds, *number)));
        let columns = [
            (&self.subjects, self.subject_values.values.len()),
            (&self.users, self.user_values.len()),
            (&self.executables, self.executable_values.values.len()),
        ];
        for (column, distinct) in columns {
            put_indexes(raw, events.iter().map(|number| at(column, *number)), distinct);
        }
        let mut before = 0;
        for number in events {
            put_varint(raw, zigzag(before, u64::from(*number)));
            before = u64::from(*number);
        }
        let mut before = self.times.iter().copied().min().unwrap_or_default();
        for number in events {
            let time = at(&self.times, *number);
            put_varint(raw, zigzag(before, time));
            before = time;
        }
        events.iter().for_each(|number| put_varint(raw, u64::from(at(&self.lens, *number))));
        for number in events {
            let start = at(starts, *number);
            let bytes = self.bytes.get(start..start + at(&self.lens, *number) as usize);
            raw.extend_from_slice(bytes.unwrap_or_default());
        }
    }
}

/// One event's place in a column. All columns are equally long, and the numbers come from them.
fn at<T: Copy + Default>(column: &[T], number: u32) -> T {
    column.get(number as usize).copied().unwrap_or_default()
}

/// What the columns number, as it stands in the filter or in the body.
struct EncodedLists {
    subjects: Vec<u8>,
    users: Vec<u8>,
    executables: Vec<u8>,
}

impl EncodedLists {
    /// Those that are short enough for the filter.
    fn in_filter(&self) -> [Option<&[u8]>; 3] {
        let fits = |list: &[u8], limit: usize| list.len() <= limit;
        [
            fits(&self.subjects, MAX_FILTER_SUBJECTS).then_some(&self.subjects),
            fits(&self.users, MAX_FILTER_USERS * 4).then_some(&self.users),
            fits(&self.executables, MAX_FILTER_EXECUTABLES).then_some(&self.executables),
        ]
    }

    /// Appends the others; true when there are any.
    fn put_elsewhere(&self, out: &mut Vec<u8>) -> bool {
        let mut any = false;
        for (list, in_filter) in
            [&self.subjects, &self.users, &self.executables].into_iter().zip(self.in_filter())
        {
            if in_filter.is_none() {
                put_sized(out, list);
                any = true;
            }
        }
        any
    }
}

/// Appends `raw` as one zstd frame and gives the frame's length.
pub(crate) fn press_onto(
    press: &mut zstd::bulk::Compressor<'static>,
    raw: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    let pressed = press.compress(raw)?;
    out.extend_from_slice(&pressed);
    Ok(pressed.len())
}
