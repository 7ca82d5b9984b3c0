// SPDX-License-Identifier: Apache-2.0
//! Reads a store, with or without a writer at work on it. It takes no lock and changes nothing.
//!
//! The journal is read before the segments: whatever was committed before that moment is either in
//! what was read of it, or in a block that was written earlier; sequences tell what is in both.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::error::Error;
use crate::file;
use crate::follower::Follower;
use crate::identity::{ORIGIN_LEN, ORIGIN_NAME, Origin};
use crate::journal::{self, Frame, Frames};
use crate::query::{Entry, EventKeys, Matcher, Query};
use crate::recovery::{MAX_JOURNAL_BYTES, read_small};
use crate::segment::{BlockRef, Index, SegmentFile, list_segments, read_up_to};
use crate::unpacker::Unpacker;

/// Most blocks, and raw bytes of them, that are read at once. A query begins with one block, so that
/// one for the newest few events reads little.
const MAX_BATCH_BLOCKS: usize = 64;
const MAX_BATCH_BYTES: usize = 8 << 20;

/// A store open for reading.
#[derive(Debug, Clone)]
pub struct Reader {
    dir: PathBuf,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Segment files.
    pub segments: u64,
    /// Sequence of the oldest event, 0 in an empty store.
    pub first_sequence: u64,
    /// Sequence of the newest event, 0 in an empty store.
    pub last_sequence: u64,
    /// Least time of an event, ns since 1970; 0 in an empty store.
    pub first_time_ns: u64,
    /// Greatest time of an event; 0 in an empty store.
    pub last_time_ns: u64,
}

impl Reader {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// `Io` when it is no directory or may not be read.
    pub fn open(dir: &Path) -> Result<Reader, Error> {
        std::fs::read_dir(dir).map_err(|source| Error::io("opening the store", dir, source))?;
        Ok(Reader { dir: dir.to_path_buf() })
    }

    /// The id of the store, the same for its whole life, or zeros when its origin is missing or damaged.
    pub fn store_id(&self) -> [u8; 16] {
        let origin = read_small(&self.dir.join(ORIGIN_NAME), ORIGIN_LEN).ok().flatten();
        let origin = origin.and_then(|bytes| Origin::decode(&bytes).ok());
        origin.map_or([0; 16], |origin| origin.store_id)
    }

    /// The store's first public key, as [`crate::verify`] takes it; `None` when its origin is missing or
    /// damaged.
    pub fn first_key(&self) -> Option<[u8; 32]> {
        let origin = read_small(&self.dir.join(ORIGIN_NAME), ORIGIN_LEN).ok().flatten();
        origin.and_then(|bytes| Origin::decode(&bytes).ok()).map(|origin| origin.public_key)
    }

    /// The events that match. A damaged block gives one error and the rest goes on.
    pub fn query(&self, query: &Query) -> Entries {
        let ascending_newest = query.limit.is_some() && !query.newest_first;
        let mut entries =
            Entries::new(&self.dir, Matcher::new(query), query.newest_first || ascending_newest);
        entries.left = query.limit.unwrap_or(usize::MAX);
        if !ascending_newest {
            return entries;
        }
        let mut newest: VecDeque<_> = entries.by_ref().collect();
        newest.make_contiguous().reverse();
        entries.ready = newest;
        entries.work.clear();
        entries.left = usize::MAX;
        entries
    }

    /// Gives events as they are committed, from a sequence on (1 = all there are).
    pub fn follow(&self, from_sequence: u64) -> Follower {
        Follower::new(&self.dir, from_sequence)
    }

    /// Counts by headers and footers.
    ///
    /// # Errors
    /// `Io` when a file cannot be read. Damaged pieces are not counted.
    pub fn totals(&self) -> Result<Totals, Error> {
        let mut totals = Totals { first_time_ns: u64::MAX, ..Totals::default() };
        let journal = read_journal(&self.dir)?;
        let mut count = |first: u64, events: u64, time_min: u64, time_max: u64| {
            if totals.events == 0 {
                totals.first_sequence = first;
            }
            totals.events += events;
            totals.last_sequence = totals.last_sequence.max(first.saturating_add(events).saturating_sub(1));
            totals.first_time_ns = totals.first_time_ns.min(time_min);
            totals.last_time_ns = totals.last_time_ns.max(time_max);
        };
        let (mut segments, mut unpacker) = (0, Unpacker::default());
        let mut next = 0;
        for (_, path) in list_segments(&self.dir)? {
            let segment = match SegmentFile::open(&path) {
                Ok(Some(segment)) => segment,
                Ok(None) | Err(Error::Damaged { .. } | Error::Version { .. }) => continue,
                Err(other) => return Err(other),
            };
            segments += 1;
            match &segment.trailer {
                Some(trailer) => {
                    let events = trailer.next_sequence.saturating_sub(trailer.first_sequence);
                    count(trailer.first_sequence, events, trailer.time_min, trailer.time_max);
                    next = trailer.next_sequence;
                }
                None => {
                    for header in segment.index(&mut unpacker)?.blocks.into_iter().map(|block| block.header) {
                        let events = u64::from(header.count);
                        count(header.first_sequence, events, header.time_min, header.time_max);
                        next = header.next_sequence();
                    }
                }
            }
        }
        for event in journal.events.iter().filter(|event| event.sequence >= next) {
            count(event.sequence, 1, event.time_ns, event.time_ns);
        }
        totals.segments = segments;
        if totals.events == 0 {
            totals.first_time_ns = 0;
        }
        Ok(totals)
    }
}

