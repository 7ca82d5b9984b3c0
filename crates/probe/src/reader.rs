// SPDX-License-Identifier: Apache-2.0
//! Both lanes into whole records, in the order of lane A, and the place to carry on from.
//!
//! Lane B is read ahead and its pieces wait for the record they belong to. Room in the rings
//! is given back only by [`Reader::release`], when the caller has everything safe.

use crate::decode::{DecodeError, decode, decode_bulk};
use crate::record::{Body, Exec, Record};
use crate::wire::FLAG_ARGS_CUT;
use std::collections::BTreeMap;
use sys::{Ring, RingError, Slot};

/// Where reading goes on after a restart: kept in the store with the events it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Position in the ring of lane A.
    pub records: u64,
    /// Position in the ring of lane B.
    pub bulk: u64,
    /// Per CPU, the last number seen.
    pub sequences: Vec<u64>,
}

/// One thing read from the rings.
#[derive(Debug)]
pub enum Item {
    /// A record, whole; with the numbers missing on its CPU since the last one, if any.
    Record(Box<Record>, Option<Missing>),
    /// Bytes of either lane that are no record.
    Bad(DecodeError),
}

/// Numbers of one CPU's sequence that never arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The CPU.
    pub cpu: u16,
    /// First missing number.
    pub first: u64,
    /// Last missing number.
    pub last: u64,
}

/// Pieces of one record's arguments.
#[derive(Debug)]
struct Pieces {
    /// Position of the first piece: lane B is not released beyond it before it is claimed.
    position: u64,
    data: Vec<Vec<u8>>,
}

/// Reads both rings.
#[derive(Debug)]
pub struct Reader {
    records: Ring,
    bulk: Ring,
    at: Position,
    /// Where the newest record that was read starts in lane A.
    newest: u64,
    waiting: BTreeMap<(u16, u64), Pieces>,
    buffer: Vec<u8>,
    /// What of lane B was no record and has not been told yet.
    bad_pieces: Vec<DecodeError>,
}

impl Reader {
    /// Starts at the rings' own positions with no number seen yet.
    pub fn new(records: Ring, bulk: Ring) -> Reader {
        let at = Position {
            records: records.consumer_position(),
            bulk: bulk.consumer_position(),
            sequences: Vec::new(),
        };
        let newest = at.records;
        Reader {
            records,
            bulk,
            at,
            newest,
            waiting: BTreeMap::new(),
            buffer: Vec::new(),
            bad_pieces: Vec::new(),
        }
    }

    /// Carries on from `position`, which an earlier agent kept. The rings never give back more
    /// than was kept, so a position behind the ring's own is one of another ring: ignored.
    pub fn resume(&mut self, position: &Position) -> bool {
        let known = |ring: &Ring, at: u64| {
            let ahead = at.wrapping_sub(ring.consumer_position());
            ahead <= ring.producer_position().wrapping_sub(ring.consumer_position())
        };
        if !known(&self.records, position.records) || !known(&self.bulk, position.bulk) {
            return false;
        }
        self.at = position.clone();
        self.newest = position.records;
        true
    }

    /// The next item, or `None` when lane A is drained.
    pub fn read(&mut self) -> Result<Option<Item>, RingError> {
        if let Some(error) = self.bad_pieces.pop() {
            return Ok(Some(Item::Bad(error)));
        }
        loop {
            let next = match self.records.read(self.at.records, &mut self.buffer)? {
                Slot::Empty => return Ok(None),
                Slot::Discarded(next) => {
                    self.at.records = next;
                    continue;
                }
                Slot::Record(next) => next,
            };
            self.newest = std::mem::replace(&mut self.at.records, next);
            let mut record = match decode(&self.buffer) {
                Ok(record) => record,
                Err(error) => return Ok(Some(Item::Bad(error))),
            };
            let missing = self.missing_before(record.head.cpu, record.head.sequence);
            self.complete(&mut record)?;
            return Ok(Some(Item::Record(Box::new(record), missing)));
        }
    }

    /// Takes note of a number, and of the ones between it and the last one.
    fn missing_before(&mut self, cpu: u16, sequence: u64) -> Option<Missing> {
        let seen = self.seen(cpu);
        let last = *seen;
        *seen = last.max(sequence);
        (last + 1 < sequence).then_some(Missing { cpu, first: last + 1, last: sequence - 1 })
    }

