// SPDX-License-Identifier: Apache-2.0
//! Gives events as they are committed. It sleeps on inotify between commits, or looks now and then
//! where the kernel has no watch left, and counts by sequence, so that nothing is missed or given twice whatever the writer does with its files.
//!
//! Behind the writer it goes through the segments, block by block; at the end it reads the journal.
//! It holds the events of one block, or of about `JOURNAL_READ_BYTES` of journal, whatever the backlog.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::file;
use crate::journal::{self, Frames, JOURNAL_HEADER_LEN, JournalHeader};
use crate::query::{Entry, Matcher, Query};
use crate::reader::OpenEvents;
use crate::recovery::MAX_JOURNAL_BYTES;
use crate::segment::{Index, SEGMENT_HEADER_LEN, SegmentFile, list_segments, read_up_to};
use crate::unpacker::Unpacker;

/// How much is read of the journal at once, and how much when a single frame is longer.
const JOURNAL_READ_BYTES: u64 = 1 << 20;
const LONGEST_READ_BYTES: u64 = 96 << 20;
/// Time between looks without a watch: a host has 128 of them for each user, and programs that forget
/// to close theirs.
const LOOK: Duration = Duration::from_millis(20);
/// Heads of blocks that are read ahead of their bodies.
const HEADS: usize = 16;

/// Reads along with a writer, from a sequence on. Any number may follow one store, each at its own pace;
/// the writer does not know of them and waits for none. What retention removes before it was read is
/// told by [`Follower::missing`].
///
/// Memory is bounded by the largest block, usually below 2 MiB, whatever the backlog.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    next: u64,
    /// One past the last event given, and what was missing before that one.
    wanted: u64,
    missing: Option<(u64, u64)>,
    /// The last look found its events in a segment.
    behind: bool,
    /// Something was removed from the directory since the last look.
    removed: bool,
    ready: VecDeque<Entry>,
    watch: Option<OwnedFd>,
    journal: JournalPlace,
    segment: Option<(SegmentFile, Index)>,
    unpacker: Unpacker,
    all: Matcher,
}

/// How far the journal has been read.
#[derive(Debug, Default)]
struct JournalPlace {
    header: Option<JournalHeader>,
    offset: u64,
    crc: u32,
    open: OpenEvents,
}

impl Follower {
    pub(crate) fn new(dir: &Path, from_sequence: u64) -> Follower {
        Follower {
            dir: dir.to_path_buf(),
            next: from_sequence.max(1),
            wanted: from_sequence.max(1),
            missing: None,
            behind: true,
            removed: false,
            ready: VecDeque::new(),
            watch: None,
            journal: JournalPlace::default(),
            segment: None,
            unpacker: Unpacker::default(),
            all: Matcher::new(&Query::default()),
        }
    }