/// What a journal holds.
#[derive(Debug, Default)]
pub(crate) struct OpenEvents {
    pub(crate) events: Vec<Entry>,
    attachments: HashMap<Vec<u8>, Arc<[u8]>>,
}

impl OpenEvents {
    pub(crate) fn take(&mut self, frame: &Frame) {
        for (subject, bytes) in &frame.attachments {
            self.attachments.insert(subject.to_vec(), Arc::from(*bytes));
        }
        for event in &frame.events {
            self.events.push(Entry {
                sequence: event.sequence,
                time_ns: event.time_ns,
                kind: event.kind,
                subject: Arc::from(event.subject),
                user: event.user,
                executable: Arc::from(event.executable),
                event: event.event.to_vec(),
                attachment: self.attachments.get(event.subject).cloned(),
            });
        }
    }

    /// Names may come after the events of their subject.
    fn attach_late(&mut self) {
        for event in &mut self.events {
            event.attachment = self.attachments.get(&*event.subject).cloned();
        }
    }
}

/// The journal as it is now; an instant at which it is being emptied shows as fewer frames.
fn read_journal(dir: &Path) -> Result<OpenEvents, Error> {
    let mut open = OpenEvents::default();
    let path = dir.join(journal::NAME);
    let Some(file) = file::open_if_there(&path)? else { return Ok(open) };
    let len = file.metadata().map_err(|source| Error::io("reading", &path, source))?.len();
    let len = usize::try_from(len.min(MAX_JOURNAL_BYTES)).unwrap_or(usize::MAX);
    let bytes = read_up_to(&file, &path, 0, len)?;
    if let Ok((_, frames)) = Frames::new(&bytes) {
        frames.for_each(|frame| open.take(&frame));
    }
    open.attach_late();
    Ok(open)
}

/// What is still to be read.
#[derive(Debug, Default)]
struct Work {
    segments: VecDeque<PathBuf>,
    /// The segment at hand and the numbers of its blocks still to be read.
    current: Option<(SegmentFile, Index, VecDeque<usize>)>,
    /// Matching events of the journal, oldest first, with the range of all its events.
    open: VecDeque<Entry>,
    open_range: Option<(u64, u64)>,
}

impl Work {
    fn clear(&mut self) {
        *self = Work::default();
    }
}

/// The answer to a query, read as it is asked for.
#[derive(Debug)]
pub struct Entries {
    matcher: Matcher,
    descending: bool,
    left: usize,
    ready: VecDeque<Result<Entry, Error>>,
    work: Work,
    /// Blocks to read at once.
    batch: usize,
    unpackers: [Unpacker; 2],
    /// One past the newest event seen in a block.
    seen: u64,
}

impl Entries {
    fn new(dir: &Path, matcher: Matcher, descending: bool) -> Entries {
        let mut entries = Entries {
            matcher,
            descending,
            left: usize::MAX,
            ready: VecDeque::new(),
            work: Work::default(),
            batch: 1,
            unpackers: Default::default(),
            seen: 0,
        };
        if let Err(error) = entries.prepare(dir) {
            entries.ready.push_back(Err(error));
        }
        entries
    }

    fn prepare(&mut self, dir: &Path) -> Result<(), Error> {
        let journal = read_journal(dir)?;
        let ends = (journal.events.first(), journal.events.last());
        if let (Some(first), Some(last)) = ends {
            self.work.open_range = Some((first.sequence, last.sequence));
        }
        let matcher = &self.matcher;
        let matching = journal.events.into_iter().filter(|event| {
            let keys = EventKeys {
                sequence: event.sequence,
                time_ns: event.time_ns,
                kind: event.kind,
                user: event.user,
            };
            let attachment = event.attachment.as_deref().unwrap_or_default();
            matcher.matches_keys(&keys)
                && matcher.matches_executable(&event.executable)
                && matcher.matches_subject(&event.subject, attachment)
                && matcher.matches_text(&event.event)
        });
        self.work.open = matching.collect();
        let paths = list_segments(dir)?.into_iter().map(|(_, path)| path);
        self.work.segments = if self.descending { paths.rev().collect() } else { paths.collect() };
        Ok(())
    }

