// SPDX-License-Identifier: Apache-2.0
//! Opening a store for writing, whatever a crash or a hand left there: finish what was begun, cut
//! a torn tail, put broken pieces into `quarantine/`, count it, and go on. Damage never stops a start.
//! Nothing is ever thrown away that a signature covered.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::attachments::Attachments;
use crate::block::{HEADER_LEN, Header, HeaderFault, payload, unpack};
use crate::builder::{Builder, Keys};
use crate::checkpoint::{self, Checkpoint, Floor, RECORD_LEN, Reason, write_private};
use crate::error::Error;
use crate::file;
use crate::helper::Helper;
use crate::identity::{Identity, KEY_LEN, KEY_NAME, KEY_NEW_NAME, Key, ORIGIN_LEN, ORIGIN_NAME, Origin};
use crate::journal::{self, Frames, Journal, PendingFrame, remove_if_there};
use crate::ledger::{Ledger, Statement};
use crate::options::{DiskFull, Options, Statistics};
use crate::segment::{OpenSegment, Sealed, SegmentFile, list_segments, read_up_to};
use crate::writer::{Aside, Chain, RESERVE_NAME, Writer};

pub(crate) const LOCK_NAME: &str = "lock";
pub(crate) const QUARANTINE_NAME: &str = "quarantine";
/// Most that is read of a journal; far more than a writer lets it grow.
pub(crate) const MAX_JOURNAL_BYTES: u64 = 512 << 20;
/// Most epochs the key on disk may lie behind the checkpoints.
const MAX_KEY_LAG: u64 = 4;

/// What opening a store found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last writer did not close the store.
    pub unclean: bool,
    /// Events taken from the journal into a block.
    pub recovered_events: u64,
    /// Bytes cut off the ends of files because they were written only in part.
    pub cut_bytes: u64,
    /// Sequences of events that are gone: first and last.
    pub lost_events: Vec<(u64, u64)>,
    /// Broken pieces, where they are now.
    pub quarantined: Vec<PathBuf>,
    /// Segments of a later format, left alone.
    pub future_versions: Vec<PathBuf>,
    /// The old keys were gone or broken: what was written before cannot be proven by the new ones.
    pub new_identity: bool,
}

impl Writer {
    /// Opens or makes a store. The directory gets mode 0700.
    ///
    /// # Errors
    /// `Locked` when another writer has it, `Version` when its origin is of a later format, `Full` and
    /// `Io` when the disk refuses. Never because of damage: that is told in [`Recovery`].
    pub fn open(
        dir: &Path,
        boot_id: [u8; 16],
        now_ns: u64,
        options: Options,
    ) -> Result<(Writer, Recovery), Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(|source| Error::io("creating", dir, source))?;
        let lock = lock(dir)?;
        let mut found = Found { dir: dir.to_path_buf(), recovery: Recovery::default() };
        let identity = found.read_identity()?;
        let last = match &identity {
            Some(identity) => found.read_checkpoints(identity)?,
            None => LastRecord::default(),
        };
        let survey = found.survey(identity.as_ref(), last.checkpoint.as_ref())?;
        let ledger = found.take_up_keys(identity, last, &survey, now_ns)?;
        keep_reserve(dir, &options)?;
        let mut writer = found.writer(lock, boot_id, now_ns, options, ledger, survey)?;
        found.take_up_journal(&mut writer)?;
        writer.remove_doomed()?;
        let lost = found.recovery.lost_events.first().map_or((0, 0), |(first, last)| (*first, last + 1));
        let statement = Statement { lost, ..writer.statement(Reason::Open) };
        writer.ledger.sign(&statement, &mut writer.helper, true)?;
        Ok((writer, found.recovery))
    }
}

/// Takes the lock, with a few tries because `verify` holds it for an instant.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK_NAME);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|source| Error::io("opening", &path, source))?;
    for _ in 0..5 {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let pid = format!("{}\n", std::process::id());
                // The number only serves a message; on a full disk the lock holds without it.
                file.set_len(0)
                    .and_then(|()| std::os::unix::fs::FileExt::write_all_at(&file, pid.as_bytes(), 0))
                    .ok();
                return Ok(file);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
            Err(errno) => return Err(Error::io("locking", &path, errno.into())),
        }
    }
    let text = read_up_to(&file, &path, 0, 16)?;
    let pid = String::from_utf8_lossy(&text).trim().parse().unwrap_or(0);
    Err(Error::Locked { dir: dir.to_path_buf(), pid })
}

