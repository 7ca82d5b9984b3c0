// SPDX-License-Identifier: Apache-2.0
//! The one writer of a store: append, commit, close blocks, seal segments, sign, retire.
//! It reads no clock; the caller passes the time. It never writes over committed bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attachments::Attachments;
use crate::builder::{Builder, Keys, Place};
use crate::checkpoint::{Floor, Reason};
use crate::error::Error;
use crate::helper::{Helper, Job};
use crate::journal::{Journal, OLD_NAME, PendingFrame, remove_if_there};
use crate::ledger::{Ledger, Statement};
use crate::limits::{
    COMPACT_JOURNAL_BYTES, MAX_BLOCK_EVENTS, MAX_EVENT_BYTES, MAX_EXECUTABLE_BYTES, MAX_HELD_BYTES,
    MAX_PENDING_BYTES, MAX_POSITION_BYTES, MAX_SUBJECT_BYTES,
};
use crate::merkle::Hash;
use crate::options::{DiskFull, Dropped, Options, Statistics};
use crate::segment::{OpenSegment, Sealed, SegmentHeader, list_segments};

pub(crate) const RESERVE_NAME: &str = "reserve";

/// Where the chain of blocks ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) blocks: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_hash: Hash,
}

/// Appends events to a store. Only one can be open on a directory.
pub struct Writer {
    pub(crate) dir: PathBuf,
    /// Held for its lock.
    pub(crate) _lock: File,
    pub(crate) options: Options,
    pub(crate) boot_id: [u8; 16],
    pub(crate) now_ns: u64,
    pub(crate) ledger: Ledger,
    pub(crate) helper: Helper,
    pub(crate) chain: Chain,
    pub(crate) segment: Option<OpenSegment>,
    pub(crate) sealed: VecDeque<Sealed>,
    /// Removed by a checkpoint, but not from the directory yet.
    pub(crate) doomed: Vec<PathBuf>,
    /// Sealed since the last sync.
    pub(crate) unsynced: Vec<(File, PathBuf)>,
    pub(crate) journal: Journal,
    pub(crate) frame: PendingFrame,
    /// Blocks in the making, oldest first; only the last one grows.
    pub(crate) builders: VecDeque<Builder>,
    pub(crate) spare: Option<Builder>,
    pub(crate) builder_bytes: usize,
    /// One past the last committed event.
    pub(crate) committed: u64,
    pub(crate) position: Vec<u8>,
    /// The position that the newest block holds.
    pub(crate) block_position: Vec<u8>,
    pub(crate) attachments: Attachments,
    pub(crate) press: zstd::bulk::Compressor<'static>,
    pub(crate) block_since_ns: u64,
    pub(crate) checkpoint_ns: u64,
    pub(crate) sync_ns: u64,
    /// The journal holds events that a sync has promised to keep.
    pub(crate) journal_promised: bool,
    /// `journal.old` is there, and a sync of the segment has begun since.
    pub(crate) aside: Aside,
    pub(crate) statistics: Statistics,
}