    /// Reads on until something is ready; false at the end.
    fn advance(&mut self) -> bool {
        while self.ready.is_empty() {
            if let Err(error) = self.step() {
                self.ready.push_back(Err(error));
                continue;
            }
            let done = self.work.segments.is_empty() && self.work.current.is_none();
            if done && self.ready.is_empty() {
                self.give_open();
                return !self.ready.is_empty();
            }
        }
        true
    }

    /// A few blocks, or one segment's index.
    fn step(&mut self) -> Result<(), Error> {
        let Some((segment, index, numbers)) = &mut self.work.current else { return self.next_segment() };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < self.batch
            && bytes < MAX_BATCH_BYTES
            && let Some(number) = numbers.pop_front()
        {
            let Some(block) = index.blocks.get(number) else { continue };
            self.seen = self.seen.max(block.header.next_sequence());
            let filter = index.filter(block);
            if self.matcher.may_match(&block.header, filter.as_ref()) {
                batch.push(block);
                bytes += block.header.raw_len;
                // Its subjects are asked about when it is read, which must not come out of order.
                if filter.is_none_or(|filter| filter.subjects.is_none()) {
                    break;
                }
            }
        }
        if batch.is_empty() {
            self.work.current = None;
            return Ok(());
        }
        self.batch = (self.batch * 2).min(MAX_BATCH_BLOCKS);
        segment.read_ahead(&batch);
        for entries in read_batch(&self.matcher, segment, index, &batch, &mut self.unpackers) {
            match entries {
                Err(error) => self.ready.push_back(Err(error)),
                Ok(entries) if self.descending => {
                    entries.into_iter().rev().for_each(|entry| self.give_descending(entry));
                }
                Ok(entries) => self.ready.extend(entries.into_iter().map(Ok)),
            }
        }
        Ok(())
    }

    fn give_descending(&mut self, entry: Entry) {
        match self.work.open_range {
            // It is in the journal, too, which comes before the first event that is older.
            Some((first, last)) if (first..=last).contains(&entry.sequence) => return,
            Some((first, _)) if entry.sequence < first => self.give_open(),
            _ => {}
        }
        self.ready.push_back(Ok(entry));
    }

    fn give_open(&mut self) {
        let open = std::mem::take(&mut self.work.open);
        if self.descending {
            self.ready.extend(open.into_iter().rev().map(Ok));
        } else {
            let seen = self.seen;
            self.ready.extend(open.into_iter().filter(|entry| entry.sequence >= seen).map(Ok));
        }
    }

    fn next_segment(&mut self) -> Result<(), Error> {
        let Some(path) = self.work.segments.pop_front() else { return Ok(()) };
        // A segment that retention removed meanwhile, or that has no header yet, holds nothing to give.
        let Some(segment) = SegmentFile::open(&path)? else { return Ok(()) };
        if let Some(trailer) = &segment.trailer {
            self.seen = self.seen.max(trailer.next_sequence);
            let may = self.matcher.may_match_range(
                trailer.time_min,
                trailer.time_max,
                trailer.next_sequence,
                trailer.kinds,
            );
            if !may {
                return Ok(());
            }
        }
        let is_newest = if self.descending { self.seen == 0 } else { self.work.segments.is_empty() };
        let index = segment.index(&mut self.unpackers[0])?;
        let end = index.end;
        let mut blocks: VecDeque<usize> = (0..index.blocks.len()).collect();
        if self.descending {
            blocks.make_contiguous().reverse();
        }
        let torn = segment.trailer.is_none() && !is_newest && segment.len()? > end;
        self.work.current = Some((segment, index, blocks));
        if torn { Err(Error::damaged(&path, end, "no whole block begins here")) } else { Ok(()) }
    }
}

/// What matches in each of the blocks, in their order; a second thread takes the second half.
fn read_batch(
    matcher: &Matcher,
    segment: &SegmentFile,
    index: &Index,
    batch: &[&BlockRef],
    [here, there]: &mut [Unpacker; 2],
) -> Vec<Result<Vec<Entry>, Error>> {
    let read = |blocks: &[&BlockRef], unpacker: &mut Unpacker| -> Vec<_> {
        let read_one = |block: &&BlockRef| {
            let wants = |name: &[u8], attachment: &[u8]| matcher.matches_subject(name, attachment);
            let body = segment.read_block(index, block, wants, unpacker)?;
            let entries = matcher.entries(&body);
            unpacker.keep(body);
            Ok(entries)
        };
        blocks.iter().map(read_one).collect()
    };
    let (first, second) = batch.split_at(batch.len().div_ceil(2));
    if second.is_empty() {
        return read(first, here);
    }
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("store-query".into());
        let other = builder.spawn_scoped(scope, || read(second, there));
        let mut all = read(first, here);
        match other.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(entries)) => all.extend(entries),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // Without a second thread it only takes longer.
            Err(_) => all.extend(read(second, here)),
        }
        all
    })
}

impl Iterator for Entries {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 || !self.advance() {
            return None;
        }
        self.left -= 1;
        self.ready.pop_front()
    }
}