fn keep_reserve(dir: &Path, options: &Options) -> Result<(), Error> {
    let path = dir.join(RESERVE_NAME);
    if options.disk_full != DiskFull::Reserve || path.exists() || options.reserve_bytes == 0 {
        return Ok(());
    }
    write_private(&path, &[])?;
    let file =
        File::options().write(true).open(&path).map_err(|source| Error::io("opening", &path, source))?;
    if rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, options.reserve_bytes).is_err() {
        remove_if_there(&path)?;
    }
    Ok(())
}

/// The end of the checkpoint file.
#[derive(Debug, Default)]
struct LastRecord {
    checkpoint: Option<Checkpoint>,
    len: u64,
    hash: [u8; 32],
}

/// The end of the chain by the segments.
struct Survey {
    chain: Option<Chain>,
    segment: Option<OpenSegment>,
    sealed: VecDeque<Sealed>,
    position: Vec<u8>,
    /// No block may get a lower sequence.
    least_sequence: u64,
}

struct Found {
    dir: PathBuf,
    recovery: Recovery,
}

/// Reads a small file whole, with one byte more than it may have so that a longer one is seen.
pub(crate) fn read_small(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = file::open_if_there(path)? else { return Ok(None) };
    read_up_to(&file, path, 0, limit + 1).map(Some)
}