    fn seen(&mut self, cpu: u16) -> &mut u64 {
        let cpu = usize::from(cpu);
        if self.at.sequences.len() <= cpu {
            self.at.sequences.resize(cpu + 1, 0);
        }
        &mut self.at.sequences[cpu]
    }

    /// What the kernel says it numbered on each CPU, against what arrived. To be called with
    /// counters read before the ring was drained: the difference is lost for good.
    pub fn missing_at_end(&mut self, numbered: &[u64]) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (cpu, &numbered) in (0..=u16::MAX).zip(numbered) {
            let seen = self.seen(cpu);
            if *seen < numbered {
                missing.push(Missing { cpu, first: *seen + 1, last: numbered });
                *seen = numbered;
            }
        }
        missing
    }

    /// Adds the pieces from lane B, which stand there since before the record did.
    fn complete(&mut self, record: &mut Record) -> Result<(), RingError> {
        let key = (record.head.cpu, record.head.sequence);
        if let Body::Exec(exec) = &mut record.body
            && exec.bulk_parts > 0
        {
            self.read_bulk()?;
            let pieces = self.waiting.remove(&key);
            if !join(exec, pieces) {
                record.head.flags |= FLAG_ARGS_CUT as u32;
            }
        }
        // Records of one CPU come in the order of their numbers: older pieces have no owner.
        while let Some((&old, _)) = self.waiting.range((key.0, 0)..=key).next() {
            self.waiting.remove(&old);
        }
        Ok(())
    }

    fn read_bulk(&mut self) -> Result<(), RingError> {
        loop {
            let position = self.at.bulk;
            let next = match self.bulk.read(position, &mut self.buffer)? {
                Slot::Empty => return Ok(()),
                Slot::Discarded(next) => {
                    self.at.bulk = next;
                    continue;
                }
                Slot::Record(next) => next,
            };
            self.at.bulk = next;
            let bulk = match decode_bulk(&self.buffer) {
                Ok(bulk) => bulk,
                Err(error) => {
                    self.bad_pieces.push(error);
                    continue;
                }
            };
            if bulk.sequence <= *self.seen(bulk.cpu) && !self.is_current(&bulk) {
                continue;
            }
            let pieces = self
                .waiting
                .entry((bulk.cpu, bulk.sequence))
                .or_insert_with(|| Pieces { position, data: Vec::new() });
            pieces.data.push(bulk.data);
        }
    }

    /// The record being completed has just been counted as seen.
    fn is_current(&mut self, bulk: &crate::record::Bulk) -> bool {
        bulk.sequence == *self.seen(bulk.cpu)
    }

    /// Everything before this place was returned by [`Reader::read`], nothing after it was.
    pub fn position(&self) -> Position {
        let waiting = self.waiting.values().map(|pieces| pieces.position).min();
        Position { bulk: waiting.unwrap_or(self.at.bulk), ..self.at.clone() }
    }

    /// Gives room back up to `position`. True when there is more to read already.
    pub fn release(&mut self, position: &Position) -> bool {
        // Pieces without an owner would hold lane B for ever if no record asked for its own.
        self.bulk.release(position.bulk);
        self.records.release(position.records)
    }

    /// The same, but the newest record stays: while one waits, the kernel wakes nobody for the
    /// next, which saves both sides the trouble as long as the reader comes back by itself.
    pub fn release_quietly(&mut self, position: &Position) {
        let held = if position.records == self.at.records { self.newest } else { position.records };
        self.bulk.release(position.bulk);
        self.records.release(held);
    }

    /// Bytes that wait in lane A and in lane B, and how many each can hold.
    pub fn usage(&self) -> [(u64, u64); 2] {
        [&self.records, &self.bulk]
            .map(|ring| (ring.producer_position().wrapping_sub(ring.consumer_position()), ring.size()))
    }
}

/// Appends the pieces to the arguments. False when some are missing.
fn join(exec: &mut Exec, pieces: Option<Pieces>) -> bool {
    let Some(pieces) = pieces else { return false };
    let whole = pieces.data.len() == exec.bulk_parts as usize;
    for piece in &pieces.data {
        exec.args.extend_from_slice(piece);
    }
    whole
}