    /// The next event, or `None` when none was committed within `timeout`.
    ///
    /// # Errors
    /// `Io` when the store cannot be read or watched; `Damaged` once for a broken block, which is then passed over.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Entry>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.missing = (entry.sequence > self.wanted).then(|| (self.wanted, entry.sequence - 1));
                self.wanted = entry.sequence.saturating_add(1);
                return Ok(Some(entry));
            }
            // The watch stands before the look, so that no commit falls between the two.
            self.ensure_watch()?;
            self.refill()?;
            if self.ready.is_empty() && !self.wait(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Events committed and not given yet, as many as one look brings: those of one block, or of the
    /// journal. Empty when there is nothing new. [`Follower::missing`] then speaks of the first of them.
    ///
    /// # Errors
    /// As [`Follower::next`].
    pub fn drain(&mut self) -> Result<Vec<Entry>, Error> {
        if self.ready.is_empty() {
            self.refill()?;
        }
        if let (Some(first), Some(last)) = (self.ready.front(), self.ready.back()) {
            self.missing = (first.sequence > self.wanted).then(|| (self.wanted, first.sequence - 1));
            self.wanted = last.sequence.saturating_add(1);
        }
        Ok(self.ready.drain(..).collect())
    }

    /// The sequences directly before the event given last that are not in the store: first and last.
    /// Retention or a full disk removed them before they were read, or damage cost them. `None` when
    /// the event follows the one before it, or is the one first asked for.
    pub fn missing(&self) -> Option<(u64, u64)> {
        self.missing
    }

    /// The sequence after the last event given or ready.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    fn ensure_watch(&mut self) -> Result<(), Error> {
        if self.watch.is_none() {
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
                .and_then(|watch| inotify::add_watch(&watch, &self.dir, flags).map(|_| watch));
            self.watch = match watch {
                Ok(watch) => Some(watch),
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC) => None,
                Err(errno) => return Err(Error::io("watching", &self.dir, errno.into())),
            };
        }
        Ok(())
    }

    /// True when something happened in the directory before the deadline, or may have.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        let Some(watch) = &self.watch else {
            let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            std::thread::sleep(left.min(LOOK));
            self.removed = true;
            return Ok(!left.is_zero());
        };
        let fail = |errno: Errno| Error::io("watching", &self.dir, errno.into());
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(watch, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut space);
        loop {
            match events.next() {
                Ok(event) => {
                    let tells = ReadFlags::DELETE | ReadFlags::QUEUE_OVERFLOW;
                    self.removed |= event.events().intersects(tells);
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(true),
                Err(errno) => return Err(fail(errno)),
            }
        }
    }

    fn refill(&mut self) -> Result<(), Error> {
        self.let_go();
        // With a backlog the journal holds nothing that comes next, so it is not looked at.
        if self.behind {
            self.read_segments()?;
            if !self.ready.is_empty() {
                return Ok(());
            }
        }
        self.behind = false;
        self.read_journal()?;
        if self.take_open(false) {
            return Ok(());
        }
        // The journal does not go on where we are: a block that was written before does, or nothing yet.
        self.read_segments()?;
        self.behind = !self.ready.is_empty();
        if self.ready.is_empty() {
            self.take_open(true);
        }
        Ok(())
    }

    /// A segment that was removed would keep its bytes on the disk as long as it is open here.
    fn let_go(&mut self) {
        if std::mem::take(&mut self.removed)
            && self.segment.as_ref().is_some_and(|(segment, _)| !segment.path.exists())
        {
            self.segment = None;
        }
    }

    /// Gives what the journal has from `next` on; `across` also when events before it are gone.
    fn take_open(&mut self, across: bool) -> bool {
        let events = std::mem::take(&mut self.journal.open.events);
        let next = self.next;
        let mut rest = events.into_iter().skip_while(|event| event.sequence < next).peekable();
        let Some(first) = rest.peek().map(|event| event.sequence) else { return false };
        if first > next && !across {
            self.journal.open.events = rest.collect();
            return false;
        }
        for event in rest {
            self.next = event.sequence.saturating_add(1);
            self.ready.push_back(event);
        }
        true
    }

    fn read_journal(&mut self) -> Result<(), Error> {
        let path = self.dir.join(journal::NAME);
        let Some(file) = file::open_if_there(&path)? else { return Ok(()) };
        let len = file.metadata().map_err(|source| Error::io("reading", &path, source))?.len();
        let start = read_up_to(&file, &path, 0, JOURNAL_HEADER_LEN)?;
        let Ok(header) = JournalHeader::decode(&start) else { return Ok(()) };
        let place = &mut self.journal;
        if place.header.as_ref() != Some(&header) || place.offset > len {
            *place = JournalPlace {
                offset: JOURNAL_HEADER_LEN as u64,
                crc: crc32c::crc32c(&start),
                header: Some(header),
                open: OpenEvents::default(),
            };
        }
        // What waits there is given before more is read; what was given before is passed over.
        let mut step = JOURNAL_READ_BYTES;
        while place.open.events.is_empty() {
            let more = len.min(MAX_JOURNAL_BYTES).saturating_sub(place.offset).min(step);
            let bytes = read_up_to(&file, &path, place.offset, usize::try_from(more).unwrap_or(0))?;
            let mut frames = Frames::resume(&bytes, place.crc);
            for frame in frames.by_ref() {
                place.open.take(&frame);
            }
            place.open.events.retain(|event| event.sequence >= self.next);
            let (read, crc) = frames.state();
            place.offset += read as u64;
            place.crc = crc;
            if read == 0 && (more < step || step == LONGEST_READ_BYTES) {
                break;
            }
            step = if read == 0 { LONGEST_READ_BYTES } else { JOURNAL_READ_BYTES };
        }
        Ok(())
    }

    /// Takes the block that holds the next event, or the first behind it.
    fn read_segments(&mut self) -> Result<(), Error> {
        while self.segment.is_some() || self.find_segment()? {
            let Some((segment, index)) = &mut self.segment else { return Ok(()) };
            let next = self.next;
            let Some(number) = next_block(segment, index, next, &mut self.unpacker)? else {
                if !self.leave_segment()? {
                    return Ok(());
                }
                continue;
            };
            let Some(block) = index.blocks.get(number) else { return Ok(()) };
            self.next = block.header.next_sequence();
            let body = segment.read_block(index, block, |_, _| true, &mut self.unpacker)?;
            let entries = self.all.entries(&body);
            self.unpacker.keep(body);
            self.ready.extend(entries.into_iter().filter(|entry| entry.sequence >= next));
            return Ok(());
        }
        Ok(())
    }

    /// Goes to a later segment when there is one; nothing is added to this one any more then.
    fn leave_segment(&mut self) -> Result<bool, Error> {
        let Some((segment, index)) = &mut self.segment else { return Ok(false) };
        let here = segment.header.first_sequence;
        if segment.len()? < index.end {
            // Recovery cut it behind our back; what comes next may be anywhere.
            self.segment = None;
            return self.find_segment();
        }
        let mut later = list_segments(&self.dir)?;
        later.retain(|(first, _)| *first > here);
        let number = later.partition_point(|(first, _)| *first <= self.next).saturating_sub(1);
        let Some(next) = open_first(later.into_iter().skip(number))? else { return Ok(false) };
        // A last block may have come between the look at this one and the look at the directory.
        if next_block(segment, index, self.next, &mut self.unpacker)?.is_none() {
            self.segment = Some((next, Index { end: SEGMENT_HEADER_LEN as u64, ..Index::default() }));
        }
        Ok(true)
    }

    /// The segment that holds the next event, or the first behind it.
    fn find_segment(&mut self) -> Result<bool, Error> {
        let segments = list_segments(&self.dir)?;
        let number = segments.partition_point(|(first, _)| *first <= self.next).saturating_sub(1);
        let Some(segment) = open_first(segments.into_iter().skip(number))? else { return Ok(false) };
        self.segment = Some((segment, Index { end: SEGMENT_HEADER_LEN as u64, ..Index::default() }));
        Ok(true)
    }
}

/// The number in the index of the first block that reaches beyond `next`. Reads on, a few heads at a
/// time, and forgets those that lie before.
fn next_block(
    segment: &SegmentFile,
    index: &mut Index,
    next: u64,
    unpacker: &mut Unpacker,
) -> Result<Option<usize>, Error> {
    loop {
        let number = index.blocks.iter().position(|block| block.header.next_sequence() > next);
        if number.is_some() {
            return Ok(number);
        }
        *index = Index { end: index.end, ..Index::default() };
        segment.extend_index(index, HEADS, unpacker)?;
        if index.blocks.is_empty() {
            return Ok(None);
        }
    }
}

/// The first that can be read; `verify` tells of the others.
fn open_first(segments: impl Iterator<Item = (u64, PathBuf)>) -> Result<Option<SegmentFile>, Error> {
    for (_, path) in segments {
        match SegmentFile::open(&path) {
            Err(Error::Damaged { .. } | Error::Version { .. }) => {}
            other => return other,
        }
    }
    Ok(None)
}