impl Found {
    fn quarantine_dir(&self) -> Result<PathBuf, Error> {
        let dir = self.dir.join(QUARANTINE_NAME);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&dir).map_err(|source| Error::io("creating", &dir, source))?;
        Ok(dir)
    }

    /// A name in the quarantine that is not taken.
    fn quarantine_place(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.quarantine_dir()?;
        let free =
            (0..10_000u32).map(|number| dir.join(format!("{name}.{number}"))).find(|path| !path.exists());
        Ok(free.unwrap_or_else(|| dir.join(name)))
    }

    fn quarantine_file(&mut self, path: &Path) -> Result<(), Error> {
        if !path.exists() {
            return Ok(());
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let place = self.quarantine_place(&name)?;
        std::fs::rename(path, &place).map_err(|source| Error::io("renaming", path, source))?;
        self.recovery.quarantined.push(place);
        Ok(())
    }

    /// Keeps a copy of a file's end and cuts it off.
    fn quarantine_tail(&mut self, path: &Path, from: u64) -> Result<(), Error> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let place = self.quarantine_place(&format!("{name}.{from}"))?;
        let mut source = file::open(path)?;
        io::Seek::seek(&mut source, io::SeekFrom::Start(from))
            .map_err(|source| Error::io("reading", path, source))?;
        let mut copy = File::create(&place).map_err(|source| Error::io("creating", &place, source))?;
        io::copy(&mut source, &mut copy).map_err(|source| Error::io("writing", &place, source))?;
        self.recovery.quarantined.push(place);
        self.cut(path, from)
    }

    fn cut(&mut self, path: &Path, len: u64) -> Result<(), Error> {
        let file =
            File::options().write(true).open(path).map_err(|source| Error::io("opening", path, source))?;
        let data = file.metadata().map_err(|source| Error::io("reading", path, source))?;
        self.recovery.cut_bytes += data.len().saturating_sub(len);
        file.set_len(len).map_err(|source| Error::io("cutting", path, source))
    }

    /// Origin and key as they are on disk; `None` when there are none that fit together.
    fn read_identity(&self) -> Result<Option<Identity>, Error> {
        let path = self.dir.join(ORIGIN_NAME);
        let origin = match read_small(&path, ORIGIN_LEN)?.map(|bytes| Origin::decode(&bytes)) {
            Some(Ok(origin)) => origin,
            Some(Err(HeaderFault::Version(version))) => return Err(Error::Version { path, version }),
            Some(Err(_)) | None => return Ok(None),
        };
        let read = |name: &str| -> Result<Option<Key>, Error> {
            let bytes = read_small(&self.dir.join(name), KEY_LEN)?;
            Ok(bytes.and_then(|bytes| Key::decode(&bytes).ok()))
        };
        // While the key is replaced one of the two is whole; the later one is the one to use.
        let keys = [read(KEY_NAME)?, read(KEY_NEW_NAME)?];
        let key = keys.into_iter().flatten().max_by_key(|key| key.epoch);
        Ok(key.map(|key| Identity::new(origin, key)))
    }

    /// The last record that is whole and signed; what lies behind it is cut or put away.
    fn read_checkpoints(&mut self, identity: &Identity) -> Result<LastRecord, Error> {
        let path = self.dir.join(checkpoint::NAME);
        let Some(file) = file::open_if_there(&path)? else { return Ok(LastRecord::default()) };
        let len = file.metadata().map_err(|source| Error::io("reading", &path, source))?.len();
        let whole = len - len % RECORD_LEN as u64;
        let mut end = whole;
        let mut last = LastRecord::default();
        while end > 0 {
            let bytes = read_up_to(&file, &path, end - RECORD_LEN as u64, RECORD_LEN)?;
            if let Ok(checkpoint) = Checkpoint::decode(&bytes) {
                last = LastRecord {
                    checkpoint: Some(checkpoint),
                    len: end,
                    hash: *blake3::hash(&bytes).as_bytes(),
                };
                break;
            }
            end -= RECORD_LEN as u64;
        }
        if end < whole {
            self.quarantine_tail(&path, end)?;
        } else if whole < len {
            self.cut(&path, whole)?;
        }
        let close = last.checkpoint.as_ref().map(|checkpoint| checkpoint.reason);
        self.recovery.unclean = !matches!(close, Some(Reason::Close)) || end < len;
        // A key that lies far behind belongs to another time: it cannot have signed this.
        let lag = last
            .checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.epoch.saturating_sub(identity.epoch()));
        if lag > MAX_KEY_LAG {
            self.quarantine_file(&path)?;
            return Ok(LastRecord::default());
        }
        Ok(last)
    }

    fn take_up_keys(
        &mut self,
        identity: Option<Identity>,
        last: LastRecord,
        survey: &Survey,
        now_ns: u64,
    ) -> Result<Ledger, Error> {
        let mut identity = match identity {
            Some(identity) => identity,
            None => self.begin_identity(survey, now_ns)?,
        };
        let origin = &identity.origin;
        let mut floor = Floor {
            sequence: origin.first_sequence,
            block: origin.first_block,
            hash: identity.origin_hash(),
        };
        if let Some(checkpoint) = &last.checkpoint {
            floor = checkpoint.floor;
            while identity.key.epoch <= checkpoint.epoch {
                identity.key = identity.key.next();
            }
        }
        checkpoint::write_key(&self.dir, &identity.key)?;
        Ok(Ledger {
            dir: self.dir.clone(),
            identity,
            len: last.len,
            previous: last.hash,
            floor,
            undelivered: None,
            signed: None,
            synced: false,
        })
    }

    fn begin_identity(&mut self, survey: &Survey, now_ns: u64) -> Result<Identity, Error> {
        let names = [ORIGIN_NAME, KEY_NAME, KEY_NEW_NAME, checkpoint::NAME];
        // The origin is written last, so without it a first start was cut short and no event is older.
        let has_segments = survey.chain.is_some();
        for name in names {
            let path = self.dir.join(name);
            if has_segments { self.quarantine_file(&path)? } else { remove_if_there(&path)? }
        }
        self.recovery.new_identity = has_segments;
        self.recovery.unclean = has_segments;
        let chain = survey.chain;
        let block = chain.map_or(0, |chain| chain.blocks);
        let sequence = chain.map_or(1, |chain| chain.next_sequence).max(survey.least_sequence);
        let identity = Identity::random(now_ns, block, sequence)
            .map_err(|errno| Error::io("getting random bytes for", &self.dir, errno.into()))?;
        checkpoint::write_key(&self.dir, &identity.key)?;
        write_private(&self.dir.join(ORIGIN_NAME), &identity.origin.encode())?;
        checkpoint::sync_directory(&self.dir)?;
        Ok(identity)
    }

    /// Goes through the segments to where the chain ends.
    fn survey(&mut self, identity: Option<&Identity>, signed: Option<&Checkpoint>) -> Result<Survey, Error> {
        let mut survey = Survey {
            chain: None,
            segment: None,
            sealed: VecDeque::new(),
            position: Vec::new(),
            least_sequence: 1,
        };
        let mut paths = list_segments(&self.dir)?;
        while let Some((first, path)) = paths.pop() {
            match SegmentFile::open(&path) {
                Ok(Some(file)) if survey.chain.is_none() => {
                    self.survey_last(&file, identity, signed, &mut survey)?
                }
                Ok(Some(file)) => survey.keep_sealed(&file, identity)?,
                // Nothing of it was ever complete: the header is the first write.
                Ok(None) => {
                    self.cut(&path, 0)?;
                    remove_if_there(&path)?;
                }
                Err(Error::Version { path, .. }) => {
                    survey.least_sequence = survey.least_sequence.max(first.saturating_add(1));
                    self.recovery.future_versions.push(path);
                }
                Err(Error::Damaged { .. }) => self.quarantine_file(&path)?,
                Err(other) => return Err(other),
            }
        }
        self.hold_against_signed(&mut survey, signed)?;
        Ok(survey)
    }

    fn survey_last(
        &mut self,
        file: &SegmentFile,
        identity: Option<&Identity>,
        signed: Option<&Checkpoint>,
        survey: &mut Survey,
    ) -> Result<(), Error> {
        if let Some(trailer) = &file.trailer
            && let Some(index) = file.read_footer(trailer)?
        {
            survey.chain = Some(Chain {
                blocks: trailer.first_block.saturating_add(trailer.blocks),
                next_sequence: trailer.next_sequence,
                last_hash: trailer.last_hash,
            });
            if let Some(block) = index.blocks.last() {
                let at = block.offset + HEADER_LEN as u64;
                survey.position = read_up_to(&file.file, &file.path, at, block.header.position_len)?;
            }
            return survey.keep_sealed(file, identity);
        }
        let (segment, position) = walk(file)?;
        let chain = Chain {
            blocks: segment.header.first_block.saturating_add(segment.blocks),
            next_sequence: segment.next_sequence,
            last_hash: segment.last_hash,
        };
        let len = file.len()?;
        if segment.len < len {
            let was_signed = signed.is_some_and(|signed| signed.blocks > chain.blocks);
            let rest = len - segment.len;
            if was_signed || holds_header(file, segment.len, rest)? {
                self.quarantine_tail(&file.path, segment.len)?;
            } else {
                self.cut(&file.path, segment.len)?;
            }
        }
        survey.chain = Some(chain);
        survey.position = position;
        let ours = identity.is_some_and(|identity| identity.origin.store_id == segment.header.store_id);
        survey.segment = ours.then_some(segment);
        Ok(())
    }

    /// Where a signature says there was more, the chain goes on behind what was signed, so that
    /// `verify` names exactly what is missing.
    fn hold_against_signed(&mut self, survey: &mut Survey, signed: Option<&Checkpoint>) -> Result<(), Error> {
        let Some(signed) = signed else { return Ok(()) };
        let here = survey.chain;
        if here.is_some_and(|here| here.blocks >= signed.blocks) {
            return Ok(());
        }
        let next = here.map_or(signed.floor.sequence, |here| here.next_sequence).max(signed.floor.sequence);
        if signed.next_sequence > next {
            self.recovery.lost_events.push((next, signed.next_sequence - 1));
        }
        survey.chain = Some(Chain {
            blocks: signed.blocks,
            next_sequence: signed.next_sequence,
            last_hash: signed.last_hash,
        });
        if let Some(segment) = survey.segment.take()
            && segment.blocks == 0
        {
            remove_if_there(&segment.path)?;
        }
        Ok(())
    }

    fn writer(
        &self,
        lock: File,
        boot_id: [u8; 16],
        now_ns: u64,
        options: Options,
        ledger: Ledger,
        survey: Survey,
    ) -> Result<Writer, Error> {
        let origin = &ledger.identity.origin;
        let mut chain = survey.chain.unwrap_or(Chain {
            blocks: origin.first_block,
            next_sequence: origin.first_sequence,
            last_hash: ledger.identity.origin_hash(),
        });
        if chain.blocks == origin.first_block && origin.first_block > 0 {
            chain.last_hash = ledger.identity.origin_hash();
        }
        chain.next_sequence = chain.next_sequence.max(survey.least_sequence);
        let doomed =
            survey.sealed.iter().filter(|sealed| sealed.trailer.next_sequence <= ledger.floor.sequence);
        let doomed = doomed.map(|sealed| sealed.path.clone()).collect();
        let sealed = survey.sealed.into_iter();
        let sealed = sealed.filter(|sealed| sealed.trailer.next_sequence > ledger.floor.sequence).collect();
        let press = zstd::bulk::Compressor::new(1);
        let press = press.map_err(|source| Error::io("preparing to press for", &self.dir, source))?;
        Ok(Writer {
            _lock: lock,
            helper: Helper::start(self.dir.clone())?,
            journal: Journal::new(&self.dir, boot_id, origin.store_id, now_ns),
            dir: self.dir.clone(),
            options,
            boot_id,
            now_ns,
            ledger,
            chain,
            segment: survey.segment,
            sealed,
            doomed,
            unsynced: Vec::new(),
            frame: PendingFrame::default(),
            builders: VecDeque::new(),
            spare: None,
            builder_bytes: 0,
            committed: chain.next_sequence,
            block_position: survey.position.clone(),
            position: survey.position,
            attachments: Attachments::default(),
            press,
            block_since_ns: now_ns,
            checkpoint_ns: now_ns,
            sync_ns: now_ns,
            journal_promised: false,
            aside: Aside::Absent,
            statistics: Statistics::default(),
        })
    }

    /// Puts what the journals hold beyond the last block into a block of its own.
    fn take_up_journal(&mut self, writer: &mut Writer) -> Result<(), Error> {
        remove_if_there(&self.dir.join(journal::NEW_NAME))?;
        let mut boot_id = writer.boot_id;
        for name in [journal::OLD_NAME, journal::NAME] {
            let path = self.dir.join(name);
            let Some(file) = file::open_if_there(&path)? else { continue };
            let len = file.metadata().map_err(|source| Error::io("reading", &path, source))?.len();
            let len = usize::try_from(len.min(MAX_JOURNAL_BYTES)).unwrap_or(usize::MAX);
            let bytes = read_up_to(&file, &path, 0, len)?;
            let Ok((header, mut frames)) = Frames::new(&bytes) else {
                self.put_away_journal(&path, &bytes, 0)?;
                continue;
            };
            let ours =
                header.store_id == writer.ledger.identity.origin.store_id || self.recovery.new_identity;
            if !ours {
                self.quarantine_file(&path)?;
                continue;
            }
            for frame in frames.by_ref() {
                boot_id = header.boot_id;
                self.take_up_frame(writer, &frame);
            }
            self.put_away_journal(&path, &bytes, frames.state().0)?;
        }
        let current = std::mem::replace(&mut writer.boot_id, boot_id);
        let position = writer.position.clone();
        writer.committed = writer.next_sequence();
        while writer.builders.front().is_some_and(|open| open.count() > 0) {
            writer.write_oldest_block(&position)?;
        }
        writer.boot_id = current;
        if writer.position != writer.block_position {
            writer.journal.restart(writer.committed, &position)?;
        } else {
            remove_if_there(&self.dir.join(journal::NAME))?;
        }
        remove_if_there(&self.dir.join(journal::OLD_NAME))
    }

    fn take_up_frame(&mut self, writer: &mut Writer, frame: &journal::Frame) {
        for (subject, bytes) in &frame.attachments {
            writer.attachments.set(subject, bytes);
        }
        for event in &frame.events {
            let next = writer.next_sequence();
            if event.sequence < next {
                continue;
            }
            if event.sequence > next {
                self.recovery.lost_events.push((next, event.sequence - 1));
            }
            let open = writer.builders.back();
            let fits = open.is_some_and(|open| {
                event.sequence == next
                    && open.count() < writer.options.block_events as usize
                    && open.bytes() + event.event.len() <= writer.options.block_bytes
            });
            if !fits {
                writer.builders.push_back(Builder::new(event.sequence));
            }
            // The pieces of text are not in the journal; the whole event holds them all.
            let text = [event.event];
            let keys = Keys {
                time_ns: event.time_ns,
                kind: event.kind,
                subject: event.subject,
                user: event.user,
                executable: event.executable,
                text: &text,
            };
            if let Some(open) = writer.builders.back_mut() {
                open.push(event.event, &keys);
            }
            self.recovery.recovered_events += 1;
        }
        if frame.first_sequence + frame.events.len() as u64 >= writer.committed {
            writer.position = frame.position.to_vec();
        }
    }

    /// What of a journal was not whole: a torn frame is cut, anything larger is kept to be looked at.
    fn put_away_journal(&mut self, path: &Path, bytes: &[u8], whole: usize) -> Result<(), Error> {
        let rest = bytes.get(whole..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let promised = rest.first_chunk().map_or(0, |len| u32::from_le_bytes(*len) as usize + 8);
        let torn =
            rest.len() < 8 || rest.len() < promised || whole == 0 && rest.len() < journal::JOURNAL_HEADER_LEN;
        if torn {
            self.recovery.cut_bytes += rest.len() as u64;
            return Ok(());
        }
        self.quarantine_tail(path, whole as u64)
    }
}