/// What is known of `journal.old`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aside {
    Absent,
    /// Its blocks may not be on the disk.
    Waiting,
    /// A sync that covers its blocks is under way.
    Syncing,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Writer").field("dir", &self.dir).field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Writer {
    /// Appends an event and gives its sequence number. It is in memory only until [`Writer::commit`].
    ///
    /// # Errors
    /// `TooLarge` and `Uncommitted` by the limits; `Full` while a full disk holds too many events back.
    /// The event was then not appended.
    pub fn append(&mut self, event: &[u8], keys: &Keys) -> Result<u64, Error> {
        check("bytes", event.len(), MAX_EVENT_BYTES)?;
        check("subject", keys.subject.len(), MAX_SUBJECT_BYTES)?;
        check("executable", keys.executable.len(), MAX_EXECUTABLE_BYTES)?;
        // The longest event alone is longer than that.
        if self.frame.count() > 0 && self.frame.bytes() + event.len() > MAX_PENDING_BYTES {
            return Err(Error::Uncommitted { bytes: self.frame.bytes() });
        }
        if self.builder_bytes + event.len() > MAX_HELD_BYTES {
            return Err(Error::Full { path: self.journal.path().to_path_buf() });
        }
        let builder = self.builder_for(event.len());
        let sequence = builder.next_sequence();
        let is_first = builder.count() == 0;
        let new_subject = builder.push(event, keys);
        if is_first {
            self.block_since_ns = self.now_ns;
        }
        self.builder_bytes += event.len();
        self.frame.push(event, keys);
        if new_subject && let Some(bytes) = self.attachments.get(keys.subject) {
            self.frame.attach(keys.subject, bytes);
        }
        Ok(sequence)
    }

    /// The open block, or a new one when a single commit outgrows it.
    fn builder_for(&mut self, event_len: usize) -> &mut Builder {
        let next = self.next_sequence();
        let grows = self.builders.back().is_some_and(|open| {
            let limit = self.options.block_events.saturating_mul(2).min(MAX_BLOCK_EVENTS) as usize;
            let bytes = self.options.block_bytes.saturating_mul(2);
            open.count() == 0 || (open.count() < limit && open.bytes() + event_len <= bytes)
        });
        if !grows {
            let mut fresh = self.spare.take().unwrap_or_else(|| Builder::new(next));
            fresh.restart(next);
            self.builders.push_back(fresh);
        }
        let last = self.builders.len() - 1;
        &mut self.builders[last]
    }

    /// The latest description of a subject, such as a container's name and labels. Every block that
    /// holds events of the subject carries it, the open one included. Longer ones than
    /// `MAX_ATTACHMENT_BYTES` are counted and not kept.
    pub fn attach(&mut self, subject: &[u8], bytes: &[u8]) {
        if self.attachments.set(subject, bytes) && self.builders.iter().any(|open| open.holds(subject)) {
            self.frame.attach(subject, bytes);
        }
    }

    /// Makes everything appended, and the caller's read position, survive the process, by one write.
    ///
    /// # Errors
    /// After any error nothing is lost: call it again, with the same or a later position.
    pub fn commit(&mut self, position: &[u8]) -> Result<(), Error> {
        check("position", position.len(), MAX_POSITION_BYTES)?;
        let before = self.block_position_for_split();
        if !self.frame.is_empty() || position != self.position {
            let first = self.committed;
            self.with_room(|writer| writer.journal.append(&writer.frame, first, position))?;
            self.committed += u64::from(self.frame.count());
            self.frame.clear();
            self.position.clear();
            self.position.extend_from_slice(position);
        }
        self.write_full_blocks(&before)
    }

    /// A block that ends inside a commit must not claim the commit's position.
    fn block_position_for_split(&self) -> Vec<u8> {
        if self.builders.len() > 1 { self.position.clone() } else { Vec::new() }
    }

    fn write_full_blocks(&mut self, split_position: &[u8]) -> Result<(), Error> {
        while self.builders.len() > 1 {
            self.write_oldest_block(split_position)?;
        }
        let full = self.builders.back().is_some_and(|open| {
            open.count() >= self.options.block_events.min(MAX_BLOCK_EVENTS) as usize
                || open.bytes() >= self.options.block_bytes
        });
        if full { self.close_block() } else { Ok(()) }
    }

    /// Writes everything committed into the segment and empties the journal.
    fn close_block(&mut self) -> Result<(), Error> {
        let position = self.position.clone();
        while self.builders.front().is_some_and(|open| open.count() > 0) {
            self.write_oldest_block(&position)?;
        }
        self.clear_journal()
    }

    pub(crate) fn write_oldest_block(&mut self, position: &[u8]) -> Result<(), Error> {
        let Some(builder) = self.builders.front() else { return Ok(()) };
        let place = Place {
            boot_id: self.boot_id,
            number: self.chain.blocks,
            previous: self.chain.last_hash,
            position,
        };
        let block = builder
            .encode(&place, &self.attachments, &mut self.press)
            .map_err(|source| Error::io("pressing a block for", &self.dir, source))?;
        self.with_room(Writer::ensure_segment)?;
        self.with_room(|writer| match &mut writer.segment {
            Some(segment) => segment.append(&block),
            None => Ok(()),
        })?;
        if let Some(segment) = &self.segment {
            self.chain.last_hash = segment.last_hash;
        }
        self.chain.blocks += 1;
        self.chain.next_sequence = block.header.next_sequence();
        self.block_position.clear();
        self.block_position.extend_from_slice(position);
        self.retire_builder();
        self.seal_if_full()
    }

    fn retire_builder(&mut self) {
        let Some(mut done) = self.builders.pop_front() else { return };
        self.builder_bytes = self.builder_bytes.saturating_sub(done.bytes());
        done.restart(self.chain.next_sequence);
        if self.builders.is_empty() {
            self.builders.push_back(done);
        } else {
            self.spare = Some(done);
        }
    }

    fn ensure_segment(&mut self) -> Result<(), Error> {
        if self.segment.is_none() {
            let header = SegmentHeader {
                store_id: self.ledger.identity.origin.store_id,
                first_sequence: self
                    .builders
                    .front()
                    .map_or(self.chain.next_sequence, Builder::first_sequence),
                first_block: self.chain.blocks,
                previous: self.chain.last_hash,
            };
            self.segment = Some(OpenSegment::create(&self.dir, header)?);
        }
        Ok(())
    }

    fn seal_if_full(&mut self) -> Result<(), Error> {
        let full = self.segment.as_ref().is_some_and(|segment| segment.is_full(self.options.segment_bytes));
        if !full {
            return Ok(());
        }
        let sealed = self.with_room(|writer| {
            let Some(segment) = &writer.segment else { return Ok(()) };
            let sealed = segment.seal(&writer.ledger.identity, &mut writer.press)?;
            writer.sealed.push_back(sealed);
            if let Some(segment) = writer.segment.take() {
                writer.unsynced.push((segment.file, segment.path));
            }
            Ok(())
        });
        match sealed {
            // Its blocks are written; the footer is tried again after the next block.
            Err(Error::Full { .. }) => Ok(()),
            other => other,
        }
    }

    /// Called when every committed event is in a block. What a sync has promised stays readable in
    /// `journal.old` until the block, too, has been synced.
    fn clear_journal(&mut self) -> Result<(), Error> {
        if self.journal.len() == 0 {
            return Ok(());
        }
        if !self.journal_promised {
            return self.journal.empty();
        }
        self.journal_promised = false;
        if self.aside != Aside::Absent {
            self.sync_segment()?;
        }
        self.aside = Aside::Waiting;
        self.journal.put_aside()
    }

    fn sync_segment(&self) -> Result<(), Error> {
        let open = self.segment.as_ref().map(|segment| (&segment.file, &segment.path));
        let sealed = self.unsynced.iter().map(|(file, path)| (file, path));
        for (file, path) in sealed.chain(open) {
            file.sync_data().map_err(|source| Error::io("syncing", path, source))?;
        }
        Ok(())
    }

    /// Runs a step again as long as the disk is full and the setting finds room.
    fn with_room(&mut self, mut step: impl FnMut(&mut Writer) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            match step(self) {
                Err(Error::Full { path }) => {
                    if !self.make_room()? {
                        return Err(Error::Full { path });
                    }
                }
                other => return other,
            }
        }
    }

    fn make_room(&mut self) -> Result<bool, Error> {
        match self.options.disk_full {
            DiskFull::Block => Ok(false),
            DiskFull::Reserve => {
                let reserve = self.dir.join(RESERVE_NAME);
                let there = reserve.exists();
                remove_if_there(&reserve)?;
                Ok(there)
            }
            DiskFull::DropOldest => {
                let Some(oldest) = self.sealed.front().map(|sealed| sealed.trailer.clone()) else {
                    return Ok(false);
                };
                self.drop_oldest()?;
                let events = oldest.next_sequence.saturating_sub(oldest.first_sequence);
                let dropped = self.statistics.dropped.get_or_insert(Dropped {
                    events: 0,
                    first_sequence: oldest.first_sequence,
                    last_sequence: 0,
                });
                dropped.events += events;
                dropped.last_sequence = oldest.next_sequence.saturating_sub(1);
                Ok(true)
            }
        }
    }

    /// Signs that the oldest sealed segment goes, and then removes it.
    fn drop_oldest(&mut self) -> Result<(), Error> {
        let Some(oldest) = self.sealed.pop_front() else { return Ok(()) };
        let trailer = &oldest.trailer;
        self.ledger.floor = Floor {
            sequence: trailer.next_sequence,
            block: trailer.first_block + trailer.blocks,
            hash: trailer.last_hash,
        };
        self.doomed.push(oldest.path.clone());
        // An open file would keep its blocks on the disk.
        self.unsynced.retain(|(_, path)| *path != oldest.path);
        let statement = Statement {
            dropped: trailer.first_sequence,
            witness: trailer.root,
            ..self.statement(Reason::Drop)
        };
        self.ledger.sign(&statement, &mut self.helper, true)?;
        self.remove_doomed()
    }

    pub(crate) fn remove_doomed(&mut self) -> Result<(), Error> {
        if self.ledger.undelivered.is_some() {
            return Ok(());
        }
        while let Some(path) = self.doomed.last() {
            remove_if_there(path)?;
            self.doomed.pop();
        }
        // Segments of an earlier identity stay until something of this one is dropped.
        if self.ledger.floor.block == self.ledger.identity.origin.first_block {
            return Ok(());
        }
        // Also what an earlier damage left below the floor without a footer.
        for (first, path) in list_segments(&self.dir)? {
            if first >= self.ledger.floor.sequence {
                break;
            }
            remove_if_there(&path)?;
        }
        Ok(())
    }

    pub(crate) fn statement(&self, reason: Reason) -> Statement {
        let (segment, segment_root) = match &self.segment {
            Some(segment) => (segment.header.first_sequence, segment.tree.root()),
            None => (0, [0; 32]),
        };
        Statement {
            reason,
            time_ns: self.now_ns,
            boot_id: self.boot_id,
            blocks: self.chain.blocks,
            next_sequence: self.chain.next_sequence,
            last_hash: self.chain.last_hash,
            segment,
            segment_root,
            dropped: 0,
            witness: [0; 32],
            lost: (0, 0),
        }
    }

    /// The last committed position; after opening, the one that was found.
    pub fn position(&self) -> &[u8] {
        &self.position
    }

    /// The id of the store, the same for its whole life.
    pub fn store_id(&self) -> [u8; 16] {
        self.ledger.identity.origin.store_id
    }

    /// The sequence the next appended event gets. The first of a store is 1.
    pub fn next_sequence(&self) -> u64 {
        self.builders.back().map_or(self.chain.next_sequence, Builder::next_sequence)
    }

    /// Does what time asks for: closes an old block, retires segments, signs, syncs. Call it about
    /// every 100 ms; it waits for the disk only when it removes a segment.
    ///
    /// # Errors
    /// Also those of work done on the other thread since the last call; that is tried again.
    pub fn tick(&mut self, now_ns: u64) -> Result<(), Error> {
        let jumped_back = now_ns < self.now_ns;
        self.now_ns = now_ns;
        let outcome = self.helper.outcome(false);
        self.ledger.take(outcome)?;
        self.forget_journal_aside()?;
        if jumped_back || due(self.block_since_ns, now_ns, self.options.block_age) {
            self.block_since_ns = now_ns;
            if self.frame.is_empty() {
                self.close_block_or_compact()?;
            }
        }
        self.retain(now_ns)?;
        if jumped_back || due(self.checkpoint_ns, now_ns, self.options.checkpoint_every) {
            if !self.helper.is_busy() {
                self.checkpoint_ns = now_ns;
                self.sign_news(jumped_back)?;
            }
        } else if due(self.sync_ns, now_ns, self.options.sync_every) && !self.helper.is_busy() {
            self.sync_ns = now_ns;
            self.submit_sync()?;
        }
        Ok(())
    }

    /// Without news the last signature still says all, so another one only says that the writer lives.
    fn sign_news(&mut self, always: bool) -> Result<(), Error> {
        let statement = self.statement(Reason::Time);
        let signed_ns = self.ledger.signed.map_or(0, |signed| signed.time_ns);
        let idle_every = self.options.idle_checkpoint_every;
        if !always && self.ledger.covers(&statement) && !due(signed_ns, self.now_ns, idle_every) {
            return Ok(());
        }
        self.ledger.sign(&statement, &mut self.helper, false)
    }

    fn close_block_or_compact(&mut self) -> Result<(), Error> {
        if self.builders.front().is_some_and(|open| open.count() > 0) {
            return self.close_block();
        }
        if self.journal.len() > COMPACT_JOURNAL_BYTES {
            let (next, position) = (self.committed, self.position.clone());
            self.journal_promised = false;
            return self.with_room(|writer| writer.journal.restart(next, &position));
        }
        Ok(())
    }

    fn forget_journal_aside(&mut self) -> Result<(), Error> {
        if self.aside == Aside::Syncing && !self.helper.is_busy() {
            self.aside = Aside::Waiting;
            if self.ledger.synced {
                remove_if_there(&self.dir.join(OLD_NAME))?;
                self.aside = Aside::Absent;
            }
        }
        Ok(())
    }

    fn submit_sync(&mut self) -> Result<(), Error> {
        let mut files = std::mem::take(&mut self.unsynced);
        let segment = self.segment.as_ref().map(|segment| (&segment.file, segment.path.as_path()));
        let journal = self.journal.file().map(|file| (file, self.journal.path()));
        for (file, path) in segment.into_iter().chain(journal) {
            let file = file.try_clone().map_err(|source| Error::io("duplicating", path, source))?;
            files.push((file, path.to_path_buf()));
        }
        self.journal_promised = self.journal.len() > 0;
        if self.aside == Aside::Waiting {
            self.aside = Aside::Syncing;
        }
        self.ledger.synced = false;
        self.helper.submit(Job::Sync(files));
        Ok(())
    }

    fn retain(&mut self, now_ns: u64) -> Result<(), Error> {
        loop {
            let Some(oldest) = self.sealed.front() else { return Ok(()) };
            let too_old = self.options.retain_age.is_some_and(|age| {
                due(oldest.trailer.time_max, now_ns, age) && now_ns > oldest.trailer.time_max
            });
            let too_much = self.options.retain_bytes.is_some_and(|limit| self.segment_bytes() > limit);
            if !too_old && !too_much {
                return Ok(());
            }
            self.drop_oldest()?;
            self.statistics.retired_segments += 1;
        }
    }

    fn segment_bytes(&self) -> u64 {
        let open = self.segment.as_ref().map_or(0, |segment| segment.len);
        self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>() + open
    }

    /// Closes the open block and signs that nothing is missing. Events that were appended but not
    /// committed are not kept: their position is not known.
    ///
    /// # Errors
    /// Everything committed is still there after an error; the next open finishes the work.
    pub fn close(mut self, now_ns: u64) -> Result<(), Error> {
        self.now_ns = now_ns;
        self.forget_uncommitted();
        self.close_block()?;
        let mut witness = [0; 32];
        if self.position != self.block_position {
            let (next, position) = (self.committed, self.position.clone());
            self.journal.restart(next, &position)?;
            let bytes = std::fs::read(self.journal.path());
            let bytes = bytes.map_err(|source| Error::io("reading", self.journal.path(), source))?;
            witness = *blake3::hash(&bytes).as_bytes();
        }
        self.sync_segment()?;
        self.ledger.settle(&mut self.helper)?;
        self.remove_doomed()?;
        if witness == [0; 32] {
            self.journal.remove()?;
        }
        remove_if_there(&self.dir.join(OLD_NAME))?;
        let statement = Statement { witness, ..self.statement(Reason::Close) };
        self.ledger.sign(&statement, &mut self.helper, true)
    }

    fn forget_uncommitted(&mut self) {
        self.frame.clear();
        for builder in &mut self.builders {
            let keep = self.committed.saturating_sub(builder.first_sequence());
            builder.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        }
        self.builders.retain(|builder| builder.count() > 0);
    }

    /// What the writer knows of its store.
    pub fn statistics(&self) -> Statistics {
        let open = self.segment.as_ref().filter(|segment| segment.blocks > 0);
        let first = self.sealed.front().map(|sealed| sealed.trailer.first_sequence);
        let first = first.or(open.map(|segment| segment.header.first_sequence));
        let first_sequence = first.unwrap_or(self.chain.next_sequence);
        let oldest = self.sealed.front().map(|sealed| sealed.trailer.time_min);
        Statistics {
            events: self.committed.saturating_sub(first_sequence),
            segments: self.sealed.len() as u64 + u64::from(self.segment.is_some()),
            bytes: self.segment_bytes() + self.journal.len(),
            first_sequence: if self.committed > first_sequence { first_sequence } else { 0 },
            oldest_ns: oldest.or(open.map(|segment| segment.time_min)),
            checkpoints: self.ledger.identity.epoch(),
            refused_attachments: self.attachments.refused(),
            ..self.statistics.clone()
        }
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn check(what: &'static str, len: usize, limit: usize) -> Result<(), Error> {
    if len > limit { Err(Error::TooLarge { what, len, limit }) } else { Ok(()) }
}

/// Whether `every` has passed since; a clock that went back counts as passed.
fn due(since_ns: u64, now_ns: u64, every: Duration) -> bool {
    now_ns.checked_sub(since_ns).is_none_or(|passed| u128::from(passed) >= every.as_nanos())
}
