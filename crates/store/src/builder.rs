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

    /// The time of the oldest event, by the clock of the events.
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
        let (filter, raw) = self.filter_and_body(attachments);
        let mut bytes = Vec::with_capacity(HEADER_LEN + place.position.len() + raw.len() / 3);
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(place.position);
        let filter_len = press_onto(press, &filter, &mut bytes)?;
        let body_len = press_onto(press, &raw, &mut bytes)?;
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
            body_len,
            raw_len: raw.len(),
            payload_crc: crc32c::crc32c(payload),
            previous: place.previous,
            payload_hash: *blake3::hash(payload).as_bytes(),
        };
        if let Some(start) = bytes.first_chunk_mut::<HEADER_LEN>() {
            *start = header.encode();
        }
        Ok(Encoded { header, bytes, filter })
    }

    fn filter_and_body(&self, attachments: &Attachments) -> (Vec<u8>, Vec<u8>) {
        let mut subjects = Vec::with_capacity(self.subject_values.bytes + 64);
        for subject in &self.subject_values.values {
            put_sized(&mut subjects, subject);
            put_sized(&mut subjects, attachments.get(subject).map_or(&[], |bytes| bytes));
        }
        let users: Vec<u8> = self.user_values.iter().flat_map(|user| user.to_le_bytes()).collect();
        let mut executables = Vec::with_capacity(self.executable_values.bytes);
        self.executable_values.values.iter().for_each(|value| put_sized(&mut executables, value));

        let fits = |list: &[u8], limit: usize| list.len() <= limit;
        let parts = Parts {
            kinds: self.kind_mask,
            subjects: fits(&subjects, MAX_FILTER_SUBJECTS).then_some(&subjects),
            users: fits(&users, MAX_FILTER_USERS * 4).then_some(&users),
            executables: fits(&executables, MAX_FILTER_EXECUTABLES).then_some(&executables),
            trigrams: &self.trigrams,
        };
        let mut filter = Vec::with_capacity(8 << 10);
        parts.encode(&mut filter);

        let mut raw = Vec::with_capacity(self.bytes.len() + self.count() * 12 + 64);
        for (list, in_filter) in
            [(&subjects, parts.subjects), (&users, parts.users), (&executables, parts.executables)]
        {
            if in_filter.is_none() {
                put_sized(&mut raw, list);
            }
        }
        raw.extend_from_slice(&self.kinds);
        put_indexes(&mut raw, &self.subjects, self.subject_values.values.len());
        put_indexes(&mut raw, &self.users, self.user_values.len());
        put_indexes(&mut raw, &self.executables, self.executable_values.values.len());
        let mut before = self.times.iter().copied().min().unwrap_or_default();
        for time in &self.times {
            put_varint(&mut raw, zigzag(before, *time));
            before = *time;
        }
        self.lens.iter().for_each(|len| put_varint(&mut raw, u64::from(*len)));
        raw.extend_from_slice(&self.bytes);
        (filter, raw)
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