impl Survey {
    fn keep_sealed(&mut self, file: &SegmentFile, identity: Option<&Identity>) -> Result<(), Error> {
        let ours = identity.is_some_and(|identity| identity.origin.store_id == file.header.store_id);
        if let Some(trailer) = file.trailer.clone().filter(|_| ours) {
            self.sealed.push_front(Sealed { path: file.path.clone(), bytes: file.len()?, trailer });
        }
        Ok(())
    }
}

/// Reads an unsealed segment block by block, up to the first that is not whole.
fn walk(file: &SegmentFile) -> Result<(OpenSegment, Vec<u8>), Error> {
    let handle = File::options().read(true).write(true).open(&file.path);
    let handle = handle.map_err(|source| Error::io("opening", &file.path, source))?;
    let mut segment = OpenSegment::empty(file.path.clone(), handle, file.header.clone());
    let mut position = Vec::new();
    let len = file.len()?;
    loop {
        let head = read_up_to(&file.file, &file.path, segment.len, HEADER_LEN)?;
        let Ok(header) = Header::decode(&head) else { break };
        let follows = header.previous == segment.last_hash
            && header.number == segment.header.first_block.saturating_add(segment.blocks)
            && header.first_sequence >= segment.next_sequence
            && segment.len + header.block_len() as u64 <= len;
        if !follows {
            break;
        }
        let rest = read_up_to(&file.file, &file.path, segment.len + HEADER_LEN as u64, header.payload_len())?;
        let Some(payload) = payload(&header, &rest) else { break };
        let Some(filter) = unpack(payload.filter, header.filter_raw_len) else { break };
        position = payload.position.to_vec();
        segment.note(&header, &filter);
    }
    Ok((segment, position))
}

/// Whether another whole block header lies somewhere behind a broken place.
fn holds_header(file: &SegmentFile, from: u64, len: u64) -> Result<bool, Error> {
    let len = usize::try_from(len.min(256 << 20)).unwrap_or(usize::MAX);
    let bytes = read_up_to(&file.file, &file.path, from, len)?;
    let mut hits = memchr::memmem::find_iter(&bytes, &crate::block::MAGIC);
    Ok(hits.any(|hit| hit > 0 && bytes.get(hit..).is_some_and(|rest| Header::decode(rest).is_ok())))
}
